"""Flags of the verbs themselves that several of them share. Flags that set a setting are in `flags.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from typer._click import Context
    from typer.core import TyperOption

Resume = Annotated[
    str | None,
    typer.Option(
        "--resume", metavar="<run>", rich_help_panel="Training",
        help="Continue a run exactly where it stopped: its name, its path, or `latest`. With --steps: train longer.",
    ),
]  # fmt: skip
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", metavar="", rich_help_panel="Training",
        help="Check the configuration and the data, run two steps, print how long it would take. Writes nothing.",
    ),
]  # fmt: skip
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", metavar="", rich_help_panel="Output", help="Print nothing but errors.")
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", metavar="", rich_help_panel="Output",
        help="Print one JSON object to stdout, errors included; messages and progress go to stderr.",
    ),
]  # fmt: skip


class Verb(TyperCommand):
    """Shows `--help` in the last group of the help, not in one of its own."""

    def get_help_option(self, ctx: Context) -> TyperOption | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel, option.metavar = "Output", ""
        return option


def command(app: typer.Typer, *examples: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function a command of `app`, with examples at the end of its help."""
    return app.command(cls=Verb, epilog="\n".join(["Examples:", *(f"$ {example}" for example in examples)]))
