"""Reading ahead: the same entries, the same errors, and nothing left open."""

from collections.abc import Generator
from threading import Event, get_ident

import pytest

from etl.warehouse.ahead import MOST_WAITING, reading_ahead

PATIENCE_SECONDS = 60.0  # never decides a test, ends one that hangs


class Entries:
    """Numbers that know who read them, and whether they were closed."""

    def __init__(self, count: int, *, fails: bool = False) -> None:
        self.read: list[int] = []
        self.workers: set[int] = set()
        self.is_full = Event()
        self.is_closed = False
        self._count = count
        self._fails = fails

    def __call__(self) -> Generator[int]:
        try:
            for number in range(self._count):
                self.read.append(number)
                self.workers.add(get_ident())
                if len(self.read) > MOST_WAITING:
                    self.is_full.set()
                yield number
            if self._fails:
                raise ValueError("no more")
        finally:
            self.is_closed = True


def test_entries_come_in_order_from_another_worker_list_after_list() -> None:
    first, second = Entries(10), Entries(3)

    with reading_ahead() as ahead:
        assert list(ahead(first())) == list(range(10))
        assert list(ahead(second())) == list(range(3))

    assert get_ident() not in first.workers | second.workers
    assert first.is_closed


def test_they_are_read_before_anybody_asks_but_not_all_of_them() -> None:
    entries = Entries(1_000)

    with reading_ahead() as ahead:
        taking = ahead(entries())
        assert next(taking) == 0
        assert entries.is_full.wait(PATIENCE_SECONDS)
        assert len(entries.read) <= 2 + MOST_WAITING


def test_what_reading_raises_comes_after_what_was_read() -> None:
    with reading_ahead() as ahead:
        taking = ahead(Entries(3, fails=True)())

        assert [next(taking) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="no more"):
            next(taking)


def test_who_leaves_early_leaves_nothing_open() -> None:
    entries = Entries(1_000)

    def leave() -> None:
        with reading_ahead() as ahead:
            next(ahead(entries()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()

    assert entries.is_closed
