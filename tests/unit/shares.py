"""What a process reads of a source that it has for itself."""

from collections.abc import Iterable, Iterator

from etl.domain.batch import TrackedThread
from etl.sync.ports import Answers


class Whole:
    """All threads of a source, for nobody else reads any."""

    def __init__(self, threads: Iterable[TrackedThread] = ()) -> None:
        self._threads = threads

    def threads(self) -> Iterator[TrackedThread]:
        return iter(self._threads)

    def keeps(self, thread: TrackedThread) -> bool:
        return True

    def passed(self, thread: TrackedThread) -> None:
        pass

    def leave(self) -> None:
        pass

    def answers(self) -> Answers:
        return Answers()
