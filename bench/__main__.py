"""`scripts/bench`: prepare, measure in rounds, print and write down."""

import signal
import sys
from contextlib import ExitStack
from types import FrameType

from bench.choices import Choices, choices
from bench.contenders import PEERS
from bench.contests import Contests
from bench.environments import prepared
from bench.places import FOLDER
from bench.product import embedded_postgres
from bench.report import report
from bench.sizes import tests
from bench.writing import written


def main() -> int:
    """Measure what the command line asks for."""
    chosen = choices()
    signal.signal(signal.SIGTERM, _end)
    return written(lambda: [measured(chosen)], chosen.out)


def measured(chosen: Choices) -> str:
    """The report of all rounds, each of which lets everybody have a turn."""
    for name in chosen.peers:
        prepared(name)
    with embedded_postgres(FOLDER / "postgres") as postgres, ExitStack() as servers:
        contests = Contests(postgres, servers)
        for number in range(1, chosen.rounds + 1):
            sys.stderr.write(f"Round {number} of {chosen.rounds} …\n")
            play(chosen, contests, is_last=number == chosen.rounds)
        return report(chosen, contests.figures, server=postgres.version())


def play(chosen: Choices, contests: Contests, *, is_last: bool) -> None:
    """One round."""
    test = tests(chosen.sizes)
    if "A" in chosen.workloads:
        contests.sync(test["A"])
        contests.copy_rows(test["A"])
        contests.fetch_pages(test["A"])
        if is_last:
            contests.starts()
    if "D" in chosen.workloads:
        contests.sync_again(test["D"])
    if "E" in chosen.workloads:
        contests.backfill(test["E"])
    for name in chosen.peers if "A" in chosen.workloads else ():
        contests.peer(PEERS[name], test["A"])
    for name in sorted(chosen.workloads - set("ADE")):
        contests.sync(test[name])


def _end(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
