"""The report: when, where, with what, and the figures."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.choices import Choices
from bench.contenders import PEERS
from bench.environments import versions
from bench.figures import Figures
from bench.sizes import tests
from bench.table import figures_table, targets_table

PRODUCT = ("psycopg", "sqlalchemy", "httpx", "msgspec")

SMALL_SIZES = "; the sizes are small, so starting counts much, and targets mean little"

TEXT = """\
# Results

Written by `scripts/bench`; [README.md](README.md) says what is measured and how. Seconds
are the median of the rounds; `× A` compares seconds per run with those of A.

{facts}

{figures}

## Targets

{targets}
"""


def report(choices: Choices, figures: Figures, *, server: str) -> str:
    """The text of the report; `server` is Postgres' version."""
    facts = [
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine: {_machine()}",
        f"server: PostgreSQL {server}, its settings those of `runtide db start`",
        f"runtide: {_product()}",
        *(f"{PEERS[name].title}: {_versions(name)}" for name in choices.peers),
        f"rounds: {choices.rounds}{SMALL_SIZES if choices.is_small else ''}",
        f"threads × runs: {_sizes(choices)}",
    ]
    return TEXT.format(
        facts="\n".join(f"- {fact}" for fact in facts),
        figures=figures_table(figures),
        targets=targets_table(figures),
    )


def _product() -> str:
    """The version of runtide, Python's, and those of what it stands on."""
    own = [version("runtide"), f"Python {platform.python_version()}"]
    return ", ".join([*own, *versions("runtime", PRODUCT)])


def _versions(peer: str) -> str:
    return ", ".join(versions(f"bench-{peer}", PEERS[peer].packages))


def _sizes(choices: Choices) -> str:
    sizes = {name: test.workload for name, test in tests(choices.sizes).items()}
    chosen = sorted(choices.workloads)
    return ", ".join(
        f"{name} {sizes[name].threads:,} × {sizes[name].runs:,}" for name in chosen
    )


def _machine() -> str:
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    system = f"{platform.system()} {platform.machine()}"
    return f"{_processor()}, {os.cpu_count()} cores, {gigabytes:.0f} GB, {system}"


def _processor() -> str:
    """The processor's name; /proc/cpuinfo has it on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = (line.partition(":")[2].strip() for line in lines if "model name" in line)
    return next(names, "unknown processor")
