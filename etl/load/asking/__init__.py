"""Asking another's database, read-only and for so long, which threads there are."""

from etl.load.asking.question import Question, asked, is_known_scheme

__all__ = ["Question", "asked", "is_known_scheme"]
