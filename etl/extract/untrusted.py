"""Sources whose cursors are not trusted: what one walk finds, another must confirm.

What was added since the last pass is read from the newest page, which needs no
cursor. A thread on one page needs none either. A longer one is walked in both
orders; where a walk breaks a rule or the two do not agree, smaller pages follow, so
that page borders fall elsewhere. A thread is complete when two flawless walks found
all that any walk found, or when the oldest page and the newest one reach past each
other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from etl.domain.bookmark import Bookmark
from etl.domain.errors import ContractError, CursorLostError, SyncError
from etl.domain.page import Page, Payload
from etl.domain.run import RunId, ThreadId
from etl.extract.openai import OpenAISource
from etl.extract.paging import MOST_PAGES, Direction, Walk

SHRINKING = (1.0, 0.5, 0.37, 0.2)
"""Page sizes of the rounds, as shares of the configured one."""

WITNESSES = 2

FEW_ANSWERS = 2
"""One page, and one more request to confirm that it is the last."""

Key = RunId | bytes


@dataclass
class _Findings:
    """What the walks of one thread have found together."""

    known: set[Key] = field(default_factory=set)
    flawless: list[int] = field(default_factory=list)
    reached: dict[Direction, float] = field(default_factory=dict)
    """How far in time the first page reached: from the oldest run, or the newest."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing can be missing any more.

        Each of the two first pages holds all runs on its side of where it ends; of
        those created in that very second it may lack some.
        """
        witnesses = sum(found == len(self.known) for found in self.flawless)
        if witnesses >= WITNESSES or len(self.reached) < len(Direction):
            return witnesses >= WITNESSES
        return self.reached[Direction.DESCENDING] < self.reached[Direction.ASCENDING]


class UntrustedSource:
    """List-runs of one look-alike; every claim it makes is checked."""

    def __init__(self, source: OpenAISource) -> None:
        self.traffic = source.traffic
        self.retrieve = source.retrieve
        self._source = source

    def pages(self, thread_id: ThreadId, *, bookmark: Bookmark) -> Iterator[Page]:
        """Find what may have changed since `bookmark`, in any order, each run once.

        A page with no `after` tells that all runs of the thread are found. Ends
        only when nothing can be missing; else raises ContractError.
        """
        if bookmark.overlap_from is not None:
            try:
                yield self._newest(thread_id, bookmark)
            except (CursorLostError, ContractError):
                pass
            else:
                return
        yield from self._whole(thread_id)

    def _newest(self, thread_id: ThreadId, bookmark: Bookmark) -> Page:
        """What follows the bookmark's earlier second, if it all fits on one page.

        Raises CursorLostError where the bookmark's run does not come back, or more
        runs were added than a page holds.
        """
        walk = self._source.walk(
            thread_id, None, doubted_from=MOST_PAGES, direction=Direction.DESCENDING
        )
        page = next(walk.pages())
        run_ids = [payload.run_id for payload in page.payloads]
        if bookmark.overlap_from not in run_ids:
            raise CursorLostError(f"run {bookmark.overlap_from} did not come back")
        place = run_ids.index(bookmark.overlap_from)
        if bookmark.synced_through not in run_ids[:place]:
            raise CursorLostError(f"run {bookmark.synced_through} did not come back")
        added = page.payloads[:place][::-1]
        return replace(page, after=bookmark.overlap_from, payloads=added, has_more=False)

    def _whole(self, thread_id: ThreadId) -> Iterator[Page]:
        """Walk until the findings are complete."""
        findings = _Findings()
        trouble: SyncError = ContractError("its walks do not agree")
        for size, direction in self._rounds():
            walk = self._source.walk(
                thread_id, None, page_size=size, doubted_from=1, direction=direction
            )
            try:
                yield from _noted(walk, findings)
            except (CursorLostError, ContractError) as error:
                trouble = error
            else:
                if walk.answers <= FEW_ANSWERS and findings.flawless[-1] < size:
                    return
            if findings.is_complete:
                return
        raise ContractError(
            f"{trouble}; all walks together found {len(findings.known)} runs, and whether"
            " these are all cannot be told"
        ) from trouble

    def _rounds(self) -> Iterator[tuple[int, Direction]]:
        for share in SHRINKING:
            for direction in Direction:
                yield max(1, int(self._source.page_size * share)), direction


def _noted(walk: Walk, findings: _Findings) -> Iterator[Page]:
    """Walk, note all that is seen, and pass on what no walk had seen before."""
    seen: set[Key] = set()
    for page in walk.pages():
        keys = {_key(payload): payload for payload in page.payloads}
        if walk.first_page_ends_at is not None:
            findings.reached.setdefault(walk.direction, walk.first_page_ends_at)
        seen |= keys.keys()
        new = tuple(keys[key] for key in keys if key not in findings.known)
        findings.known |= keys.keys()
        yield replace(page, after=None, payloads=new, has_more=True)
    findings.flawless.append(len(seen))


def _key(payload: Payload) -> Key:
    """What tells one payload from another."""
    return payload.run_id or payload.text
