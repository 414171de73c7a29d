"""`sslmask predict`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ssl_mask.cli.options import GuardMode, Quiet, RunsFolder


class OnBad(StrEnum):
    fail = "fail"
    skip = "skip"
    fallback = "fallback"


def predict(
    run: Annotated[
        list[str] | None,
        typer.Option("--run", "-r", help="A run's name or path. Repeat for an ensemble. [default: latest]"),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder or a CSV of images. [default: the data set's own test images]")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The data set's folder. [default: the run's]")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to. [default: inside the run]")] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average over the plain and the mirrored view.")] = False,
    on_bad: Annotated[
        OnBad,
        typer.Option(
            help="An unreadable image: stop, leave its answer empty (skip), or give the commonest class (fallback)."
        ),
    ] = OnBad.fail,
    runs: RunsFolder = Path("runs"),
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    cache: Annotated[str, typer.Option(help="Decoded images: auto, off, or a folder.")] = "auto",
    shard: Annotated[
        str | None, typer.Option(help="Only part i of N, such as 0/10, as Parquet for `pseudo --from-predictions`.")
    ] = None,
    guard: GuardMode = None,
    quiet: Quiet = False,
) -> None:
    """Predict images: the submission CSV, probabilities, and where they come from."""
    if shard is not None:
        predict_part(shard, run or ["latest"], on_bad.value, cache, runs_folder=runs, images=images, data=data, tta=tta,
                     out=out, batch_size=batch_size, quiet=quiet)  # fmt: skip
        return
    from ssl_mask.workflows.predict import predict as run_prediction

    run_prediction(
        run or ["latest"], runs_folder=runs, images=images, data=data, tta=tta, on_bad=on_bad.value, out=out,
        batch_size=batch_size, cache=cache, guard="off" if guard == "off" else "on", quiet=quiet,
    )  # fmt: skip


def predict_part(shard: str, run: list[str], on_bad: str, cache: str, **options: Any) -> None:
    """A shard of one run's predictions.

    Raises:
        InputError: not a shard, several runs, or `--on-bad fallback`.
    """
    from ssl_mask.errors import InputError
    from ssl_mask.inference.shards import parse_shard, predict_shard

    if len(run) > 1:
        raise InputError("--shard takes one --run.", hint="Pseudo-labels are calibrated on one run's validation.")
    if on_bad == "fallback":
        raise InputError(
            "--shard knows no --on-bad fallback.", hint="An unreadable image gets no pseudo-label: use skip."
        )
    predict_shard(
        parse_shard(shard), run[0], on_bad="skip" if on_bad == "skip" else "fail",
        cache="off" if cache == "auto" else cache, **options,
    )  # fmt: skip
