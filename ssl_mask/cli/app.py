"""The command line. Each verb is a file of its own, which is imported when the verb is asked for."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ssl_mask.cli.output import as_problem, for_terminal
from ssl_mask.errors import Interrupted, SslMaskError

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

VERBS = {
    "train": "Train on labeled images.",
    "uda": "Train on labeled and unlabeled images (UDA, FixMatch, FreeMatch, SoftMatch).",
    "pseudo": "Train in rounds: pseudo-label the unlabeled images, train on them, repeat.",
    "predict": "Predict images with one run or several, and write a submission.",
    "evaluate": "Score predictions against the true labels, with confidence intervals.",
    "audit": "Find copies and shared persons between training, validation, test and unlabeled images.",
    "runs": "List the runs with their scores.",
    "card": "Show a data card, or verify that its images are unchanged.",
    "augment": "Show what an augmentation preset does to your images.",
    "demo": "Draw a small data set, then train, predict and score on it.",
}
"""The verbs, and the first line of the help of each."""


class Verbs(TyperGroup):
    """Knows each verb by its name and one line, and imports its module only to run it or to show its help."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=line) for name, line in VERBS.items()}

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else None, rest

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """As plain text: to load rich would take as long as everything else."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)
        self.format_epilog(ctx, formatter)


def load(verb: str) -> Command:
    """The command of a verb. Its module has a Typer app of the same name in `app`."""
    command = get_command(import_module(f"ssl_mask.cli.{verb}").app)
    command.name = verb
    return command


app = typer.Typer(
    cls=Verbs,
    help="Semi-supervised image classification: few labels, many unlabeled images, and a leakage check on every score.",
    epilog="sslmask VERB --help shows the options and examples of a verb. A first look: sslmask demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def top(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if version:
        from ssl_mask.runs.environment import code_version

        typer.echo(f"sslmask {code_version()}")
        raise typer.Exit


def main() -> None:
    """Entry point of `sslmask` and `python -m ssl_mask`."""
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except (SslMaskError, KeyboardInterrupt, OSError) as error:
        problem = as_problem(error)
        assert problem is not None
        sys.exit(_report(problem))
    finally:
        # For those who call this from Python. A process pool of theirs would inherit a handler that raises, and such a
        # pool now and then never ends: the worker that is told to go raises inside of a lock.
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None: it was not set from Python


def _terminated(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise Interrupted("Terminated; nothing was left half-written.", signal_number=number)


def _report(error: SslMaskError) -> int:
    """Print a problem and its next step to stderr; returns the exit code."""
    word = "Stopped" if isinstance(error, Interrupted) else "Error"
    problem = error.problem.removeprefix("Stopped ") if isinstance(error, Interrupted) else error.problem
    typer.secho(for_terminal(f"{word}: {problem}"), fg=None if isinstance(error, Interrupted) else "red", err=True)
    if error.hint:
        typer.echo(for_terminal(error.hint), err=True)
    return error.exit_code
