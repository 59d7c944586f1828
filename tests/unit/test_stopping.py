"""The event of one sync follows whoever asks to stop, and keeps its own to itself."""

import threading

import pytest

from etl.wiring.stopping import PATIENCE_SECONDS, OwnStop

LONG = 60.0  # never decides a test, ends one that hangs


@pytest.fixture
def asked() -> threading.Event:
    return threading.Event()


def test_whoever_asks_ends_the_sync(asked: threading.Event) -> None:
    own = OwnStop(asked)
    assert not own.is_set()

    asked.set()

    assert own.is_set()
    assert own.wait(LONG)


def test_a_sync_that_ends_itself_ends_nobody_else(asked: threading.Event) -> None:
    own, next_one = OwnStop(asked), OwnStop(asked)

    own.set()

    assert own.is_set()
    assert own.wait(LONG)
    assert not asked.is_set()
    assert not next_one.is_set()


@pytest.mark.parametrize(
    "seconds", [0.0, -1.0, PATIENCE_SECONDS / 10, 1.5 * PATIENCE_SECONDS]
)
def test_a_wait_for_nobody_ends_in_time(asked: threading.Event, seconds: float) -> None:
    assert not OwnStop(asked).wait(seconds)


@pytest.mark.parametrize("timeout", [LONG, None])
def test_a_wait_ends_when_somebody_asks_meanwhile(
    asked: threading.Event, timeout: float | None
) -> None:
    own, answers = OwnStop(asked), []
    waiting = threading.Thread(
        target=lambda: answers.append(own.wait(timeout)), daemon=True
    )
    waiting.start()
    asked.set()
    waiting.join(LONG)

    assert answers == [True]
