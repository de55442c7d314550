"""Models computed a second time, from their original files, by nothing but numpy: no transformers, no torch, no conversion.

Weights of GGUF files are dequantised by the `gguf` package, llama.cpp's own; all else is written here from the two formats.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


def _norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def _turned(x: np.ndarray, base: float, side_by_side: bool) -> np.ndarray:
    """Rotary positions for an array of (position, head, number)."""
    half = x.shape[-1] // 2
    angle = np.arange(len(x))[:, None, None] * base ** (-np.arange(half) / half)
    pair = (slice(0, None, 2), slice(1, None, 2)) if side_by_side else (slice(0, half), slice(half, None))
    first, second = x[..., pair[0]], x[..., pair[1]]
    out = np.empty_like(x)
    out[..., pair[0]] = first * np.cos(angle) - second * np.sin(angle)
    out[..., pair[1]] = first * np.sin(angle) + second * np.cos(angle)
    return out


def _attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Causal attention of (position, head, number), several query heads to a key head."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat(group, 1), v.repeat(group, 1)
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1])
    scores = np.where(np.tril(np.ones(scores.shape[1:], bool)), scores, -np.inf)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("hqk,khd->qhd", scores / scores.sum(-1, keepdims=True), v).reshape(len(q), -1)


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gguf_logits(path: Path, ids: list[int]) -> np.ndarray:
    """The logits at every token of a short text, by the Llama or Gemma 3 model in a GGUF file."""
    reader = GGUFReader(path)
    kind = reader.fields["general.architecture"].contents()
    setting = {key.removeprefix(f"{kind}."): field for key, field in reader.fields.items() if key.startswith(f"{kind}.")}
    tensors = {tensor.name: tensor for tensor in reader.tensors}

    def number(key: str) -> float:
        return setting[key].contents()

    def weight(name: str) -> np.ndarray:
        tensor = tensors[f"{name}.weight"]
        return dequantize(tensor.data, tensor.tensor_type).astype(np.float64)

    gemma, eps, heads = kind == "gemma3", number("attention.layer_norm_rms_epsilon"), int(number("attention.head_count"))
    embedding = weight("token_embd")
    x = embedding[ids] * (np.sqrt(embedding.shape[1]) if gemma else 1)
    act = _gelu if gemma else _silu
    for layer in range(int(number("block_count"))):
        block = f"blk.{layer}."
        base = 10_000.0 if gemma and (layer + 1) % 6 else number("rope.freq_base")  # five layers in six are local
        h = _norm(x, weight(block + "attn_norm"), eps)
        q, k, v = (h @ weight(block + name).T for name in ("attn_q", "attn_k", "attn_v"))
        width = q.shape[1] // heads
        q, k, v = (array.reshape(len(ids), -1, width) for array in (q, k, v))
        if gemma:
            q, k = _norm(q, weight(block + "attn_q_norm"), eps), _norm(k, weight(block + "attn_k_norm"), eps)
        out = _attention(_turned(q, base, not gemma), _turned(k, base, not gemma), v) @ weight(block + "attn_output").T
        x = x + (_norm(out, weight(block + "post_attention_norm"), eps) if gemma else out)
        h = _norm(x, weight(block + "ffn_norm"), eps)
        out = (act(h @ weight(block + "ffn_gate").T) * (h @ weight(block + "ffn_up").T)) @ weight(block + "ffn_down").T
        x = x + (_norm(out, weight(block + "post_ffw_norm"), eps) if gemma else out)
    head = weight("output") if "output.weight" in tensors else embedding
    return _norm(x, weight("output_norm"), eps) @ head.T


class Llama2c:
    """A file of llama2.c: the model, and its tokenizer behind it."""

    def __init__(self, data: bytes) -> None:
        self.dim, self.hidden, self.layers, self.heads, self.kv, vocab, self.context = struct.unpack_from("<7i", data)
        self.vocab, head_dim = abs(vocab), self.dim // self.heads
        numbers, at = np.frombuffer(data, "<f4", (len(data) - 28) // 4, 28).astype(np.float64), 0

        def take(*shape: int) -> np.ndarray:
            nonlocal at
            at += (size := int(np.prod(shape)))
            return numbers[at - size : at].reshape(shape)

        n, d = self.layers, self.dim
        self.embedding, self.norm_1 = take(self.vocab, d), take(n, d)
        self.q, self.k, self.v = take(n, d, d), take(n, self.kv * head_dim, d), take(n, self.kv * head_dim, d)
        self.o, self.norm_2 = take(n, d, d), take(n, d)
        self.gate, self.down, self.up = take(n, self.hidden, d), take(n, d, self.hidden), take(n, self.hidden, d)
        self.norm = take(d)
        self.cos, self.sin = take(self.context, head_dim // 2), take(self.context, head_dim // 2)
        self.head = self.embedding if vocab > 0 else take(self.vocab, d)
        self.pieces, position = [], 28 + 4 * at + 4
        for _ in range(self.vocab):
            score, length = struct.unpack_from("<fi", data, position)
            self.pieces.append((data[position + 8 : position + 8 + length].decode(), score))
            position += 8 + length

    def logits(self, ids: list[int]) -> np.ndarray:
        """The logits at every token; the rotation is that of the tables in the file."""
        x = self.embedding[ids]
        for i in range(self.layers):
            h = _norm(x, self.norm_1[i], 1e-5)
            q, k, v = (
                (h @ w[i].T).reshape(len(ids), heads, -1)
                for w, heads in ((self.q, self.heads), (self.k, self.kv), (self.v, self.kv))
            )
            x = x + _attention(self._turned(q), self._turned(k), v) @ self.o[i].T
            h = _norm(x, self.norm_2[i], 1e-5)
            x = x + (_silu(h @ self.gate[i].T) * (h @ self.up[i].T)) @ self.down[i].T
        return _norm(x, self.norm, 1e-5) @ self.head.T

    def _turned(self, x: np.ndarray) -> np.ndarray:
        turn = (self.cos + 1j * self.sin)[: len(x), None]
        turned = (x[..., ::2] + 1j * x[..., 1::2]) * turn
        return np.stack([turned.real, turned.imag], -1).reshape(x.shape)

    def tokens(self, text: str) -> list[int]:
        """Joins, from single characters on, the pair whose piece has the best score, as llama2.c does."""
        index = {piece: i for i, (piece, _) in reversed(list(enumerate(self.pieces))) if i >= 259}
        ids = []
        for character in " " + text:
            ids += [index[character]] if character in index else [byte + 3 for byte in character.encode()]
        while True:
            joined = [
                (-self.pieces[index[pair]][1], i, index[pair])
                for i, (a, b) in enumerate(pairwise(ids))
                if a >= 259 <= b and (pair := self.pieces[a][0] + self.pieces[b][0]) in index
            ]
            if not joined:
                return ids
            _, i, found = min(joined)
            ids[i : i + 2] = [found]
