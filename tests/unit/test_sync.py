"""A sync: all threads of all sources, and what becomes of it when something fails."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from types import SimpleNamespace

import pytest

from etl.domain.batch import (
    Batch,
    Committed,
    Increment,
    PassFailure,
    SourceId,
    TrackedThread,
)
from etl.domain.bookmark import Bookmark
from etl.domain.errors import (
    ContractError,
    CursorLostError,
    DatabaseError,
    RefusedError,
    RetryableError,
    RunMissingError,
    SourceUnavailableError,
    StoppedError,
    ThreadMissingError,
)
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.domain.page import Page, Payload
from etl.domain.run import Instant, RunId, ThreadId
from etl.sync import Source, SyncedSource, sync, workers
from etl.sync.reading import read_thread
from etl.sync.triage import ENOUGH_MISSING
from etl.sync.workers import (
    MOST_RUNS_IN_A_BATCH,
    Crew,
    Idleness,
    Outbox,
    Threads,
    WorkerEnded,
)
from tests.unit.builders import (
    SOURCE,
    THREAD,
    Json,
    a_page,
    a_payload,
    a_thread,
)
from tests.unit.shares import Whole

MISSING = ThreadMissingError("the server does not know this thread")

LONG_ENOUGH = 20.0
"""Seconds after which something that should have ended hangs."""

Key = tuple[SourceId, ThreadId]
Script = Iterable[Page | BaseException]
"""The pages of a thread, until one cannot be had."""


@dataclass
class Traffic:
    requests: int = 0
    retries: int = 0


def no_run(thread_id: ThreadId, run_id: RunId) -> tuple[Payload, Instant]:
    raise RunMissingError("no run is watched here")


@dataclass
class ScriptedSource:
    """A source whose threads play their scripts; an unknown one has one run."""

    scripts: Mapping[str, Script] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)
    retrieve: Callable[[ThreadId, RunId], tuple[Payload, Instant]] = no_run
    asked: list[str] = field(default_factory=list)

    def pages(self, thread_id: ThreadId, *, bookmark: Bookmark) -> Iterator[Page]:
        self.asked.append(thread_id)
        for page in self.scripts.get(thread_id, [one_run()]):
            self.traffic.requests += 1
            if isinstance(page, BaseException):
                raise page
            yield page


@dataclass
class EndlessSource:
    """A source whose threads never end."""

    traffic: Traffic = field(default_factory=Traffic)
    retrieve: Callable[[ThreadId, RunId], tuple[Payload, Instant]] = no_run

    def pages(self, thread_id: ThreadId, *, bookmark: Bookmark) -> Iterator[Page]:
        for number in count():
            yield one_run(f"run_{number}", has_more=True)


@dataclass
class MissingSource:
    """A source that knows no thread."""

    traffic: Traffic = field(default_factory=Traffic)
    retrieve: Callable[[ThreadId, RunId], tuple[Payload, Instant]] = no_run

    def pages(self, thread_id: ThreadId, *, bookmark: Bookmark) -> Iterator[Page]:
        self.traffic.requests += 1
        raise MISSING


@dataclass
class Memory:
    """A store that keeps batches in a list; its commits play a script of faults."""

    fails_with: BaseException | None = None
    fails_at: int = 0
    overtaken: frozenset[Key] = frozenset()
    batches: list[Batch] = field(default_factory=list)

    def commit(self, batch: Batch) -> Committed:
        if self.fails_with and len(self.batches) >= self.fails_at:
            raise self.fails_with
        self.batches.append(batch)
        parts = [part for part in batch.increments if key_of(part) not in self.overtaken]
        return Committed(
            created=sum(len(part.runs) for part in parts),
            updated=0,
            unchanged=0,
            rejects=sum(len(part.rejects) for part in parts),
            pages=len(parts),
            overtaken=self.overtaken & {key_of(part) for part in batch.increments},
        )

    def tend(self) -> int:
        return 0

    @property
    def increments(self) -> list[Increment]:
        return [part for batch in self.batches for part in batch.increments]

    @property
    def missing(self) -> list[str]:
        return [each.thread_id for batch in self.batches for each in batch.missing]

    @property
    def threads(self) -> list[str]:
        return sorted({part.thread_id for part in self.increments})


@dataclass
class Onlooker:
    """A watcher that writes down what it sees, and may then do something."""

    seen: list[int] = field(default_factory=list)
    then: Callable[[SyncReport], object] = lambda report: None

    def progressed(self, report: SyncReport) -> None:
        self.seen.append(report.pages)
        self.then(report)


def key_of(part: Increment) -> Key:
    return part.source_id, part.thread_id


def one_run(run_id: str = "run_1", *, has_more: bool = False, **fields: Json) -> Page:
    return a_page(a_payload(run_id, **fields), has_more=has_more)


def a_source(
    source: Source | Mapping[str, Script],
    *names: str,
    source_id: SourceId = SOURCE,
    name: str = "openai",
    workers: int = 1,
    threads: Iterable[TrackedThread] | None = None,
) -> SyncedSource:
    """A source, or the scripts of one, and the threads that are to be read from it."""
    named = [a_thread(each, source_id=source_id) for each in names or scripted(source)]
    return SyncedSource(
        source_id=source_id,
        name=name,
        source=ScriptedSource(source) if isinstance(source, Mapping) else source,
        read=read_thread,
        share=Whole(named if threads is None else threads),
        workers=workers,
    )


def scripted(source: Source | Mapping[str, Script]) -> Iterable[str]:
    return source if isinstance(source, Mapping) else ()


def synced(
    *sources: SyncedSource,
    store: Memory | None = None,
    watcher: Onlooker | None = None,
    stop: threading.Event | None = None,
) -> SyncReport:
    """Sync, and see to it that it ends and leaves no worker behind."""
    ended: list[SyncReport | BaseException] = []

    def work() -> None:
        try:
            report = sync(
                sources,
                Memory() if store is None else store,
                SyncReport(sync_id=1),
                watcher=watcher or Onlooker(),
                stop=stop or threading.Event(),
            )
            ended.append(report)
        except BaseException as error:  # handed to the test
            ended.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(LONG_ENOUGH)
    assert ended, "the sync hangs"
    assert not working(sources), "a worker was left behind"
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]


def working(sources: Iterable[SyncedSource]) -> list[str]:
    """The names of workers that are still there."""
    names = tuple(f"{source.name}-" for source in sources)
    return [each.name for each in threading.enumerate() if each.name.startswith(names)]


def failures(report: SyncReport) -> list[tuple[str, str | None, str]]:
    return [(each.source, each.thread, each.message) for each in report.errors]


# When all is well ------------------------------------------------------------


def test_a_sync_without_threads_succeeds() -> None:
    report = synced(a_source({}))

    assert (report.outcome, report.threads, report.errors) == (Outcome.SUCCEEDED, 0, [])


def test_a_sync_without_sources_succeeds() -> None:
    assert synced().outcome is Outcome.SUCCEEDED


def test_every_page_of_every_thread_is_committed() -> None:
    store = Memory()

    report = synced(
        a_source(
            {
                "thread_1": [one_run("run_1", has_more=True), one_run("run_2")],
                "thread_2": [
                    one_run("run_3"),
                ],
            }
        ),
        store=store,
    )

    assert report.outcome is Outcome.SUCCEEDED
    assert [run.run_id for part in store.increments for run in part.runs] == [
        "run_1",
        "run_2",
        "run_3",
    ]


def test_the_report_has_the_figures() -> None:
    report = synced(
        a_source(
            {
                "thread_1": [one_run(has_more=True), one_run("run_2", status=None)],
                "thread_2": [RefusedError("no")],
            }
        )
    )

    assert (report.threads, report.threads_failed, report.pages) == (2, 1, 2)
    assert (report.runs_read, report.runs_created, report.rejects) == (1, 1, 1)
    assert (report.requests, report.retries) == (3, 0)


def test_the_traffic_of_all_batches_is_that_of_the_sync() -> None:
    store = Memory()

    report = synced(a_source({f"thread_{n}": [one_run()] for n in range(50)}), store=store)

    assert report.requests == 50
    assert sum(batch.requests for batch in store.batches) == 50


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_each_thread_is_read_once_however_many_workers_there_are(workers: int) -> None:
    source, store = ScriptedSource(), Memory()
    names = [f"thread_{number:03}" for number in range(200)]

    report = synced(a_source(source, *names, workers=workers), store=store)

    assert sorted(source.asked) == names
    assert store.threads == names
    assert (report.threads, report.outcome) == (200, Outcome.SUCCEEDED)


def test_sources_are_read_side_by_side() -> None:
    store = Memory()

    report = synced(
        a_source({"thread_1": [one_run()]}),
        a_source({"thread_1": [one_run()]}, source_id=SourceId(2), name="foundry"),
        store=store,
    )

    assert report.threads == 2
    assert sorted({part.source_id for part in store.increments}) == [1, 2]


def test_the_watcher_sees_the_figures_grow() -> None:
    watcher = Onlooker()

    synced(a_source({f"thread_{n}": [one_run()] for n in range(99)}), watcher=watcher)

    assert watcher.seen == sorted(watcher.seen)
    assert watcher.seen[-1] == 99


# When a thread fails ---------------------------------------------------------


@pytest.mark.parametrize(
    "error", [CursorLostError, RefusedError, ContractError, RetryableError]
)
def test_one_threads_failure_is_its_own(error: type[Exception]) -> None:
    store = Memory()

    report = synced(
        a_source(
            {"thread_1": [one_run()], "thread_2": [error("no")], "thread_3": [one_run()]}
        ),
        store=store,
    )

    assert report.outcome is Outcome.PARTIAL
    assert failures(report) == [("openai", "thread_2", "no")]
    assert store.threads == ["thread_1", "thread_3"]
    assert [each.thread_id for b in store.batches for each in b.failures] == ["thread_2"]


def test_what_a_failing_thread_gave_before_stands() -> None:
    store = Memory()

    report = synced(
        a_source({"thread_1": [one_run(has_more=True), RefusedError("no")]}), store=store
    )

    assert (report.pages, report.threads, report.threads_failed) == (1, 1, 1)
    assert store.increments[0].bookmark.synced_through == "run_1"


def test_a_sync_in_which_every_thread_fails_has_failed() -> None:
    report = synced(
        a_source({"thread_1": [RefusedError("no")], "thread_2": [RefusedError("")]})
    )

    assert (report.outcome, report.threads_failed) == (Outcome.FAILED, 2)


def test_a_message_is_fit_to_be_shown_and_stored_whatever_a_server_said() -> None:
    report = synced(
        a_source({"thread_1": [RefusedError("a\0b \x1b[31m \ud800 ö\N{SNOWMAN}")]})
    )

    shown = "a\ufffdb \ufffd[31m \ufffd ö\N{SNOWMAN}"
    assert failures(report) == [("openai", "thread_1", shown)]


def test_a_thread_that_another_sync_wrote_first_has_failed_here() -> None:
    overtaken = frozenset({(SOURCE, ThreadId("thread_1"))})

    report = synced(
        a_source({"thread_1": [one_run()], "thread_2": [one_run()]}),
        store=Memory(overtaken=overtaken),
    )

    assert (report.outcome, report.threads_failed) == (Outcome.PARTIAL, 1)
    assert failures(report) == [
        (
            "openai",
            "thread_1",
            "another sync wrote this thread first; its data stands, nothing is lost",
        )
    ]


def test_a_thread_overtaken_in_several_batches_fails_once() -> None:
    a_third = [a_payload(f"run_{n}") for n in range(MOST_RUNS_IN_A_BATCH // 3)]
    pages = [a_page(*a_third, has_more=True)] * 4
    store = Memory(overtaken=frozenset({(SOURCE, ThreadId("thread_1"))}))

    report = synced(
        a_source({"thread_1": [*pages, one_run()], "thread_2": [one_run()]}), store=store
    )

    assert len(store.batches) > 1
    assert (report.outcome, report.threads_failed) == (Outcome.PARTIAL, 1)
    assert len(report.errors) == 1


# When the server does not know a thread -----------------------------------------


def test_a_missing_thread_is_marked_where_another_one_answered() -> None:
    store = Memory()

    report = synced(a_source({"thread_1": [one_run()], "thread_2": [MISSING]}), store=store)

    assert report.outcome is Outcome.PARTIAL
    assert failures(report) == [("openai", "thread_2", str(MISSING))]
    assert store.missing == ["thread_2"]


def test_a_thread_that_is_missing_alone_has_failed_and_is_not_marked() -> None:
    store = Memory()

    report = synced(a_source({"thread_1": [MISSING]}), store=store)

    assert report.outcome is Outcome.FAILED
    assert failures(report) == [("openai", "thread_1", str(MISSING))]
    assert store.missing == []


def test_where_most_threads_are_missing_the_source_is_unavailable() -> None:
    store = Memory()
    scripts: dict[str, Script] = {f"thread_{n}": [MISSING] for n in range(3)}

    report = synced(a_source(scripts | {"thread_9": [one_run()]}), store=store)

    ((source, thread, message),) = failures(report)
    assert (source, thread) == ("openai", None)
    assert message.startswith("3 of 4 threads asked are unknown to the server")
    assert store.missing == []


def test_where_no_thread_answers_the_source_is_not_asked_for_all_of_them() -> None:
    without_end = (a_thread(f"thread_{number}") for number in count())

    report = synced(a_source(MissingSource(), threads=without_end, workers=2))

    assert report.outcome is Outcome.FAILED
    assert report.requests >= ENOUGH_MISSING


def test_a_tombstone_that_is_missing_still_is_no_failure() -> None:
    gone = replace(a_thread("thread_2"), is_gone=True)

    report = synced(
        a_source(
            ScriptedSource({"thread_2": [MISSING]}), threads=[a_thread("thread_1"), gone]
        )
    )

    assert (report.outcome, report.threads, report.errors) == (Outcome.SUCCEEDED, 2, [])


# When a source is unavailable ------------------------------------------------


def test_an_unavailable_source_is_asked_for_nothing_more() -> None:
    source = ScriptedSource({"thread_2": [SourceUnavailableError("wrong key")]})

    report = synced(a_source(source, "thread_1", "thread_2", "thread_3", "thread_4"))

    assert source.asked == ["thread_1", "thread_2"]
    assert report.outcome is Outcome.PARTIAL
    assert failures(report) == [("openai", None, "wrong key")]


def test_a_sync_whose_only_source_is_unavailable_has_failed() -> None:
    report = synced(a_source({"thread_1": [SourceUnavailableError("wrong key")]}))

    assert (report.outcome, report.threads) == (Outcome.FAILED, 0)


def test_an_unavailable_source_is_told_once_however_many_workers_notice() -> None:
    nothing = [SourceUnavailableError("wrong key")]

    report = synced(a_source({f"thread_{n}": nothing for n in range(50)}, workers=8))

    assert failures(report) == [("openai", None, "wrong key")]


def test_another_source_is_read_to_its_end() -> None:
    store = Memory()

    report = synced(
        a_source({"thread_1": [SourceUnavailableError("wrong key")]}),
        a_source(
            {"thread_8": [one_run()], "thread_9": [one_run()]},
            source_id=SourceId(2),
            name="foundry",
        ),
        store=store,
    )

    assert report.outcome is Outcome.PARTIAL
    assert store.threads == ["thread_8", "thread_9"]


# When the store fails --------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("fails_at", [0, 3])
def test_a_failing_store_ends_the_sync_and_every_worker(
    workers: int, fails_at: int
) -> None:
    names = [f"thread_{number}" for number in range(workers)]
    store = Memory(fails_with=DatabaseError("the disk is full"), fails_at=fails_at)
    stop = threading.Event()

    with pytest.raises(DatabaseError, match="the disk is full"):
        synced(a_source(EndlessSource(), *names, workers=workers), store=store, stop=stop)

    assert stop.is_set()
    assert len(store.batches) == fails_at


def test_a_defect_in_a_worker_ends_the_sync_and_shows() -> None:
    stop = threading.Event()

    with pytest.raises(ZeroDivisionError):
        synced(
            a_source({"thread_1": [ZeroDivisionError()]}),
            a_source(EndlessSource(), "thread_2", source_id=SourceId(2), name="foundry"),
            stop=stop,
        )

    assert stop.is_set()


def test_a_registry_that_cannot_be_read_ends_the_sync() -> None:
    def threads() -> Iterator[TrackedThread]:
        yield a_thread("thread_1")
        raise DatabaseError("the connection is gone")

    with pytest.raises(DatabaseError, match="the connection is gone"):
        synced(a_source(ScriptedSource(), threads=threads(), workers=2))


def test_an_interrupt_ends_every_worker() -> None:
    def interrupt(report: SyncReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synced(
            a_source(EndlessSource(), "thread_1", "thread_2", workers=2),
            watcher=Onlooker(then=interrupt),
        )


# When somebody asks to stop --------------------------------------------------


def test_a_sync_that_is_stopped_before_it_begins_reads_nothing() -> None:
    stop, source = threading.Event(), ScriptedSource()
    stop.set()

    report = synced(a_source(source, "thread_1", workers=4), stop=stop)

    assert (report.outcome, source.asked) == (Outcome.INTERRUPTED, [])


def test_a_sync_that_is_stopped_keeps_what_it_committed() -> None:
    stop, store = threading.Event(), Memory()

    def stop_after_a_page(report: SyncReport) -> None:
        if report.pages:
            stop.set()

    report = synced(
        a_source(EndlessSource(), "thread_1", "thread_2", "thread_3", workers=2),
        store=store,
        watcher=Onlooker(then=stop_after_a_page),
        stop=stop,
    )

    assert report.outcome is Outcome.INTERRUPTED
    assert report.pages == len(store.increments) > 0
    assert report.errors == []


def test_a_worker_that_stops_while_it_waits_ends_quietly() -> None:
    stop = threading.Event()

    def stopped() -> Iterator[Page]:
        yield one_run(has_more=True)
        stop.set()
        raise StoppedError("the sync was asked to stop")

    store = Memory()
    report = synced(a_source({"thread_1": stopped()}), store=store, stop=stop)

    assert (report.outcome, report.errors) == (Outcome.INTERRUPTED, [])
    assert len(store.increments) == 1


# The outbox ------------------------------------------------------------------


def an_increment(runs: int) -> Increment:
    page = a_page(*(a_payload(f"run_{number}") for number in range(runs)))
    (only,) = read_thread(a_thread(), ScriptedSource({THREAD: [page]}))
    return only


def test_a_batch_takes_what_waits_until_it_is_full() -> None:
    outbox, third = Outbox(threading.Event()), MOST_RUNS_IN_A_BATCH // 2 - 1
    increment = an_increment(third)
    for _ in range(5):
        outbox.put(increment)

    assert [len(outbox.take()) for _ in range(2)] == [3, 2]


def test_empty_pages_fill_a_batch_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MOST_RUNS_IN_A_BATCH", 3)
    outbox = Outbox(threading.Event())
    for _ in range(5):
        outbox.put(an_increment(0))

    assert [len(outbox.take()) for _ in range(2)] == [3, 2]


def test_what_is_no_page_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "GATHERING_SECONDS", 3600)
    outbox = Outbox(threading.Event())
    outbox.put(an_increment(1))
    outbox.put(PassFailure(source_id=SOURCE, thread_id=THREAD, message="no"))

    assert len(outbox.take()) == 2


def test_the_end_of_a_worker_waits_in_line() -> None:
    outbox = Outbox(threading.Event())
    outbox.put(an_increment(1))
    outbox.put(WorkerEnded())

    assert [type(item).__name__ for item in outbox.take()] == ["Increment", "WorkerEnded"]


def test_a_failure_of_a_source_names_no_thread() -> None:
    outbox = Outbox(threading.Event())
    failure = Failure(source="openai", thread=None, message="no")
    outbox.put(failure)

    assert outbox.take() == [failure]


# Workers ---------------------------------------------------------------------


@pytest.mark.parametrize(("most", "sizes"), [(1, [1, 1]), (5, [2, 4, 5, 5])])
def test_a_crew_doubles_up_to_what_is_allowed(most: int, sizes: list[int]) -> None:
    stop = threading.Event()
    stop.set()
    synced_source = a_source({}, workers=most)
    crew = Crew(synced_source, Threads(synced_source.share.threads()), Outbox(stop), stop)

    grown = []
    for _ in sizes:
        crew.grow()
        grown.append(len(crew.members))

    assert grown == sizes


def test_there_is_room_for_more_while_the_process_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, spent = iter([0.0, 0.01, 1.0, 2.0]), iter([0.0, 0.0, 0.5, 1.4])
    clock = SimpleNamespace(monotonic=lambda: next(now), process_time=lambda: next(spent))
    monkeypatch.setattr(workers, "time", clock)

    idleness = Idleness()

    assert not idleness.has_room()  # too soon to tell
    assert idleness.has_room()
    assert not idleness.has_room()
