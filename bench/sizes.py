"""The workloads in their two sizes."""

from bench.contests import Test
from bench.workload import Workload

LATENCY = 0.2
"""Seconds before each answer of H."""

FULL = {"A": (1_000, 100), "B": (20, 5_000), "C": (100_000, 1), "F": (10_000, 100)}
SMALL = {"A": (100, 100), "B": (4, 2_500), "C": (2_000, 1), "F": (300, 100)}
"""Threads, and runs in each."""


def tests(sizes: dict[str, tuple[int, int]]) -> dict[str, Test]:
    """The tests by their letters; D, E, G and H have as many runs as A."""
    threads, runs = sizes["A"]
    a = Workload(threads=threads, runs=runs)
    changed = Workload(threads=threads, runs=runs, changed=1)
    unknown = Workload(threads=threads, runs=runs, unknown_fields=True)
    b, c, f = (Workload(threads=sizes[name][0], runs=sizes[name][1]) for name in "BCF")
    all_tests = (
        Test(name="A", title="A, new runs", workload=a),
        Test(name="B", title="B, long threads", workload=b),
        Test(name="C", title="C, threads of one run", workload=c),
        Test(name="D", title="D, A again, nothing new", workload=a),
        Test(name="E", title="E, A again by backfill, 1 % changed", workload=changed),
        Test(name="F", title="F, many runs", workload=f),
        Test(name="G", title="G, unknown fields", workload=unknown),
        Test(name="H", title="H, 200 ms latency", workload=a, latency=LATENCY, workers=32),
    )
    return {test.name: test for test in all_tests}
