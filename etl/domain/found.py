"""What became of threads that were found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How many of some distinct threads were added, known already, or kept out.

    Kept out are those that were forgotten, or untracked by hand. `moved` were active
    later than was known.
    """

    added: int
    known: int
    kept_out: int
    moved: int = 0
