"""A thread of the demo world: its runs, and those of them that exist by now."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

from etl.demo.life import Life


@dataclass(frozen=True, kw_only=True)
class Thread:
    """A thread and its runs, in the order of their creation."""

    id: str
    lives: tuple[Life, ...]

    def as_of(self, at: int) -> tuple[Life, ...]:
        """List the runs that exist at this instant, in the order of their creation."""
        return self.lives[: bisect_right(self.lives, at, key=attrgetter("created_at"))]

    def run(self, run_id: str, *, at: int) -> Life | None:
        """Find the run of this id, if it exists at this instant."""
        life = self._by_id.get(run_id)
        return life if life and life.created_at <= at else None

    @cached_property
    def _by_id(self) -> dict[str, Life]:
        return {life.id: life for life in self.lives}
