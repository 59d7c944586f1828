"""`scripts/simulate`: a year of nightly syncs, and what each rule made of it."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from scripts.simulating.charts import charts
from scripts.simulating.contest import CONTEST_THREADS, Standing, stood_at
from scripts.simulating.document import write
from scripts.simulating.gaps import TRIED
from scripts.simulating.tables import tables

FEWEST_THREADS = 500
MOST_THREADS = 5_000_000


def main(arguments: Sequence[str]) -> int:
    """Simulate; print the tables, or with --write put them into docs/scale.md."""
    options = _parser().parse_args(arguments)
    if not FEWEST_THREADS <= options.threads <= MOST_THREADS:
        limits = f"from {FEWEST_THREADS:,} to {MOST_THREADS:,}"
        print(f"--threads is {options.threads:,}; give a number {limits}.", file=sys.stderr)
        return 2
    standings = list(_standings(options))
    texts = {"made": _made(options)} | tables(standings)
    if options.write:
        write(texts, charts(standings))
    else:
        print("\n".join(texts.values()))
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser("scripts/simulate", description=__doc__)
    parser.add_argument("--threads", type=int, default=20_000, help="threads in each world")
    parser.add_argument(
        "--seed", type=int, default=1, help="the same seed, the same figures"
    )
    parser.add_argument("--processes", type=int, default=2, help="worlds at the same time")
    parser.add_argument("--write", action="store_true", help="write docs/scale.md")
    return parser


def _standings(options: Namespace) -> Iterator[Standing]:
    """Each world in a process, told on standard error when it is done."""
    began = time.monotonic()
    task = partial(stood_at, threads=options.threads, seed=options.seed)
    # Unlike a Pool, it ends with an error when a process dies.
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        for standing in pool.map(task, range(len(TRIED))):
            seconds = time.monotonic() - began
            print(f"{standing.name}: {seconds:.0f} s", file=sys.stderr)
            yield standing


def _made(options: Namespace) -> str:
    """The command, and how large its worlds are."""
    most = min(options.threads, CONTEST_THREADS)
    written = " --write" if options.write else ""
    return (
        f"`scripts/simulate --threads {options.threads} --seed {options.seed}{written}`:"
        f" {options.threads:,} threads in each of {len(TRIED)} worlds; rules at equal"
        f" requests are compared over {most:,}.\n"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
