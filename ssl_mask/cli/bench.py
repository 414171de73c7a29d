"""`sslmask bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, Quiet, command, tta_option
from ssl_mask.cli.output import answering, loading

if TYPE_CHECKING:
    from ssl_mask.workflows.bench import Bench

app = typer.Typer(add_completion=False)


@command(app, "sslmask bench train-001", "sslmask bench runs/train-001/export/model.onnx --photos 840")
@takes("runs", files=False)
def bench(
    given: Given,
    run: Annotated[
        str,
        typer.Argument(
            metavar="<run>",
            help="A run or a study: its name, its path, or `latest`; or a model.onnx of `sslmask export`.",
        ),
    ] = "latest",
    photos: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="<number>",
            rich_help_panel="Prediction",
            show_default="as many as the data set has test images",
            help="How many photos have to be predicted.",
        ),
    ] = None,
    tta: Annotated[bool, tta_option("With the mirrored view (a model.onnx has settled that).")] = False,
    seconds: Annotated[
        float,
        typer.Option(
            min=0.01, max=600, metavar="<number>", rich_help_panel="Prediction", help="Time of each measurement."
        ),
    ] = 2.0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how fast and how large a run, a study or an exported network is.

    Latency of one image and throughput of the best batch, with torch and with onnxruntime, by one thread and by all,
    and on a GPU where there is one; parameters, MACs, size and memory; and the time that the test set takes.
    """
    with answering(as_json) as answer:
        settings = given.alone()
        from ssl_mask.runs.find import is_exported
        from ssl_mask.runs.sources import find_source

        exported = is_exported(run)
        if not exported:
            find_source(run, settings.runs)
        with loading("onnxruntime" if exported else "torch, timm, onnx", quiet=quiet, as_json=as_json):
            from ssl_mask.workflows.bench import bench as run_bench

        done = run_bench(run, runs_folder=settings.runs, photos=photos, seconds=seconds, tta=tta, quiet=quiet)
        if not quiet and not as_json:
            show(done)
        answer(done.to_json())


def show(done: Bench) -> None:
    """The table, and in a sentence each what the photos take and what could not be measured."""
    from ssl_mask.console import Console
    from ssl_mask.reports.speed_table import speed_cells, speed_sentence
    from ssl_mask.reports.tables import terminal

    console = Console()
    size = f"{done.parameters / 1e6:.1f} M parameters, {done.macs / 1e6:.0f} M MACs, {done.bytes_on_disk / 1e6:.1f} MB"
    console.rich.print(terminal(speed_cells(done.speeds), f"{done.name}: {size}", words=2))
    console.say(speed_sentence(done.photos, done.seconds, done.read_ms, done.fastest))
    for line in done.skipped:
        console.warn(f"Not measured: {line}")
