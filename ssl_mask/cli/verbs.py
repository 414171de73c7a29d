"""The verbs of the command line. Each is a file of its own, which is imported when the verb is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ssl_mask.cli.output import as_problem

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

VERBS = {
    "train": "Train on labeled images.",
    "uda": "Train on labeled and unlabeled images (UDA, FixMatch, FlexMatch, FreeMatch, SoftMatch, AdaMatch).",
    "pseudo": "Train in rounds: pseudo-label the unlabeled images, train on them, repeat.",
    "tune": "Search settings, and test whether the winner is better than the default or was lucky.",
    "curve": "Estimate what twice the labels would give: a learning curve of out-of-fold scores.",
    "predict": "Predict images with a run, a study, or several of them, and write a submission.",
    "embed": "Write what a run or a study sees in images: a table of vectors of length 1.",
    "gallery": "Predict by the nearest labeled images, add a class without training, search images.",
    "acquire": "Choose the persons (groups) of a pool that are worth labeling next, and write a CSV to fill in.",
    "evaluate": "Score predictions against the true labels, with confidence intervals.",
    "explore": "Show a data set before training: classes, groups, copies, unusual images and a map, as one HTML page.",
    "audit": "Find copies and shared persons between training, validation, test and unlabeled images.",
    "report": "Show a run or a study: scores, mistakes, doubtful labels and leakage, with images, as one HTML page.",
    "review": "Review the labels that are probably wrong, on one HTML page that is worked by keyboard.",
    "export": "Write a run or a study as one ONNX file that predicts photos without torch.",
    "bench": "Measure how fast and how large a run, a study or an exported network is.",
    "runs": "List the runs, studies and galleries; show, compare or remove them.",
    "card": "Make the card of a run or a data set for others to read, and push it; show or verify a data card.",
    "prepare": "Write a new data folder with the faces cut out of people photos, or their background taken away.",
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

    def make_context(self, *args: Any, **settings: Any) -> Context:
        with _told():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: Context) -> Any:
        with _told():
            return super().invoke(ctx)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """As plain text: to load rich would take as long as everything else."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)
        self.format_epilog(ctx, formatter)


@contextmanager
def _told() -> Iterator[None]:
    """Typer would end an interruption without a word, and too little memory or a missing package with a traceback."""
    try:
        yield
    except (KeyboardInterrupt, OSError, MemoryError, ModuleNotFoundError) as error:
        raise as_problem(error) from error


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

        print(f"sslmask {code_version()}")
        raise typer.Exit
