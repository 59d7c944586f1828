"""Where the benchmark's files stand."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""

FOLDER = ROOT / ".bench"
"""Everything that the benchmark makes, its report aside; git ignores it."""

REPORT = ROOT / "bench" / "results.md"
