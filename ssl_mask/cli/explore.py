"""`sslmask explore`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_mask.cli.early import check_file_to_write, check_folder
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, Quiet, command
from ssl_mask.cli.output import answering, loading
from ssl_mask.config import resolve
from ssl_mask.errors import ConfigError

if TYPE_CHECKING:
    from ssl_mask.reports.html.explore.exploration import Exploration

app = typer.Typer(add_completion=False)


@command(app, "sslmask explore", "sslmask explore --data faces --unlabeled extra --text")
@takes("data.root", "data.unlabeled")
def explore(
    given: Given,
    on_map: Annotated[
        int,
        typer.Option(
            "--on-map", metavar="<number>", min=0, max=20_000, rich_help_panel="Data",
            help="Images that a network looks at, for the map and to compare pools; of more a random sample. 0: leave "
            "both out, which is faster.",
        ),
    ] = 4000,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>", rich_help_panel="Output", show_default="explore.html", help="The HTML file to write."
        ),
    ] = None,
    text: Annotated[
        bool,
        typer.Option(
            "--text", metavar="", rich_help_panel="Output", help="Print the same facts in short. Writes no page."
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Show a data set before training: classes, groups, copies, unusual images and a map, as one HTML page.

    The page is one file that opens from disk: no server, no network. It shows how many images and groups each class
    has, copies and labels that contradict each other, dark, blurred and small images, whether test and unlabeled images
    differ from the labeled ones, a map of all of them, a contact sheet of each class, and what to do next.
    """
    with answering(as_json) as answer:
        settings = resolve(given.layers(quiet=quiet or as_json), has_gpu=lambda: False)
        if text and out is not None:
            raise ConfigError("--text writes no page.", hint="Leave out --out, or --text.")
        path = out or Path("explore.html")
        if not text:
            check_file_to_write(path, "--out")
        with loading("the image libraries", quiet=quiet, as_json=as_json):
            check_folder(settings)
            from ssl_mask.console import Console
            from ssl_mask.errors import nothing_written
            from ssl_mask.reports.html.explore.exploration import in_short
            from ssl_mask.workflows import explore as workflow

        with nothing_written():
            found = workflow.gather(settings, Console(quiet=quiet, stderr=text), on_map=on_map)
        if text:
            _print_text(found)
            return
        made = workflow.write(found, settings.data, path)
        answer({"page": str(made.path), "bytes": len(made.page.encode()), "images": made.images,
                "in_short": [said for said, _ in in_short(found)]})  # fmt: skip
        if not quiet and not as_json:
            size = len(made.page.encode()) / 1e6
            print(f"Saved {made.path} ({made.images} images, {size:.1f} MB; open it in a browser)")


def _print_text(found: Exploration) -> None:
    from rich.console import Console

    from ssl_mask.reports.html.explore.text import explore_text
    from ssl_mask.reports.terminal import print_page

    words = explore_text(found)
    if sys.stdout.isatty():
        print_page(words, Console())
    else:
        print(words, end="")
