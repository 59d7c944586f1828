"""Chance that repeats itself: the same seed gives the same numbers anywhere."""

from base64 import b64encode
from random import Random


def dice(*seed: object) -> Random:
    """Roll numbers that depend on nothing but `seed`, in every process."""
    # A made-up world has to be repeatable; nothing secret is drawn here.
    return Random("/".join(str(part) for part in seed))  # noqa: S311


def draw_id(rng: Random, prefix: str) -> str:
    """Write an id as OpenAI does: `prefix`, `_` and 24 base62 characters."""
    # Base 64 with its two signs replaced: as good, and much faster than choosing.
    return f"{prefix}_{b64encode(rng.randbytes(18), altchars=b'Tx').decode()}"
