"""How late runs were found: nights after the first night that could have found them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lateness:
    """How many runs were so many whole nights late, by nights; the first are in time."""

    counts: Counts

    @property
    def runs(self) -> int:
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """In days."""
        return float(self.counts @ np.arange(len(self.counts))) / max(self.runs, 1)

    def over(self, nights: int) -> float:
        """The share of runs that were later than that."""
        return float(self.counts[nights + 1 :].sum()) / max(self.runs, 1)

    def percentile(self, percent: float) -> int:
        """The nights within which that many of a hundred were found."""
        reached = np.cumsum(self.counts) >= self.runs * percent / 100
        return int(np.argmax(reached))

    @property
    def worst(self) -> int:
        return int(np.flatnonzero(self.counts)[-1]) if self.runs else 0
