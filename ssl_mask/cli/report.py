"""`sslmask report`."""

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
    "sslmask report",
    "sslmask report study-001 --compare study-002",
    "sslmask report train-001 --text",
    "sslmask report study-001 --explain",
)
@takes("data.root", "runs", files=False, shown={"data.root": "where it was trained"})
def report(
    given: Given,
    run: RunName = "latest",
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<run>",
            rich_help_panel="Data",
            help="Another run or study that has predicted the same images: the paired difference, and the images that "
            "changed sides. May be repeated.",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", metavar="", rich_help_panel="Data",
            help="Also show where the network looked in the worst images (Grad-CAM): of each image a model that was "
            "not trained on it. Takes a while; needs the extra `explain`.",
        ),
    ] = False,
    out: Annotated[Path | None, page_file("report.html in the folder of the run")] = None,
    full: Full = False,
    text: Text = False,
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
        check_page(out, text=text, full=full, serve=serve, explain=explain)
        source, others = find_source(run, folder), [find_source(name, folder).path for name in compare or ()]
        data = given.flags.get("data.root")

        from ssl_mask.console import Console
        from ssl_mask.reports.html.report.text import report_text
        from ssl_mask.reports.terminal import show_page
        from ssl_mask.workflows import report as workflow

        found = workflow.gather(
            source.path, compare=others, data=data, explain=explain, console=Console(quiet=as_json)
        )  # fmt: skip
        if text:
            show_page(report_text(found))
            return
        made = workflow.write(found, full=full, out=out)
        score = found.looks and found.looks.scores["macro_f1"]
        answer({"report": str(made.path), "bytes": made.size, "images": made.images,
                "gone": made.gone, "macro_f1": score and score._asdict()})  # fmt: skip
        if not as_json:
            print(f"Saved {made.path} ({made.images} images, {made.size / 1e6:.1f} MB; open it in a browser)")
        if serve:
            _serve(made.page, port)


def _serve(page: str, port: int) -> None:
    from ssl_mask.reports.html.serve import serve

    serve(page, port, lambda address: print(f"Serving {address} until Ctrl-C", flush=True))
