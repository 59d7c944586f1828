"""Discovery without a database: what is taken from queries and from a server's list."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from etl.domain.batch import SourceId
from etl.domain.discovery import Discovered, Position, Rows
from etl.domain.errors import DatabaseError, DiscoveryError, SourceUnavailableError
from etl.domain.found import Found
from etl.domain.outcome import Outcome, SyncReport
from etl.domain.run import ThreadId
from etl.domain.thread_id import as_thread_id, is_thread_id
from etl.load.asking import Question
from etl.sync import SyncedSource, read_thread, sync
from etl.sync.discovering import UNDERWAY, UNTOLD, discover_by_list, discover_by_query
from tests.unit.shares import Whole


class FakeRegistry:
    """Keeps what it is told, in the order of telling."""

    def __init__(self, *known: str) -> None:
        self.known = set(known)
        self.told: list[Any] = []
        self.active_at: dict[ThreadId, datetime] = {}

    def note_hints(self, *, told: bool) -> None:
        self.told.append(("hints", told))

    def track(
        self,
        thread_ids: Sequence[ThreadId],
        active_at: Mapping[ThreadId, datetime] = UNTOLD,
    ) -> Found:
        self.active_at |= active_at
        distinct = set(thread_ids)
        added = distinct - self.known
        self.known |= added
        self.told.append(sorted(added))
        return Found(added=len(added), known=len(distinct) - len(added), kept_out=0)

    def note_whole(self, position: Position | None) -> None:
        self.told.append(("whole", position))

    def note_on(self, position: Position | None) -> None:
        self.told.append(("on", position))


class FakeLister:
    """Lists pages, newest first, and counts how many were asked for."""

    def __init__(self, *pages: str, breaks_after: int | None = None) -> None:
        self._pages = pages
        self._breaks_after = breaks_after
        self.asked = 0

    def thread_pages(self) -> Iterator[tuple[ThreadId, ...]]:
        for page in self._pages:
            if self.asked == self._breaks_after:
                raise SourceUnavailableError("away")
            self.asked += 1
            yield tuple(map(ThreadId, page.split()))


def by_list(lister: FakeLister, registry: FakeRegistry, *, whole: bool) -> Discovered:
    found = Discovered()
    for _ in discover_by_list(lister, registry, found, whole=whole):
        pass
    return found


def test_a_list_is_read_until_a_page_holds_only_known_threads() -> None:
    lister = FakeLister("f e", "d c", "b a", "old older")
    registry = FakeRegistry("a", "b", "c", "d")

    found = by_list(lister, registry, whole=False)

    assert lister.asked == 2
    assert registry.told == [("on", UNDERWAY), ["e", "f"], [], ("on", None)]
    assert (found.added, found.known) == (2, 2)


def test_a_whole_list_is_read_to_its_end_though_pages_are_known() -> None:
    lister, registry = FakeLister("c b", "a", "late"), FakeRegistry("a", "b", "c")

    by_list(lister, registry, whole=True)

    assert registry.told == [[], [], ["late"], ("whole", None)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_list_that_breaks_off_is_not_noted_as_read(*, whole: bool) -> None:
    registry = FakeRegistry()

    with pytest.raises(SourceUnavailableError):
        by_list(FakeLister("b", "a", breaks_after=1), registry, whole=whole)

    assert registry.told == ([["b"]] if whole else [("on", UNDERWAY), ["b"]])


def test_an_empty_list_is_read_to_its_end() -> None:
    registry = FakeRegistry()

    assert by_list(FakeLister(), registry, whole=True) == Discovered()
    assert registry.told == [("whole", None)]


def test_a_position_moves_when_all_before_it_is_tracked() -> None:
    registry = FakeRegistry()
    parts = [
        Rows(thread_ids=["a", None, 7, b"x"], position="4"),
        Rows(thread_ids=["a", " b "], position="6"),
    ]
    found = Discovered()

    new = list(discover_by_query(lambda _: iter(parts), registry, found, after="0"))

    assert new == [2, 1]
    assert registry.told == [["7", "a"], ["b"], ("on", "6"), ("hints", False)]
    assert found == Discovered(
        rows=6, added=3, known=1, kept_out=0, blank=1, odd=1, odd_example="b'x'"
    )


def test_a_query_that_breaks_off_keeps_its_threads_and_its_position() -> None:
    registry = FakeRegistry()

    def broken(_: Position | None) -> Iterator[Rows]:
        yield Rows(thread_ids=["a"], position="4")
        raise DiscoveryError("away")

    with pytest.raises(DiscoveryError):
        list(discover_by_query(broken, registry, Discovered(), after="0"))

    assert registry.told == [["a"]]


@pytest.mark.parametrize(
    ("value", "thread_id"),
    [
        ("thread_1", "thread_1"),
        (" thread 1\r\n", "thread 1"),
        (12, "12"),
        ("x" * 256, "x" * 256),
        ("x" * 257, None),
        ("a\x00b", None),
        ("a\nb", None),
        ("\ud800", None),
        (".", None),
        ("..", None),
        (True, None),
        (1.0, None),
        (b"thread_1", None),
        ([], None),
    ],
)
def test_what_can_be_an_id_is_one_rule(value: Any, thread_id: str | None) -> None:
    assert as_thread_id(value) == thread_id
    assert thread_id is None or is_thread_id(thread_id)


class Unread:
    """A source, a store and a watcher in a sync that reads no thread."""

    requests = retries = 0

    @property
    def traffic(self) -> "Unread":
        return self

    def __getattr__(self, name: str) -> Any:
        return lambda *_: 0


def synced(name: str, number: int, discover: Any) -> SyncedSource:
    return SyncedSource(
        source_id=SourceId(number),
        name=name,
        source=Unread(),
        read=read_thread,
        share=Whole(),
        workers=4,
        discover=discover,
    )


def a_sync(*sources: SyncedSource) -> SyncReport:
    unread = Unread()
    report = SyncReport(sync_id=1)
    return sync(sources, unread, report, watcher=unread, stop=threading.Event())


def test_a_source_that_is_still_discovering_holds_no_other() -> None:
    other_is_read = threading.Event()

    def hang() -> Iterator[int]:
        assert other_is_read.wait(60)
        yield 3

    def go_on() -> Iterator[int]:
        yield 4
        other_is_read.set()

    report = a_sync(synced("slow", 1, hang), synced("quick", 2, go_on))

    assert (report.threads_found, report.errors) == (7, [])


def test_a_source_discovers_once_however_many_workers_it_has() -> None:
    begun: list[int] = []

    def discover() -> Iterator[int]:
        begun.append(1)
        yield 1

    assert a_sync(synced("demo", 1, discover)).threads_found == 1
    assert begun == [1]


def test_a_discovery_that_fails_keeps_what_it_found_before() -> None:
    def discover() -> Iterator[int]:
        yield 2
        raise DiscoveryError("the lights are out")

    report = a_sync(synced("demo", 1, discover))

    assert [each.sentence for each in report.errors] == ["demo: the lights are out"]
    assert (report.threads_found, report.outcome) == (2, Outcome.FAILED)


def test_a_registry_that_fails_ends_the_sync() -> None:
    def discover() -> Iterator[int]:
        raise DatabaseError("our own database is gone")
        yield

    with pytest.raises(DatabaseError, match="our own database is gone"):
        a_sync(synced("demo", 1, discover))


def test_a_position_belongs_to_the_place_that_the_whole_url_names() -> None:
    def place(url: str) -> UUID:
        return Question.to(url, "SELECT 1", seconds=1, variable="URL").digest

    here = place("postgresql:///app?host=/run/a&password=x")

    assert here == place("postgresql:///app?password=y&host=/run/a")
    assert here != place("postgresql:///app?host=/run/b&password=x")
