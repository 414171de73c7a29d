"""`sslmask explore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import check_folder, check_page
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, Quiet, Text, command, page_file
from ssl_mask.cli.output import answering, loading
from ssl_mask.config import resolve

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
    out: Annotated[Path | None, page_file("explore.html")] = None,
    text: Text = False,
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
        path = out or Path("explore.html")
        check_page(out if text else path, text=text)
        with loading("the image libraries", quiet=quiet, as_json=as_json):
            check_folder(settings)
            from ssl_mask.console import Console
            from ssl_mask.errors import nothing_written
            from ssl_mask.reports.html.explore.exploration import in_short
            from ssl_mask.reports.html.explore.text import explore_text
            from ssl_mask.reports.terminal import show_page
            from ssl_mask.workflows import explore as workflow

        with nothing_written():
            found = workflow.gather(settings, Console(quiet=quiet, stderr=text), on_map=on_map)
        if text:
            show_page(explore_text(found))
            return
        made = workflow.write(found, settings.data, path)
        answer({"page": str(made.path), "bytes": made.size, "images": made.images,
                "in_short": [said for said, _ in in_short(found)]})  # fmt: skip
        if not quiet and not as_json:
            print(f"Saved {made.path} ({made.images} images, {made.size / 1e6:.1f} MB; open it in a browser)")
