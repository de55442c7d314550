"""Medians, and how far they can be trusted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Median:
    """A median with the ends of its interval.

    Attributes:
        value: The median.
        low: Lower end.
        high: Upper end.
        coverage: The probability with which such an interval holds the true median, whatever the distribution.
    """

    value: float
    low: float
    high: float
    coverage: float


def median(values: Sequence[float]) -> Median:
    """Returns a median with the interval between two of the values.

    The interval is the sign test's: the k-th smallest to the k-th largest value, with the largest k that covers the true median
    with 95 % probability or more (W. R. Thompson, Ann. Math. Stat. 7, 1936). It assumes no distribution. Below six values none
    covers so much; then it is the smallest and the largest, and `coverage` says what that is worth.

    Args:
        values: At least one finite number.

    Raises:
        ValueError: There is none, or one is not finite.
    """
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"a median needs finite numbers, got {list(values)}")
    ordered = sorted(values)
    n = len(ordered)
    rank = 1
    while rank + 1 <= (n + 1) // 2 and _coverage(n, rank + 1) >= LEVEL:
        rank += 1
    return Median(statistics.median(ordered), ordered[rank - 1], ordered[n - rank], max(0.0, _coverage(n, rank)))


def _coverage(n: int, rank: int) -> float:
    """The probability that the true median lies between the rank-th smallest and the rank-th largest of n values."""
    outside = sum(math.comb(n, i) for i in range(rank))
    return 1 - outside / (1 << (n - 1))
