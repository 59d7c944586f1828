"""`runtide sync --dask`: workers and schedulers that are killed, and what cannot begin."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGSTOP
from threading import Event
from uuid import uuid4

import pytest
from distributed import Client
from sqlalchemy.engine import Engine

from etl.demo.listener import Reply
from etl.demo.world import World
from etl.domain.batch import SourceId
from etl.domain.errors import ClusterError
from etl.load.database import opened
from etl.load.holding import sharing
from etl.wiring import cluster as dask
from tests.conftest import as_text
from tests.e2e.copied import Copied
from tests.e2e.trapping import TrappedApi
from tests.integration.builders import execute, query
from tests.integration.commands import Runtide
from tests.integration.syncing import Syncer

DASK = str(Path(sys.executable).with_name("dask"))
SYNC = 'lease = "2s"'
PATIENCE = 60.0  # never decides a test, ends one that hangs
AGAIN = "What was committed stands; run the command again, and it goes on from there."


class Cluster:
    """A scheduler and its workers, each a process that a test may kill."""

    def __init__(self, folder: Path, engine: Engine, **variables: str) -> None:
        self._folder = folder
        self._database = {"RUNTIDE_DATABASE_URL": as_text(engine.url)}
        self._file = folder / f"{uuid4().hex}.json"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start(
            ["scheduler", "--port", "0", "--scheduler-file", str(self._file)], variables
        )
        until(lambda: self._file.exists() and bool(self._file.read_text()))
        self.address: str = json.loads(self._file.read_text())["address"]

    def add_worker(self, **variables: str) -> "subprocess.Popen[bytes]":
        """Start one more worker, of one thread."""
        told = ["worker", self.address, "--nthreads", "1", "--no-nanny"]
        told += ["--local-directory", str(self._folder)]
        worker = self._start(told, self._database | variables)
        self.workers.append(worker)
        return worker

    def end(self) -> None:
        """End what is left of it."""
        for process in (*self.workers, self.scheduler):
            kill(process)

    def _start(
        self, arguments: list[str], variables: dict[str, str]
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [DASK, *arguments, "--host", "127.0.0.1", "--no-dashboard"],
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self._folder)} | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def clustered(folder: Path, engine: Engine, **variables: str) -> Iterator[Cluster]:
    cluster = Cluster(folder, engine, **variables)
    try:
        yield cluster
    finally:
        cluster.end()


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(SIGKILL)
    process.wait(PATIENCE)


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    last = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < last, "it never came to that"
        time.sleep(0.05)


def started(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A sync in a process group of its own, which works while the test goes on."""
    return subprocess.Popen(
        [sys.executable, "-m", "etl", "sync", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


class CountingApi(TrappedApi):
    """A trapped server that knows what it was asked for, and how often."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.base_url = ""
        self.asked: Counter[str] = Counter()
        self.proofs = 0

    def _reply(self, line: str, target: str, authorization: str | None) -> Reply:
        with self._lock:
            self.asked[target] += 1
        reply = super()._reply(line, target, authorization)
        with self._lock:
            self.proofs += "after=" in target and not reply.payload["data"]
        return reply

    @property
    def pages(self) -> int:
        """Requests for pages; one behind the last page proves that it is the last."""
        return self.asked.total() - self.proofs


def committed(engine: Engine) -> int:
    [(pages,)] = query(engine, "SELECT sum(pages)::int FROM run_sync.syncs")
    return pages or 0


@pytest.fixture
def api() -> CountingApi:
    return CountingApi(World(threads=60, runs=900))


@pytest.fixture
def base_url(api: CountingApi) -> Iterator[str]:
    with api.listening() as api.base_url:
        yield api.base_url


@pytest.fixture
def runtide(
    tmp_path: Path,
    engine: Engine,
    base_url: str,
    api: CountingApi,
    capsys: pytest.CaptureFixture[str],
) -> Runtide:
    """The command, with all threads of the world tracked, and pages of ten."""
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure(base_url, page_size=10, sync=SYNC)
    assert runtide("track", *api.world.thread_ids).code == 0
    return runtide


@pytest.mark.usefixtures("runtide")
def test_a_worker_and_then_the_scheduler_are_killed_and_nothing_is_lost(
    tmp_path: Path,
    engine: Engine,
    second_database_url: str,
    base_url: str,
    api: CountingApi,
) -> None:
    with clustered(tmp_path, engine) as first:
        for _ in range(3):
            first.add_worker()
        all_wait = api.hang(after=30, waiting=6)  # two for each of three shards
        sync = started(tmp_path, "--quiet", "--dask", first.address, "--shards", "3")
        assert all_wait.wait(PATIENCE)
        kill(first.workers[0])
        api.recover()
        all_wait = api.hang(after=30, waiting=4)
        assert all_wait.wait(PATIENCE)
        in_flight = api.pages - committed(engine)
        kill(first.scheduler)
        out, err = sync.communicate(timeout=PATIENCE)
        gone = f"The Dask scheduler at {first.address} went away during the sync. {AGAIN}"
        assert (sync.returncode, out, err) == (1, "", f"runtide: {gone}\n")
        api.recover()

    with clustered(tmp_path, engine) as second:
        second.add_worker()
        again = started(tmp_path, "--json", "--dask", second.address)
        out, err = again.communicate(timeout=PATIENCE)

    assert (again.returncode, err) == (0, "")
    report = json.loads(out)
    assert (report["sync_id"], report["threads"], report["errors"]) == (1, 60, [])
    together = api.pages
    with opened(second_database_url) as other:
        alone = Syncer(other, base_url, page_size=10)
        alone.track(api.world.thread_ids)
        alone.sync()
        assert everything(engine, api) == everything(other, api)
    assert together <= api.pages - together + in_flight


def everything(engine: Engine, api: CountingApi) -> list[list[tuple[object, ...]]]:
    """What a sync has made of a world, which must be all of it."""
    copied = Copied(engine, api.world)
    assert copied.is_whole(at=api.world.now)
    return copied.everything()


def alive(group: int) -> list[str]:
    """What still works in a group of processes."""
    shown = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat=,args="],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (line.split(maxsplit=2) for line in shown.stdout.splitlines())
    return [row[2] for row in rows if int(row[0]) == group and row[1][0] != "Z"]


def test_ctrl_c_ends_a_cluster_of_this_machine_in_order(
    runtide: Runtide, tmp_path: Path, engine: Engine, api: CountingApi
) -> None:
    all_wait = api.hang(after=20, waiting=2)
    sync = started(tmp_path, "--quiet", "--dask", "local", "--shards", "1")
    assert all_wait.wait(PATIENCE)

    os.killpg(sync.pid, SIGINT)  # as a terminal does
    out, err = sync.communicate(timeout=PATIENCE)

    assert (sync.returncode, out, err) == (130, "", "")
    assert query(engine, "SELECT outcome, shared FROM run_sync.syncs") == [
        ("interrupted", True)
    ]
    until(lambda: not alive(sync.pid))
    api.recover()
    assert runtide("sync").code == 0
    everything(engine, api)


def test_two_commands_at_once_share_a_sync_and_do_not_wait_for_each_other(
    runtide: Runtide, tmp_path: Path, engine: Engine, api: CountingApi
) -> None:
    all_wait = api.hang(after=20, waiting=2)
    here = "--json", "--dask", "local", "--shards", "1"
    both = [started(tmp_path, *here) for _ in range(2)]
    assert all_wait.wait(PATIENCE)
    at_work = "SELECT count(DISTINCT pid) FROM pg_locks WHERE objid = 1 AND objsubid = 2"
    until(lambda: query(engine, at_work) == [(4,)])  # two commands, a shard of each

    api.recover()
    said = [each.communicate(timeout=PATIENCE) for each in both]

    assert [(each.returncode, err) for each, (_, err) in zip(both, said, strict=True)] == [
        (0, ""),
        (0, ""),
    ]
    first, second = [json.loads(out) for out, _ in said]
    assert first == second
    assert (first["sync_id"], first["outcome"], first["threads"]) == (1, "succeeded", 60)
    everything(engine, api)


def test_what_a_cluster_lacks_and_what_becomes_of_its_workers_is_told(
    runtide: Runtide,
    tmp_path: Path,
    engine: Engine,
    api: CountingApi,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dask, "WORKERS_SECONDS", 0.1)
    fragile = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with clustered(tmp_path, engine, **fragile) as cluster:
        on_it = "sync", "--quiet", "--dask", cluster.address
        nobody = runtide(*on_it)
        monkeypatch.setattr(dask, "WORKERS_SECONDS", PATIENCE)
        old = cluster.add_worker(PYTHONPATH=another_version(tmp_path))
        other = runtide(*on_it)
        kill(old)
        homeless = cluster.add_worker(RUNTIDE_DATABASE_URL="")
        baseless = runtide(*on_it)
        kill(homeless)
        runtide.configure(api.base_url, source='api_key_env = "DEMO_KEY"', sync=SYNC)
        worker = cluster.add_worker()
        keyless = runtide(*on_it)
        begun = query(engine, "SELECT sum(requests)::int FROM run_sync.syncs")
        runtide.configure(api.base_url, page_size=10, sync=SYNC)
        api.set_trap(after=20, spring=worker.kill)
        killed = runtide(*on_it)

    assert nobody.err == (
        f"runtide: The Dask cluster at {cluster.address} has no workers; start some with"
        f" `dask worker {cluster.address}`, and run the command again.\n"
    )
    assert (nobody.code, other.code, baseless.code) == (1, 2, 2)
    assert (keyless.code, killed.code) == (2, 1)
    place = r"tcp://127\.0\.0\.1:\d+"
    assert re.fullmatch(
        rf"runtide: Worker {place} has runtide 9\.9\.9, and this is runtide 0\.1\.0;"
        r" install the same for every worker, and start them again\.\n",
        other.err,
    )
    assert re.fullmatch(
        rf"runtide: Worker {place}: RUNTIDE_DATABASE_URL is not set there; set it for"
        r" every worker to the URL of the database that all share\.\n",
        baseless.err,
    )
    assert re.fullmatch(
        rf"runtide: Worker {place}: The environment variable DEMO_KEY, which holds the API"
        r" key of source 'demo', is not set; set it, or leave api_key_env out of"
        r" .*/config\.toml where no key is needed\.\n",
        keyless.err,
    )
    assert begun == [(0,)]
    assert re.fullmatch(
        rf"runtide: Workers of the cluster died again and again, the last one at {place};"
        r" their logs, or the system's, say why: often it is memory\."
        rf" {re.escape(AGAIN)}\n",
        killed.err,
    )
    newest = "SELECT outcome FROM run_sync.syncs ORDER BY sync_id DESC LIMIT 1"
    assert query(engine, newest) == [(None,)]
    assert runtide("sync", "--join").code == 0
    assert query(engine, newest) == [("succeeded",)]
    everything(engine, api)


def test_a_worker_without_runtide_that_comes_late_leaves_and_its_shards_go_elsewhere(
    runtide: Runtide, tmp_path: Path, engine: Engine, api: CountingApi
) -> None:
    with clustered(tmp_path, engine) as cluster:
        cluster.add_worker()
        all_wait = api.hang(after=20, waiting=2)
        sync = started(tmp_path, "--json", "--dask", cluster.address, "--shards", "4")
        assert all_wait.wait(PATIENCE)
        site = another_version(tmp_path)
        Path(site, "etl").mkdir()
        Path(site, "etl", "__init__.py").touch()
        late = cluster.add_worker(PYTHONPATH=site)
        late.wait(PATIENCE)
        api.recover()
        out, err = sync.communicate(timeout=PATIENCE)

    report = json.loads(out)
    assert (sync.returncode, err, report["threads"], report["errors"]) == (0, "", 60, [])
    assert runtide("sync").code == 0
    everything(engine, api)


@pytest.mark.usefixtures("runtide")
def test_a_worker_that_stands_still_is_told_and_not_waited_for(
    tmp_path: Path, engine: Engine
) -> None:
    with clustered(tmp_path, engine) as cluster:
        frozen = cluster.add_worker()
        until(lambda: workers_at(cluster.address) == 1)
        frozen.send_signal(SIGSTOP)
        cluster.add_worker()
        sync = started(tmp_path, "--quiet", "--dask", cluster.address)
        out, err = sync.communicate(timeout=PATIENCE)

    assert (sync.returncode, out) == (1, "")
    assert err == (
        f"runtide: Not all workers of the Dask cluster at {cluster.address} answer; end"
        " those that stand still, and run the command again.\n"
    )
    assert query(engine, "SELECT count(*) FROM run_sync.syncs") == [(0,)]


@pytest.mark.usefixtures("runtide")
def test_a_process_that_does_not_end_is_told_and_not_waited_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "WORKERS_SECONDS", 0.1)
    with sharing(engine, [SourceId(1)], trigger="sync") as frozen:
        planned = "INSERT INTO run_sync.plans (sync_id, source_id) VALUES"
        execute(engine, f"{planned} ({frozen.sync_id}, 1)")
        with pytest.raises(ClusterError, match=r"^Sync 1 has nothing left to read, but"):
            dask._ended(engine, frozen, Event())


def workers_at(address: str) -> int:
    """How many workers a scheduler knows."""
    with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        return len(client.nthreads())


def another_version(folder: Path) -> str:
    """A folder with what pip leaves behind of another version."""
    left = folder / "site" / "runtide-9.9.9.dist-info"
    left.mkdir(parents=True)
    (left / "METADATA").write_text("Name: runtide\nVersion: 9.9.9\n")
    return str(left.parent)


def test_a_cluster_that_cannot_be_is_told_in_a_sentence(
    tmp_path: Path,
    engine: Engine,
    closed_port: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure("http://127.0.0.1:1/v1")
    address = f"tcp://127.0.0.1:{closed_port}"

    def said(*arguments: str) -> tuple[int, str]:
        code, out, err = runtide("sync", *arguments)
        assert out == ""
        return code, err

    advice = (
        "check that `dask scheduler` runs there, and write tcp://host:8786, tls://host:8786"
        " with Dask's certificates configured, or local.\n"
    )
    nobody = (
        f"runtide: No Dask scheduler answers at {address} ([Errno 111] Connection refused);"
        f" {advice}"
    )
    nonsense = (
        "runtide: No Dask scheduler answers at nonsense (missing port number in address"
        f" 'nonsense'); {advice}"
    )
    thread = "runtide: --join and --dask share whole syncs; leave out --thread.\n"
    alone = "runtide: --shards says how --dask divides a sync; name a cluster, too.\n"
    embedded = (
        "runtide: The embedded database cannot be reached by a cluster; set"
        " RUNTIDE_DATABASE_URL here and for every worker, or use `--dask local`.\n"
    )
    missing = (
        "runtide: A sync on a cluster needs the package distributed; run"
        " `pip install 'runtide[cluster]'`, here and for every worker.\n"
    )
    assert said("--dask", address) == (1, nobody)
    assert said("--dask", "nonsense") == (2, nonsense)
    assert said("--dask", "local", "--thread", "thread_a") == (2, thread)
    assert said("--shards", "2") == (2, alone)
    monkeypatch.setenv("RUNTIDE_DATABASE_URL", "embedded")
    assert said("--dask", address) == (2, embedded)
    monkeypatch.setattr("etl.cli.clustering.find_spec", lambda name: None)
    assert said("--dask", address) == (2, missing)
