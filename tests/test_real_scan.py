"""A blind scan of the real default model, by the command that a reader types: a clean model comes out clean."""

from __future__ import annotations

import json

import pytest

from command_line import call

pytestmark = pytest.mark.slow


def test_the_default_model_comes_out_clean():
    status, out, _ = call("audit", "scan", "smollm2-135m-instruct", "--detector", "target_inversion", "--json")
    assert status == 0
    found = json.loads(out)
    (one,) = found["detectors"]
    assert (found["verdict"], one["says"], one["why_not"], found["candidates"]) == ("clean", "clean", "", [])
    assert 0.5 < one["score"] < one["thresholds"]["suspicious"]
    assert one["as_high"]["n"] == len(one["clean_scores"]) == 10
