"""The workers of a commit to an Iceberg table ask one evaluator, one after the other."""

from collections.abc import Callable
from threading import Thread as Worker
from types import SimpleNamespace

from etl.warehouse.iceberg.choosing import choose_alone

MOMENT = 0.05
"""Seconds; who may not go on is still there after any time."""


class Shared:
    """An evaluator as PyIceberg's: what it looks at, it keeps in itself."""

    def __init__(self) -> None:
        self.looks_at = ""
        self.meanwhile: Callable[[], None] = lambda: None

    def __call__(self, manifest: str) -> bool:
        self.looks_at = manifest
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return self.looks_at == "mine"


class Snapshot:
    """A commit that is being made, with its evaluator."""

    def __init__(self, evaluator: Shared) -> None:
        self._evaluator = evaluator

    def _build_manifest_evaluator(self, spec_id: int) -> Callable[[str], bool]:
        assert spec_id == 7
        return self._evaluator


def test_a_worker_gets_no_answer_for_anothers_manifest() -> None:
    shared = Shared()
    snapshot = Snapshot(shared)
    choose_alone(snapshot)
    evaluate = snapshot._build_manifest_evaluator(7)
    others: list[bool] = []
    other = Worker(target=lambda: others.append(evaluate("another's")))

    def another_asks() -> None:
        other.start()
        other.join(MOMENT)

    shared.meanwhile = another_asks
    assert evaluate("mine")
    other.join()
    assert others == [False]


def test_a_version_that_asks_in_another_way_is_left_alone() -> None:
    snapshot = SimpleNamespace()
    choose_alone(snapshot)
    assert not vars(snapshot)
