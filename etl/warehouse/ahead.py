"""Reading ahead: a worker reads what comes next while what came before is written."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from queue import Full, Queue
from threading import Event
from typing import Any, Protocol, TypeVar

MOST_WAITING = 2
PATIENCE_SECONDS = 0.1
"""How long a wait lasts before it looks whether nobody needs more."""

END = object()
Entry = TypeVar("Entry")


class Ahead(Protocol):
    """Reads ahead of whoever uses the entries, one iterator after the other."""

    def __call__(self, entries: Generator[Entry]) -> Iterator[Entry]:
        """The same entries; raises what reading them raises."""
        ...


@contextmanager
def reading_ahead() -> Iterator[Ahead]:
    """A worker for as long as the block lasts; it has ended when the block has."""
    is_over = Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            yield partial(_ahead, pool.submit, is_over)
        finally:
            is_over.set()


def _ahead(
    submit: Callable[..., Any], is_over: Event, entries: Generator[Entry]
) -> Iterator[Entry]:
    waiting: Queue[Any] = Queue(MOST_WAITING)
    reading = submit(_read, entries, partial(_put, waiting, is_over))
    while (entry := waiting.get()) is not END:
        yield entry
    reading.result()


def _read(entries: Generator[Entry], put: Callable[[object], bool]) -> None:
    try:
        for entry in entries:
            if not put(entry):
                return
    finally:
        entries.close()
        put(END)


def _put(waiting: "Queue[Any]", is_over: Event, entry: object) -> bool:
    """Hand on an entry; False where nobody takes it any more."""
    while not is_over.is_set():
        try:
            waiting.put(entry, timeout=PATIENCE_SECONDS)
        except Full:
            continue
        return True
    return False
