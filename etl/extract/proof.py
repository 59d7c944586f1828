"""What a trusted source must show before it is believed, for a few requests a sync."""

from collections import Counter
from collections.abc import Callable, Collection

from etl.domain.errors import SourceUnavailableError
from etl.domain.run import RunId
from etl.extract.paging import LARGEST_PAGE, Walk, disordered

WITNESSES = 5
"""How many last pages of one length must prove to be the last ones."""

SHORTEST_CUT = 10
"""No server is known that sends fewer runs than this at once, asked for more."""

Following = Callable[[RunId], Collection[RunId | None]]
"""Fetch the ids of the runs that follow a cursor."""


class Proof:
    """What one source has shown since the process began; its workers share it.

    A server may never promise more, and send shorter pages than it is asked for: so the
    longest last pages are not believed until some have been asked after. (Of all threads
    with more runs than a page, few have just one page: five of five are no chance.) And its
    cursors may go by id where runs are sorted by creation: so a run that was created
    later, with a lower id, must follow a cursor once.
    """

    def __init__(self) -> None:
        self._cut_at = LARGEST_PAGE + 1
        self._last_pages: Counter[int] = Counter()
        self._cursors_go_by_creation = False

    @property
    def doubted_from(self) -> int:
        """The length from which on a page is not believed to be the last one."""
        proved = (length for length, seen in self._last_pages.items() if seen >= WITNESSES)
        believed = max(proved, default=0) + 1
        return max(SHORTEST_CUT, min(believed, self._cut_at))

    def note_end(self, walk: Walk) -> None:
        """Remember how a walk ended."""
        if walk.cut_at is not None:
            self._cut_at = min(walk.cut_at, self._cut_at)
        if walk.confirmed_at is not None:
            self._last_pages[walk.confirmed_at] += 1

    def test_cursors(self, walk: Walk, following: Following) -> None:
        """Ask what follows a run of a walk's first page, unless that is proved already.

        Raises SourceUnavailableError where a run is left out because its id is lower.
        """
        if self._cursors_go_by_creation or (pair := disordered(walk.first_page)) is None:
            return
        cursor, expected = pair
        if expected not in following(cursor):
            raise SourceUnavailableError(
                f"the server leaves out {expected} when it is asked what follows"
                f" {cursor}, which was created earlier: its cursors go by id, and new runs"
                " would be missed; set trusted = false for this source"
            )
        self._cursors_go_by_creation = True
