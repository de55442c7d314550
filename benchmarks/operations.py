"""How many operations a computation needs, and how many were executed.

A multiplication with an addition counts as two. A token costs two operations a weight forward and four backward (Kaplan et al.
2020, section 2.1), the head only where a token is supervised or sampled. What attention does between tokens, norms, the
optimiser and looking up embeddings count nothing. These are the *useful* operations: those of the plain computation of the true
tokens, each once, without padding. A side that computes a shared prompt prefix only once executes fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

FORWARD = 2
TRAIN = 6


@dataclass(frozen=True, slots=True)
class Size:
    """The weights of a network by how often they are used.

    Attributes:
        body: Weights that every token passes.
        head: Weights of the language-model head.
    """

    body: int
    head: int

    def operations(self, per_weight: int, tokens: int, heads: int) -> float:
        """Returns the operations on some tokens.

        Args:
            per_weight: `FORWARD` or `TRAIN`.
            tokens: Tokens that pass the body.
            heads: Tokens at which the head is computed.
        """
        return float(per_weight) * (self.body * tokens + self.head * heads)

    def sampling(self, rows: int, prompt_tokens: int, new_tokens: int) -> float:
        """Returns the operations of sampling: the last token of each row is never read."""
        return self.operations(FORWARD, prompt_tokens + new_tokens - rows, new_tokens)


def size_of(network: Any) -> Size:
    """Returns the size of a causal language model, whose head may be tied to its embedding."""
    embedding = network.get_input_embeddings().weight
    head = network.get_output_embeddings().weight
    outside = {id(weight): weight.numel() for weight in (embedding, head)}
    body = sum(weight.numel() for weight in network.parameters() if id(weight) not in outside)
    return Size(body, head.numel())


class TokenCounter:
    """Counts the tokens that go through a network, padding included."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, tokens: int) -> None:
        """Counts some tokens."""
        self._count += tokens

    def take(self) -> int:
        """Returns the tokens since the last call."""
        count, self._count = self._count, 0
        return count


@contextmanager
def counting(network: nn.Module) -> Iterator[TokenCounter]:
    """Counts what goes through a network that is called with ``input_ids``."""
    counter = TokenCounter()

    def count(_module: nn.Module, _args: Any, given: dict[str, Any]) -> None:
        counter.add(given["input_ids"].numel())

    handle = network.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield counter
    finally:
        handle.remove()
