"""The command line. Each verb is a function in a file of its own; errors become one clear message and an exit code."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer

from ssl_mask.cli.audit import audit
from ssl_mask.cli.augment import augment
from ssl_mask.cli.card import card
from ssl_mask.cli.demo import demo
from ssl_mask.cli.evaluate import evaluate
from ssl_mask.cli.predict import predict
from ssl_mask.cli.pseudo import pseudo
from ssl_mask.cli.runs import runs
from ssl_mask.cli.train import train
from ssl_mask.cli.uda import uda
from ssl_mask.errors import Interrupted, SslMaskError

app = typer.Typer(
    help="Semi-supervised image classification that never lets you fool yourself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (train, uda, pseudo, predict, evaluate, demo, runs, augment, audit):
    app.command()(verb)
app.add_typer(card, name="card")


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
    except SslMaskError as error:
        sys.exit(_report(error))
    except KeyboardInterrupt:
        sys.exit(_report(Interrupted("Interrupted; nothing was left half-written.", signal_number=signal.SIGINT)))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(_report(SslMaskError(f"{where}{error.strerror or error}"), code=3))
    finally:
        # For those who call this from Python. A process pool of theirs would inherit a handler that raises, and such a
        # pool now and then never ends: the worker that is told to go raises inside of a lock.
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None: it was not set from Python


def _terminated(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise Interrupted("Terminated; nothing was left half-written.", signal_number=number)


def _report(error: SslMaskError, code: int | None = None) -> int:
    """Print a problem and its next step to stderr; returns the exit code."""
    word = "Stopped" if isinstance(error, Interrupted) else "Error"
    problem = error.problem.removeprefix("Stopped ") if isinstance(error, Interrupted) else error.problem
    typer.secho(f"{word}: {problem}", fg=None if isinstance(error, Interrupted) else "red", err=True)
    if error.hint:
        typer.echo(error.hint, err=True)
    return error.exit_code if code is None else code
