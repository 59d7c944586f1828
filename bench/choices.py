"""What the caller asks for: the command line of `scripts/bench`."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import PEERS
from bench.places import REPORT
from bench.sizes import FULL, SMALL

WORKLOADS = "ABCDEFGH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The options, checked."""

    rounds: int
    sizes: dict[str, tuple[int, int]]
    workloads: frozenset[str]
    peers: tuple[str, ...]
    out: Path

    @property
    def is_small(self) -> bool:
        """Whether the sizes are the smaller ones."""
        return self.sizes is SMALL


def choices() -> Choices:
    """Read the command line; a wrong one ends the program with a sentence."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures runtide beside its floors and its peers, prints a table and"
        " writes it with the targets into a file.",
    )
    parser.add_argument("--rounds", type=_rounds, metavar="N", help="3; with --small 1")
    parser.add_argument(
        "--small", action="store_true", help="smaller sizes, about a minute in all"
    )
    parser.add_argument(
        "--only",
        type=_workloads,
        default=frozenset(WORKLOADS),
        metavar="A,B,…",
        help=f"these of the workloads {', '.join(WORKLOADS)}; D and E bring A with them",
    )
    parser.add_argument(
        "--peers",
        type=_peers,
        default=tuple(PEERS),
        metavar="NAME,…|none",
        help=f"these of {', '.join(PEERS)}, on workload A",
    )
    parser.add_argument(
        "--out",
        type=_report,
        default=REPORT,
        metavar="PATH",
        help="the report, seen from the repository; bench/results.md",
    )
    given = parser.parse_args()
    return Choices(
        rounds=given.rounds or (1 if given.small else 3),
        sizes=SMALL if given.small else FULL,
        workloads=given.only,
        peers=given.peers if "A" in given.only else (),
        out=given.out,
    )


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds; say 1 or more")
    return int(text)


def _workloads(text: str) -> frozenset[str]:
    chosen = frozenset(text.upper().split(","))
    if unknown := chosen - set(WORKLOADS):
        message = f"there is no workload {min(unknown)!r}, only {', '.join(WORKLOADS)}"
        raise argparse.ArgumentTypeError(message)
    return chosen | {"A"} if chosen & {"D", "E"} else chosen


def _peers(text: str) -> tuple[str, ...]:
    chosen = () if text == "none" else tuple(dict.fromkeys(text.split(",")))
    if unknown := set(chosen) - set(PEERS):
        message = f"there is no peer {min(unknown)!r}, only {', '.join(PEERS)}"
        raise argparse.ArgumentTypeError(message)
    return chosen


def _report(text: str) -> Path:
    path = Path(text).absolute()
    if path.is_dir() or not path.parent.is_dir():
        message = f"{text} cannot be written: it must be a file in a folder that is there"
        raise argparse.ArgumentTypeError(message)
    return path
