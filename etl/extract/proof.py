"""What a trusted source must show before it is believed, for a few requests a sync."""

import threading
from collections.abc import Callable, Collection

from etl.domain.errors import SourceUnavailableError
from etl.domain.run import RunId
from etl.domain.shown import NOTHING, Shown
from etl.extract.paging import Walk, disordered

Following = Callable[[RunId], Collection[RunId | None]]
"""Fetch the ids of the runs that follow a cursor."""

Pool = Callable[[Shown], Shown]
"""Add what a process was shown, perhaps nothing; answer what all of them were."""


class Proof:
    """What one source has shown since the sync began; its workers share it.

    A server may never promise more, and send shorter pages than it is asked for: so the
    longest last pages are not believed until some have been asked after. (Of all threads
    with more runs than a page, few have just one page: five of five are no chance.) And its
    cursors may go by id where runs are sorted by creation: so a run that was created
    later, with a lower id, must follow a cursor once.

    Processes that share a sync share what they were shown in a pool, which is looked into
    before the server is asked for proof.
    """

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = pool or _Alone()
        self._shown = NOTHING
        self._doubted_from = NOTHING.doubted_from

    def doubts(self, length: int) -> bool:
        """Whether a page of so many runs may not be the last one, though it says so."""
        if length >= self._doubted_from:
            self._learn(NOTHING)
        return length >= self._doubted_from

    def note_end(self, walk: Walk) -> None:
        """Remember how a walk ended, if that is news: many may end alike."""
        ends = () if walk.confirmed_at is None else (walk.confirmed_at,)
        shown = Shown(last_pages=ends, cut_at=walk.cut_at)
        if not self._shown.knows(shown):
            self._learn(shown)

    def test_cursors(self, walk: Walk, following: Following) -> None:
        """Ask what follows a run of a walk's first page, unless that is proved already.

        Raises SourceUnavailableError where a run is left out because its id is lower.
        """
        if self._cursors_are_proved or (pair := disordered(walk.first_page)) is None:
            return
        self._learn(NOTHING)
        if self._cursors_are_proved:
            return
        cursor, expected = pair
        if expected not in following(cursor):
            raise SourceUnavailableError(
                f"the server leaves out {expected} when it is asked what follows"
                f" {cursor}, which was created earlier: its cursors go by id, and new runs"
                " would be missed; set trusted = false for this source"
            )
        self._learn(Shown(cursors_go_by_creation=True))

    @property
    def _cursors_are_proved(self) -> bool:
        return self._shown.cursors_go_by_creation

    def _learn(self, more: Shown) -> None:
        self._shown = self._pool(more)
        self._doubted_from = self._shown.doubted_from


class _Alone:
    """The pool of a process that shares its sync with nobody."""

    def __init__(self) -> None:
        self._shown = NOTHING
        self._lock = threading.Lock()

    def __call__(self, more: Shown) -> Shown:
        with self._lock:
            self._shown += more
            return self._shown
