"""Sources whose cursors are not trusted: what one walk finds, another must confirm.

A thread on one page needs no cursor. A longer one is walked in the other order
too; where a walk breaks a rule or the two do not agree, smaller pages follow, so
that page borders fall elsewhere. A thread is complete when two flawless walks
found all that any walk found, or when the oldest page and the newest one overlap.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from etl.domain.bookmark import Bookmark
from etl.domain.errors import ContractError, CursorLostError, RetryableError
from etl.domain.page import Page, Payload
from etl.domain.run import RunId, ThreadId
from etl.extract.openai import OpenAISource, expecting
from etl.extract.paging import Direction, Walk

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
    edges: dict[Direction, set[Key]] = field(default_factory=dict)
    """The first page of a sorted walk: the oldest runs, or the newest."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing can be missing any more."""
        witnesses = sum(found == len(self.known) for found in self.flawless)
        oldest = self.edges.get(Direction.ASCENDING, set())
        newest = self.edges.get(Direction.DESCENDING, set())
        return witnesses >= WITNESSES or bool(oldest & newest)


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
            walk = self._source.walk(thread_id, bookmark.overlap_from, doubted_from=1)
            try:
                yield from expecting(walk.pages(), bookmark.synced_through)
            except (CursorLostError, ContractError, RetryableError):
                pass
            else:
                if walk.answers <= FEW_ANSWERS:
                    return
        yield from self._whole(thread_id)

    def _whole(self, thread_id: ThreadId) -> Iterator[Page]:
        """Walk until the findings are complete."""
        findings = _Findings()
        trouble = "its walks do not agree"
        for size, direction in self._rounds():
            walk = self._source.walk(
                thread_id, None, page_size=size, doubted_from=1, direction=direction
            )
            try:
                yield from _noted(walk, findings)
            except (CursorLostError, ContractError) as error:
                trouble = str(error)
            else:
                if walk.answers <= FEW_ANSWERS:
                    return
            if findings.is_complete:
                return
        raise ContractError(
            f"{trouble}; all walks together found {len(findings.known)} runs, and whether"
            " these are all cannot be told"
        )

    def _rounds(self) -> Iterator[tuple[int, Direction]]:
        for share in SHRINKING:
            for direction in Direction:
                yield max(1, int(self._source.page_size * share)), direction


def _noted(walk: Walk, findings: _Findings) -> Iterator[Page]:
    """Walk, note all that is seen, and pass on what no walk had seen before."""
    seen: set[Key] = set()
    for page in walk.pages():
        keys = {_key(payload): payload for payload in page.payloads}
        if not seen and walk.moved:
            findings.edges.setdefault(walk.direction, set(keys))
        seen |= keys.keys()
        new = tuple(keys[key] for key in keys if key not in findings.known)
        findings.known |= keys.keys()
        yield replace(page, after=None, payloads=new, has_more=True)
    findings.flawless.append(len(seen))


def _key(payload: Payload) -> Key:
    """What tells one payload from another."""
    return payload.run_id or payload.text
