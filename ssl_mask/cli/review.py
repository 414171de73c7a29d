"""`sslmask review`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_mask.cli.early import check_page
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Full, Json, RunName, Text, command, page_file
from ssl_mask.cli.output import answering

app = typer.Typer(add_completion=False)


@command(
    app,
    "sslmask review study-001",
    "sslmask review study-001 --corrections corrections.csv",
    "sslmask review --text",
)
@takes("data.root", "runs", files=False, shown={"data.root": "where it was trained"})
def review(
    given: Given,
    run: RunName = "latest",
    corrections: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>", rich_help_panel="Data", show_default="what the run was trained with",
            help="An older corrections.csv to go on with.",
        ),
    ] = None,
    cleanlab: Annotated[
        bool,
        typer.Option(
            "--cleanlab", metavar="", rich_help_panel="Data",
            help="Also show what cleanlab thinks of each image alone. Needs the extra `clean`.",
        ),
    ] = False,
    out: Annotated[Path | None, page_file("review.html in the folder of the run")] = None,
    full: Full = False,
    text: Text = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Review the labels that are probably wrong, on one HTML page that is worked by keyboard.

    Labels are ranked by confident learning on predictions of images that the model has not seen; a label that all
    images of a group share is judged once. On the page: k keeps a label, c or a number changes it, x excludes, u is
    unsure, z undoes. It saves corrections.csv for `--set data.corrections=corrections.csv`; your files stay as they
    are. A study of folds (sslmask train --folds 5) reviews all labels, a single run those of its validation images.
    """
    with answering(as_json) as answer:
        from ssl_mask.runs.sources import find_source

        folder = given.alone().runs
        check_page(out, text=text, full=full)
        source = find_source(run, folder)

        from ssl_mask.reports.html.review.text import review_text
        from ssl_mask.reports.terminal import show_page
        from ssl_mask.workflows import review as workflow

        data = given.flags.get("data.root")
        found = workflow.gather(source.path, corrections=corrections, data=data, cleanlab=cleanlab)
        if text:
            show_page(review_text(found))
            return
        made = workflow.write(found, full=full, out=out)
        answer({"review": str(made.path), "bytes": made.size, "images": made.images, "labels": len(found.questions)})
        if not as_json:
            size = made.size / 1e6
            print(f"Saved {made.path} ({len(found.questions)} labels to look at, {size:.1f} MB; open it in a browser)")
