"""`sslmask card show` and `sslmask card verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.options import command

app = typer.Typer(
    help="Show a data card, or verify that its images are unchanged.", no_args_is_help=True, add_completion=False
)
CardFile = Annotated[
    Path, typer.Argument(metavar="<card>", help="A data card that `sslmask audit` wrote: its .json or .md.")
]


@command(app, "sslmask card show data_cards/train.md", "sslmask card show data_cards/test.json > card.md")
def show(file: CardFile) -> None:
    """Show a data card: rendered in a terminal, as Markdown where it is piped."""
    from ssl_mask.reports.data_page import pool_page
    from ssl_mask.reports.terminal import show_page
    from ssl_mask.reports.verify_card import read_card

    show_page(pool_page(read_card(file)))


@command(app, "sslmask card verify data_cards/train.json", "sslmask card verify data_cards/test.md --root faces")
def verify(
    file: CardFile,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>", show_default="where the card was made", help="The folder that holds the card's images."
        ),
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
    print(f"{file}: every listed image is there, unchanged, and none was added.")
