"""`sslmask card make`, `sslmask card show` and `sslmask card verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, Quiet, command
from ssl_mask.cli.output import answering, loading
from ssl_mask.config import resolve

app = typer.Typer(
    help="Make the card of a run or a data set for others to read, and push it; show or verify a data card.",
    no_args_is_help=True, add_completion=False,
)  # fmt: skip
CardFile = Annotated[
    Path, typer.Argument(metavar="<card>", help="A data card that `sslmask audit` wrote: its .json or .md.")
]


@command(
    app,
    "sslmask card make train-001 --license mit",
    "sslmask card make faces",
    "sslmask card make data_cards/train.json",
    "sslmask card make study-001 --push my-team/masks",
)
@takes("runs")
def make(
    given: Given,
    what: Annotated[
        str,
        typer.Argument(
            metavar="<what>",
            help="A run or a study (its name, its path, or `latest`), a model.onnx, the folder of a data set, or a "
            "data card of `sslmask audit`.",
        ),
    ] = "latest",
    license_id: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="<text>",
            rich_help_panel="Output",
            show_default="the card names none",
            help="An identifier that the Hugging Face Hub knows, such as mit, apache-2.0 or cc-by-4.0.",
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(
            metavar="<owner/name>",
            rich_help_panel="Output",
            show_default="nothing is uploaded",
            help="Upload the card, the weights, the configuration and the digests of what was seen to this model "
            "repository of the Hugging Face Hub. No photo and no path of this machine goes with them. Needs the extra "
            "`hub`.",
        ),
    ] = None,
    private: Annotated[
        bool,
        typer.Option(
            "--private/--public",
            metavar="",
            rich_help_panel="Output",
            help="Who may see what is pushed: only you and your organization, or everybody.",
        ),
    ] = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a Hugging Face model card of a run, a study or an exported network: model_card.md in its folder.

    Of a data set or a pool: data_cards/NAME/ with README.md (a dataset card), croissant.json and images.csv. A card
    that was edited by hand is kept.
    """
    with answering(as_json) as answer:
        settings = resolve(given.layers(quiet=quiet), has_gpu=lambda: False)
        from ssl_mask.reports.hub_card import refuse_unknown_license
        from ssl_mask.reports.hub_push import refuse_no_hub, refuse_odd_repository

        refuse_unknown_license(license_id)
        if push is not None:
            refuse_odd_repository(push)
            refuse_no_hub()
        with loading("the libraries of images and networks", quiet=quiet, as_json=as_json):
            from ssl_mask.workflows.card import make_card

        made = make_card(
            what,
            runs_folder=settings.runs,
            reading=settings.data,
            license_id=license_id,
            push=push,
            private=private,
            quiet=quiet,
        )
        answer({
            "card": str(made.path), "edited": made.kept, "others": [str(path) for path in made.others],
            "url": made.url or None,
        })  # fmt: skip


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
