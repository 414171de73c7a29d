"""`sslmask card show` and `sslmask card verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

card = typer.Typer(help="Show or verify a data card.", no_args_is_help=True)
CardFile = Annotated[Path, typer.Argument(help="A card that sslmask audit wrote: its .json or .md.")]


@card.command()
def show(file: CardFile) -> None:
    """Print a data card as Markdown."""
    from ssl_mask.reports.data_page import pool_page
    from ssl_mask.reports.verify_card import read_card

    typer.echo(pool_page(read_card(file)), nl=False)


@card.command()
def verify(
    file: CardFile,
    root: Annotated[
        Path | None, typer.Option(help="What the card's paths are relative to. [default: where it was made]")
    ] = None,
) -> None:
    """Read every image of a card again and compare. Exit code 5 when the card or an image has changed."""
    from ssl_mask.errors import MismatchError
    from ssl_mask.reports.verify_card import verify_card

    problems = verify_card(file, root)
    if problems:
        raise MismatchError(
            f"{file} does not fit what is there ({len(problems)} found):\n" + "\n".join(problems[:20]),
            hint="If the change is meant, audit again: sslmask audit. If the images have moved: --root DIR",
        )
    typer.echo(f"{file}: every listed image is there, unchanged, and none was added.")
