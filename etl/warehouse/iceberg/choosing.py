"""Which manifests a commit reads, asked by one worker of PyIceberg at a time."""

from collections.abc import Callable
from threading import Lock
from typing import Any

Evaluator = Callable[[Any], bool]


def choose_alone(snapshot: Any) -> None:
    """Keep the workers of a commit apart where they ask which manifests may hold a file.

    PyIceberg 0.12 shares one evaluator among them, and that keeps in itself which manifest
    it looks at. So a worker may get the answer for another's, find too few of the files
    that go, and refuse the commit as if somebody else had taken them.
    """
    build = getattr(snapshot, "_build_manifest_evaluator", None)
    if build is None:  # of a version that asks in another way
        return

    def built(spec_id: int) -> Evaluator:
        evaluator, lock = build(spec_id), Lock()

        def evaluate(manifest: Any) -> bool:
            with lock:
                return bool(evaluator(manifest))

        return evaluate

    snapshot._build_manifest_evaluator = built  # noqa: SLF001  # there is no other way in
