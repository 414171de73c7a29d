"""`sslmask predict`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_mask.cli.early import check_folder_to_write
from ssl_mask.cli.flags import Given, takes
from ssl_mask.cli.options import Engine, EngineOption, Json, Quiet, check_engine, command, image_option
from ssl_mask.cli.output import answering, loading
from ssl_mask.errors import InputError

if TYPE_CHECKING:
    from ssl_mask.workflows.predict import Predictions
    from ssl_mask.workflows.predict_exported import ExportedPredictions

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
    tta: Annotated[
        bool,
        typer.Option(
            "--tta",
            metavar="",
            rich_help_panel="Prediction",
            help="Test-time augmentation: average over the plain and mirrored view.",
        ),
    ] = False,
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
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>",
            rich_help_panel="Output",
            show_default="a folder inside the run or the study",
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
    engine: EngineOption = Engine.local,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Predict images with a run, a study, or several of them, and write a submission.

    Writes predictions.csv (in the order and with the columns that the data set asks for), probabilities.parquet, and
    predictions.provenance.json, which says whether the images were seen in training.
    """
    with answering(as_json) as answer:
        settings, sources = given.alone(), run or ["latest"]
        if images is not None and "data.root" in given.flags:
            raise InputError("--images and --data both say what to predict.", hint="Name one of them.")
        options: dict[str, Any] = {
            "runs_folder": settings.runs, "images": images, "data": given.flags.get("data.root"), "tta": tta,
            "out": out, "batch_size": batch_size, "max_pixels": given.flags.get("data.max_pixels"), "quiet": quiet,
        }  # fmt: skip
        if engine == Engine.ray:
            refuse_beyond_networks("--engine ray", neighbours, unknown, None)
        if shard is not None:
            part = check_shard(shard, sources, on_bad, names=names, guard="guard.mode" in given.flags)
            refuse_beyond_networks("--shard", neighbours, unknown, sets)
        if any(source.endswith(".onnx") for source in sources):
            refuse_beyond_exported(sources, weights, neighbours, unknown, sets, shard, engine)
            check_folder_to_write(out or Path(sources[0]).parent, "--out")
            from ssl_mask.workflows.predict_exported import predict_exported

            del options["runs_folder"]
            predicted = predict_exported(
                sources[0],
                on_bad=on_bad.value,
                names=names,
                cache=settings.data.cache,
                guard=settings.guard.mode,
                **options,
            )
            answer(exported_answer(predicted))
            return
        check_weights(weights, sources)
        check_early(sources, settings.runs, images, out)
        with loading("torch, timm", quiet=quiet, as_json=as_json):
            options["engine"] = check_engine(engine)
            from ssl_mask.workflows.predict import predict as run_prediction
            from ssl_mask.workflows.predict_shard import predict_shards

        cache = settings.data.cache
        if shard is None:
            done = run_prediction(
                sources,
                weights=weights.value,
                neighbours=neighbours.value,
                unknown=unknown,
                sets=sets,
                on_bad=on_bad.value,
                names=names,
                cache=cache,
                guard=settings.guard.mode,
                **options,
            )
            answer(prediction_answer(done))
        else:
            numbers, count = part
            written = predict_shards(
                numbers,
                count,
                sources[0],
                on_bad="skip" if on_bad == OnBad.skip else "fail",
                cache="off" if cache == "auto" else cache,  # each image is read once
                **options,
            )
            answer({"path": str(written[0] if len(written) == 1 else written[0].parent), "leakage": "not-checked"})


def check_early(runs: list[str], folder: Path, images: str | None, out: Path | None) -> None:
    """Refuse what can be refused before anything heavy is imported.

    Raises:
        DataError: no such run, no such images. StorageError: nothing can be written there.
    """
    from ssl_mask.data.layouts import images as layout
    from ssl_mask.runs.sources import find_source

    found = [find_source(run, folder) for run in runs]
    if images is not None:
        layout.find_source(images, [Path.cwd()], flag="--images")
    check_folder_to_write(out or (found[0].path if len(found) == 1 else folder), "--out")


def check_weights(weights: Weights, runs: list[str]) -> None:
    """Raises InputError where there is nothing to weigh."""
    if weights == Weights.oof and len(runs) < 2:
        raise InputError(
            "--weights oof weighs several --run, but there is one.", hint="The runs of a study always count equally."
        )


def refuse_beyond_networks(flag: str, neighbours: Neighbours, unknown: float | None, sets: float | None) -> None:
    """Raises InputError where an option would be ignored, or needs more than the networks."""
    asked = {"neighbours": neighbours == Neighbours.auto, "unknown": unknown is not None, "sets": sets is not None}
    for name in (name for name, given in asked.items() if given):
        raise InputError(f"{flag} knows no --{name}.", hint="It is about what the networks say alone.")


def refuse_beyond_exported(
    runs: list[str], weights: Weights, neighbours: Neighbours, unknown: float | None, sets: float | None,
    shard: str | None, engine: Engine,
) -> None:  # fmt: skip
    """Raises InputError where an exported network cannot do what is asked."""
    if len(runs) > 1:
        raise InputError(
            f"{next(r for r in runs if r.endswith('.onnx'))} predicts alone, but there are {len(runs)} --run.",
            hint="Give one --run. To export several networks as one, export their study.",
        )
    asked = {"weights oof": weights == Weights.oof, "neighbours": neighbours == Neighbours.auto,
             "unknown": unknown is not None, "sets": sets is not None, "shard": shard is not None,
             "engine ray": engine == Engine.ray}  # fmt: skip
    for name in (name for name, given in asked.items() if given):
        raise InputError(
            f"{runs[0]} is an exported network, which knows no --{name}.",
            hint="Predict with the run that it was made from.",
        )


def check_shard(text: str, runs: list[str], on_bad: OnBad, *, names: bool, guard: bool) -> tuple[Sequence[int], int]:
    """`3/10` as ([3], 10): shard 3 of 10, from 0; `all/10`: each of them. Refuses options that a shard would ignore.

    Raises:
        InputError: no such shard; or several runs, `--on-bad fallback`, `--names` or `--guard`.
    """
    if len(runs) > 1:
        raise InputError("--shard takes one --run.", hint="Pseudo-labels are calibrated on one run's validation.")
    if on_bad == OnBad.fallback:
        raise InputError(
            "--shard knows no --on-bad fallback.", hint="An unreadable image gets no pseudo-label: use skip."
        )
    if names:
        raise InputError("--shard knows no --names.", hint="A shard always holds the names of the classes.")
    if guard:
        raise InputError(
            "--shard knows no --guard.",
            hint="A shard is not-checked; `sslmask pseudo --from-predictions` checks the images that it selects.",
        )
    match = re.fullmatch(r"([0-9]+|all)/([0-9]+)", text)
    first = 0 if match is None or match[1] == "all" else int(match[1])
    if match is None or not first < int(match[2]) < 100_000:
        raise InputError(
            f"--shard {text!r} is not a shard.", hint="Shards count from 0: 0/10, 1/10, … 9/10; or all/10."
        )
    return range(int(match[2])) if match[1] == "all" else [first], int(match[2])


def prediction_answer(done: Predictions) -> dict[str, Any]:
    """What `--json` says: where the predictions are, what could not be read, and how far scores on them count."""
    return {
        "path": str(done.path),
        "rows": len(done.manifest),
        "weights": done.weights and done.weights.to_json(),
        "neighbours": done.neighbours and [{f: r.to_json() for f, r in own.items()} for own in done.neighbours],
        "unknown": done.unknown and done.unknown.to_json(),
        "sets": done.sets and done.sets.to_json(),
        "unreadable": {done.manifest.rows[i].path: why for i, why in sorted(done.unreadable.items())},
        "leakage": done.leakage and done.leakage.status,
        "why": list(done.leakage.why) if done.leakage else [],
    }


def exported_answer(done: ExportedPredictions) -> dict[str, Any]:
    """The same of an exported network."""
    return {
        "path": str(done.path),
        "rows": len(done.manifest),
        "unreadable": {done.manifest.rows[i].path: why for i, why in sorted(done.unreadable.items())},
        "leakage": done.leakage.status,
        "why": list(done.leakage.why),
    }
