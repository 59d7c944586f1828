"""What a server has shown of how it pages: facts that its word is believed by."""

from collections import Counter
from dataclasses import dataclass

WITNESSES = 5
"""How many last pages of one length must prove to be the last ones."""

SHORTEST_CUT = 10
"""No server is known that sends fewer runs than this at once, asked for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Facts about one server, which add up in any order.

    `last_pages` are lengths of pages, in runs, that were the last ones when it was asked
    after; `cut_at` is the shortest that was not.
    """

    last_pages: tuple[int, ...] = ()
    cut_at: int | None = None
    cursors_go_by_creation: bool = False

    def __add__(self, other: "Shown") -> "Shown":
        cuts = [each for each in (self.cut_at, other.cut_at) if each is not None]
        return Shown(
            last_pages=self.last_pages + other.last_pages,
            cut_at=min(cuts, default=None),
            cursors_go_by_creation=(
                self.cursors_go_by_creation or other.cursors_go_by_creation
            ),
        )

    def knows(self, other: "Shown") -> bool:
        """Whether these facts are no news: a cut as short, lengths proved already."""
        seen = Counter(self.last_pages)
        are_proved = all(seen[length] >= WITNESSES for length in other.last_pages)
        return are_proved and (self + other).cut_at == self.cut_at

    @property
    def doubted_from(self) -> int:
        """The length from which on a page is not believed to be the last one."""
        seen = Counter(self.last_pages)
        proved = (length for length, times in seen.items() if times >= WITNESSES)
        believed = max(proved, default=0) + 1
        return max(SHORTEST_CUT, min(believed, self.cut_at or believed))


NOTHING = Shown()
