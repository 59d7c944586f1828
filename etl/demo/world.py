"""A made-up world of threads that lives on: the same seed, the same world."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from etl.demo.dice import dice
from etl.demo.life import Life, Payload
from etl.demo.story import Era, draw_thread
from etl.demo.thread import Thread

# Friday 2026-11-20, 10:00 UTC
DEFAULT_NOW = 1_795_168_800

_FEW_THREADS = 10


@dataclass(frozen=True, kw_only=True)
class World:
    """Threads and their runs, a function of these five numbers alone.

    `now` is the instant, in Unix seconds, at which the world is in full swing:
    its history fills the `days` before, every third thread has an open run, and
    every fifth gets another run or two in the hour that follows; at its end no
    run is open any more. `runs` counts all of them. A thread has at most one
    open run, the newest. The first thread is much longer than the others; with
    ten threads or more, the last is empty.
    """

    seed: int = 1
    threads: int = 40
    runs: int = 600
    now: int = DEFAULT_NOW
    days: int = 14

    @property
    def thread_ids(self) -> tuple[str, ...]:
        """The ids of all threads; they exist from the beginning."""
        return tuple(self._threads)

    def thread(self, thread_id: str) -> Thread | None:
        """Find the thread of this id, if there is one."""
        return self._threads.get(thread_id)

    def payloads(self, thread_id: str, *, at: int) -> list[Payload]:
        """List a thread's run objects as of an instant, oldest first.

        Raises KeyError for a thread that does not exist.
        """
        return [life.payload(at) for life in self._threads[thread_id].as_of(at)]

    def all_payloads(self, *, at: int) -> Iterator[Payload]:
        """Yield every thread's run objects as of an instant, thread by thread."""
        for thread in self._threads.values():
            for life in thread.as_of(at):
                yield life.payload(at)

    def open_run_ids(self, *, at: int) -> tuple[str, ...]:
        """List the runs that exist and have not ended at this instant."""
        return tuple(life.id for life in self._lives() if life.is_open(at))

    def _lives(self) -> Iterator[Life]:
        for thread in self._threads.values():
            yield from thread.lives

    @cached_property
    def _threads(self) -> dict[str, Thread]:
        era = Era.around(self.now, days=self.days)
        threads = (
            draw_thread(dice(self.seed, index), index, count, era)
            for index, count in enumerate(self._counts())
        )
        return {thread.id: thread for thread in threads}

    def _counts(self) -> list[int]:
        """Share `runs` out among the threads."""
        if not self.threads:
            return []
        rng = dice(self.seed, "counts")
        weights = [rng.uniform(0.3, 1.5) for _ in range(self.threads)]
        weights[0] = 8.0
        if self.threads >= _FEW_THREADS:
            weights[-1] = 0.0
        shares = tuple(accumulate(weights, initial=0.0))
        bounds = [round(self.runs * share / shares[-1]) for share in shares]
        return [after - before for before, after in pairwise(bounds)]
