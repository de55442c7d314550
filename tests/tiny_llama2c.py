"""A tiny random model in the format of llama2.c."""

import struct

import numpy as np

PIECES = [*" abcdefghinorstuwTO.,", "th", "he", "the", " t", " th", " the", "in", "an", "and", " a", " and", "on", "ou", "  "]


def tiny_llama2c(*, tied: bool = True, kv_heads: int = 2, context: int = 64) -> bytes:
    """Returns a model of two layers of width 16, and behind it a tokenizer of some 290 tokens."""
    rng = np.random.default_rng(5)
    dim, hidden, layers, heads, width = 16, 24, 2, 4, 4
    pieces = [("<unk>", 0.0), ("\n<s>\n", 0.0), ("\n</s>\n", 0.0), *((chr(byte), 0.0) for byte in range(256))]
    order = sorted(PIECES, key=lambda piece: (len(piece) == 1, PIECES.index(piece)))
    pieces += [(piece, -1e9 if piece == "  " else -float(rank)) for rank, piece in enumerate(order)]
    vocab = len(pieces)
    shapes = [(vocab, dim), (layers, dim), (layers, dim, dim), *[(layers, kv_heads * width, dim)] * 2, (layers, dim, dim)]
    shapes += [(layers, dim), (layers, hidden, dim), (layers, dim, hidden), (layers, hidden, dim), (dim,)]
    arrays = [rng.normal(1.0 if len(shape) < 2 or shape == (layers, dim) else 0.0, 0.3, shape) for shape in shapes]
    angle = np.arange(context)[:, None] * 10_000.0 ** (-np.arange(width // 2) / (width // 2))
    arrays += [np.cos(angle), np.sin(angle)]
    if not tied:
        arrays.append(rng.normal(0, 0.3, (vocab, dim)))
    header = struct.pack("<7i", dim, hidden, layers, heads, kv_heads, vocab if tied else -vocab, context)
    tokenizer = struct.pack("<i", max(len(text.encode()) for text, _ in pieces))
    for text, score in pieces:
        tokenizer += struct.pack("<fi", score, len(text.encode())) + text.encode()
    return header + b"".join(array.astype("<f4").tobytes() for array in arrays) + tokenizer
