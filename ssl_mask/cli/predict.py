"""`sslmask predict`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ssl_mask.cli.early import check_folder_to_write
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import (
    Engine,
    EngineOption,
    Json,
    Quiet,
    check_engine,
    command,
    image_option,
    out_option,
    tta_option,
)
from ssl_mask.cli.output import answering, loading
from ssl_mask.cli.predict_answers import answer_of, prediction_answer
from ssl_mask.cli.predict_checks import check_sources, parse_shard, refuse_excluded
from ssl_mask.errors import InputError

app = typer.Typer(add_completion=False)


class OnBad(StrEnum):
    fail = "fail"
    skip = "skip"
    fallback = "fallback"


class Weights(StrEnum):
    equal = "equal"
    oof = "oof"


class Neighbours(StrEnum):
    off = "off"
    auto = "auto"


@command(app, "sslmask predict", "sslmask predict --run train-001 --run flat --tta --images photos")
@takes(
    "data.root", "data.cache", "data.max_pixels", "guard.mode", "runs",
    files=False, shown={"data.root": "the one of the run", "data.max_pixels": "that of the run"},
)  # fmt: skip
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
            help="A run, a study (the mean of its runs) or a gallery: its name, its path, or `latest`. Repeat the "
            "option for the mean of several (an ensemble); each counts equally. Or one model.onnx of `sslmask export`.",
        ),
    ] = None,
    weights: Annotated[
        Weights,
        typer.Option(
            rich_help_panel="Prediction",
            help="What each of several --run counts: `equal`, or `oof`: chosen on their out-of-fold or validation "
            "predictions, and kept where it is better than the plain mean beyond the 95 % interval.",
        ),
    ] = Weights.equal,
    neighbours: Annotated[
        Neighbours,
        typer.Option(
            rich_help_panel="Prediction",
            help="`auto`: the nearest training images vote beside the network, each person (group) once. How is "
            "chosen for each factor on images that the run was not trained on, and kept where it is better than the "
            "network alone beyond the 95 % interval.",
        ),
    ] = Neighbours.off,
    unknown: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="<rate>",
            rich_help_panel="Prediction",
            help="Mark images that are of no known class, in unknown.csv: those that are stranger than all but this "
            "share (such as 0.05) of images of known classes. By the score that tells left-out classes best.",
        ),
    ] = None,
    sets: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="<coverage>",
            rich_help_panel="Prediction",
            help="Write the classes of each factor that hold the true one in this share of images (such as 0.9), to "
            "sets.csv. Calibrated by person (group) on out-of-fold or validation images.",
        ),
    ] = None,
    images: Annotated[str | None, image_option("the data set's test images")] = None,
    on_bad: Annotated[
        OnBad,
        typer.Option(
            rich_help_panel="Data",
            help="An image that cannot be read: `fail` stops, `skip` leaves its answer empty, `fallback` answers with "
            "the majority class.",
        ),
    ] = OnBad.fail,
    tta: Annotated[bool, tta_option("Test-time augmentation: average over the plain and mirrored view.")] = False,
    batch_size: Annotated[
        int, typer.Option(min=1, max=65_536, rich_help_panel="Prediction", help="Images per batch.")
    ] = 64,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="<i/N>",
            rich_help_panel="Prediction",
            help="Predict only part i of N, such as 0/10, for `sslmask pseudo --from-predictions`; all/10: each of the "
            "ten parts, as a file of its own.",
        ),
    ] = None,
    out: Annotated[Path | None, out_option("a folder inside the run or the study", "Folder to write to.")] = None,
    names: Annotated[
        bool,
        typer.Option(
            "--names",
            metavar="",
            rich_help_panel="Output",
            help="Add class names for people to a submission whose answers are numbers.",
        ),
    ] = False,
    engine: EngineOption = Engine.local,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Predict images with a run, a study, or several of them, and write a submission.

    Writes predictions.csv (in the order and with the columns that the data set asks for), probabilities.parquet, and
    predictions.provenance.json, which says whether the images were seen in training.
    """
    with answering(as_json) as answer:
        from ssl_mask.runs.find import is_exported

        settings, sources = given.alone(), run or ["latest"]
        if images is not None and "data.root" in given.flags:
            raise InputError("--images and --data both say what to predict.", hint="Name one of them.")
        asked = {
            "--weights oof": weights == Weights.oof, "--neighbours": neighbours == Neighbours.auto,
            "--unknown": unknown is not None, "--sets": sets is not None, "--shard": shard is not None,
            "--engine ray": engine == Engine.ray, "--on-bad fallback": on_bad == OnBad.fallback, "--names": names,
            "--guard": "guard.mode" in given.flags,
        }  # fmt: skip
        refuse_excluded(asked, sources)
        common: dict[str, Any] = {
            "images": images, "data": given.flags.get("data.root"), "tta": tta, "out": out, "batch_size": batch_size,
            "max_pixels": given.flags.get("data.max_pixels"), "quiet": quiet,
        }  # fmt: skip
        whole = {**common, "on_bad": on_bad.value, "names": names, "cache": settings.data.cache,
                 "guard": settings.guard.mode}  # fmt: skip
        if is_exported(sources[0]):
            check_folder_to_write(out or Path(sources[0]).parent, "--out")
            from ssl_mask.workflows.predict_exported import predict_exported

            answer(answer_of(predict_exported(sources[0], **whole)))
            return
        numbers, count = parse_shard(shard) if shard is not None else ((), 0)
        check_sources(sources, settings.runs, images, out)
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            executor = check_engine(engine)
            from ssl_mask.workflows.predict import predict as run_prediction
            from ssl_mask.workflows.predict_shard import predict_shards

        if shard is None:
            done = run_prediction(
                sources, runs_folder=settings.runs, weights=weights.value, neighbours=neighbours.value,
                unknown=unknown, sets=sets, engine=executor, **whole,
            )  # fmt: skip
            answer(prediction_answer(done))
        else:
            cache = settings.data.cache
            written = predict_shards(
                numbers, count, sources[0], runs_folder=settings.runs, engine=executor,
                on_bad="skip" if on_bad == OnBad.skip else "fail",  # fallback is refused
                cache="off" if cache == "auto" else cache,  # each image is read once
                **common,
            )  # fmt: skip
            answer({"path": str(written[0] if len(written) == 1 else written[0].parent), "leakage": "not-checked"})
