"""`sslmask predict`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Json, Quiet, command
from ssl_mask.cli.output import answering, loading
from ssl_mask.errors import InputError

if TYPE_CHECKING:
    from ssl_mask.workflows.predict import Predictions

app = typer.Typer(add_completion=False)


class OnBad(StrEnum):
    fail = "fail"
    skip = "skip"
    fallback = "fallback"


@command(app, "sslmask predict", "sslmask predict --run train-001 --run flat --tta --images photos")
@takes("data.root", "data.cache", "guard.mode", "runs", files=False, shown={"data.root": "the one of the run"})
def predict(
    given: Given,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            "-r",
            metavar="<run>",
            rich_help_panel="Data",
            show_default="latest",
            help="A run: its name, its path, or `latest`. Repeat the option for the mean of several (an ensemble).",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Data",
            show_default="the data set's test images",
            help="A folder of images, or a CSV whose first column names them.",
        ),
    ] = None,
    on_bad: Annotated[
        OnBad,
        typer.Option(
            rich_help_panel="Data",
            help="An image that cannot be read: `fail` stops, `skip` leaves its answer empty, `fallback` answers with "
            "the majority class.",
        ),
    ] = OnBad.fail,
    tta: Annotated[
        bool,
        typer.Option(
            "--tta",
            metavar="",
            rich_help_panel="Prediction",
            help="Test-time augmentation: average over the plain and mirrored view.",
        ),
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, rich_help_panel="Prediction", help="Images per batch.")] = 64,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="<i/N>",
            rich_help_panel="Prediction",
            help="Predict only part i of N, such as 0/10, for `sslmask pseudo --from-predictions`.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Output",
            show_default="a folder inside the run",
            help="Folder to write to.",
        ),
    ] = None,
    names: Annotated[
        bool,
        typer.Option(
            "--names",
            metavar="",
            rich_help_panel="Output",
            help="Add class names for people to a submission whose answers are numbers.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Predict images with one run or several, and write a submission.

    Writes predictions.csv (in the order and with the columns that the data set asks for), probabilities.parquet, and
    predictions.provenance.json, which says whether the images were seen in training.
    """
    with answering(as_json) as answer:
        sources, runs_folder, cache = run or ["latest"], given.value("runs"), given.value("data.cache")
        options = {
            "runs_folder": runs_folder, "images": images, "data": given.flags.get("data.root"), "tta": tta, "out": out,
            "batch_size": batch_size, "quiet": quiet,
        }  # fmt: skip
        check_early(sources, runs_folder, shard, on_bad)
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            from ssl_mask.inference.shards import parse_shard
            from ssl_mask.workflows.predict import predict as run_prediction
            from ssl_mask.workflows.predict_shard import predict_shard

        if shard is None:
            guard = given.value("guard.mode")
            done = run_prediction(sources, on_bad=on_bad.value, names=names, cache=cache, guard=guard, **options)
            answer(prediction_answer(done))
        else:
            stored = "off" if cache == "auto" else cache  # each image is read once
            written = predict_shard(
                parse_shard(shard),
                sources[0],
                on_bad="skip" if on_bad == OnBad.skip else "fail",
                cache=stored,
                **options,
            )
            answer({"path": str(written), "leakage": "not-checked"})


def check_early(runs: list[str], folder: Path, shard: str | None, on_bad: OnBad) -> None:
    """Refuse what can be refused before anything heavy is imported.

    Raises:
        DataError: no such run. InputError: several runs or `--on-bad fallback` with a shard.
    """
    from ssl_mask.runs.run import find_run

    if shard is not None and len(runs) > 1:
        raise InputError("--shard takes one --run.", hint="Pseudo-labels are calibrated on one run's validation.")
    if shard is not None and on_bad == OnBad.fallback:
        raise InputError(
            "--shard knows no --on-bad fallback.", hint="An unreadable image gets no pseudo-label: use skip."
        )
    for run in runs:
        find_run(run, folder)


def prediction_answer(done: Predictions) -> dict[str, Any]:
    """What `--json` says: where the predictions are, what could not be read, and how far scores on them count."""
    return {
        "path": str(done.path),
        "rows": len(done.manifest),
        "unreadable": {done.manifest.rows[i].path: why for i, why in sorted(done.unreadable.items())},
        "leakage": done.leakage and done.leakage.status,
        "why": list(done.leakage.why) if done.leakage else [],
    }
