"""`sslmask report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_mask.cli.early import check_file_to_write
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, command
from ssl_mask.cli.output import answering
from ssl_mask.errors import ConfigError

if TYPE_CHECKING:
    from ssl_mask.reports.html.report import Report

app = typer.Typer(add_completion=False)


@command(
    app,
    "sslmask report",
    "sslmask report study-001 --compare study-002",
    "sslmask report train-001 --text",
)
@takes("data.root", "runs", files=False, shown={"data.root": "where it was trained"})
def report(
    given: Given,
    run: Annotated[
        str, typer.Argument(metavar="<run>", help="A run or a study: its name, its path, or `latest`.")
    ] = "latest",
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<run>",
            rich_help_panel="Data",
            help="Another run or study that has predicted the same images: the paired difference, and the images that "
            "changed sides. May be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Output",
            show_default="report.html in the folder of the run",
            help="The HTML file to write.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option("--full", metavar="", rich_help_panel="Output", help="Let each small image link to its file."),
    ] = False,
    text: Annotated[
        bool,
        typer.Option(
            "--text", metavar="", rich_help_panel="Output", help="Print the same facts in short. Writes nothing."
        ),
    ] = False,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", metavar="", rich_help_panel="Output",
            help="Also show the page to browsers on this machine (127.0.0.1) until Ctrl-C.",
        ),
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            metavar="<number>", min=0, max=65535, rich_help_panel="Output", show_default="one that is free",
            help="With --serve: the port.",
        ),
    ] = 0,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Show a run or a study: scores, mistakes, doubtful labels and leakage, with images, as one HTML page.

    The page is one file that opens from disk: no server, no network. It shows how good the predictions are and what
    they are worth, what is confused with what (choose a cell to see its images), the worst images by group, labels
    that look wrong, calibration, what accuracy depends on, pseudo-labels, and what to do next.
    """
    with answering(as_json) as answer:
        from ssl_mask.runs.sources import find_source

        folder = given.alone().runs
        if text and (serve or out is not None or full):
            raise ConfigError("--text writes no page.", hint="Leave out --out, --full and --serve, or --text.")
        if out is not None:
            check_file_to_write(out, "--out")
        source, others = find_source(run, folder), [find_source(name, folder).path for name in compare or ()]
        data = given.flags.get("data.root")

        from ssl_mask.workflows import report as workflow

        found = workflow.gather(source.path, compare=others, data=data)
        if text:
            _print_text(found)
            return
        made = workflow.write(found, full=full, out=out)
        score = found.looks and found.looks.scores["macro_f1"]
        answer({"report": str(made.path), "bytes": len(made.page.encode()), "images": made.images,
                "gone": made.gone, "macro_f1": score and score._asdict()})  # fmt: skip
        if not as_json:
            size = len(made.page.encode()) / 1e6
            print(f"Saved {made.path} ({made.images} images, {size:.1f} MB; open it in a browser)")
        if serve:
            _serve(made.page, port)


def _print_text(found: Report) -> None:
    from rich.console import Console

    from ssl_mask.reports.html.report_text import report_text
    from ssl_mask.reports.terminal import print_page

    words = report_text(found)
    if sys.stdout.isatty():
        print_page(words, Console())
    else:
        print(words, end="")


def _serve(page: str, port: int) -> None:
    from ssl_mask.reports.html.serve import serve

    serve(page, port, lambda address: print(f"Serving {address} until Ctrl-C", flush=True))
