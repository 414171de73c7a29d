"""`sslmask predict`: load runs, average their probabilities over views and models, write them with their provenance."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ssl_mask import cluster, devices
from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import InputError, nothing_written
from ssl_mask.guard.provenance import Provenance, provenance_of
from ssl_mask.inference.class_sets import ClassSets, class_sets
from ssl_mask.inference.ensemble import Ensemble, oof_weights
from ssl_mask.inference.inputs import rows_to_predict
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.neighbour_predictor import choose_neighbours
from ssl_mask.inference.predictor import Compute
from ssl_mask.inference.shared_out import FOLDER, shared_out
from ssl_mask.inference.submission import ensemble_record, refuse_foreign, write_submission
from ssl_mask.inference.unknown_marks import Unknown, mark_unknown
from ssl_mask.inference.unreadable import OnBad, tell_predicted, with_fallback
from ssl_mask.runs.predicted import ChosenWeights, NeighboursRecord
from ssl_mask.runs.sources import Source, find_source


@dataclass(frozen=True)
class Predictions:
    """What runs say of images, and where it was written."""

    manifest: Manifest
    """The images in the order asked, with digests."""
    probs: NDArray[np.float32]
    """(n, joint classes); NaN where an image was skipped."""
    unreadable: Mapping[int, str]
    """Position of each unreadable image, and why."""
    leakage: Provenance | None
    """Whether the runs have seen these images, and how far a score can be trusted; None but on the first process."""
    weights: ChosenWeights | None
    """Where they were chosen: what each source counts, what that is worth, and whether it was kept."""
    neighbours: tuple[Mapping[str, NeighboursRecord], ...] | None
    """Where they were asked for: of each source, what was chosen for each factor, and whether it was kept."""
    unknown: Unknown | None
    """Where it was asked for: how strange each image is, and which are marked."""
    sets: ClassSets | None
    """Where they were asked for: of each factor, the classes that may be the true one."""
    path: Path | None
    """The submission CSV, beside `probabilities.parquet`, `predictions.provenance.json`, and where they were asked for
    `unknown.csv` and `sets.csv`; None: not written."""


def predict(
    runs: Sequence[str | Path] = ("latest",),
    *,
    runs_folder: str | Path = "runs",
    images: str | Path | None = None,
    data: str | Path | None = None,
    weights: Literal["equal", "oof"] = "equal",
    neighbours: Literal["off", "auto"] = "off",
    unknown: float | None = None,
    sets: float | None = None,
    tta: bool = False,
    on_bad: OnBad = "fail",
    write: bool = True,
    out: str | Path | None = None,
    names: bool = False,
    batch_size: int = 64,
    workers: int | Literal["auto"] = "auto",
    cache: str = "auto",
    max_pixels: int | None = None,
    guard: Literal["on", "off"] = "on",
    engine: cluster.Engine = "local",
    quiet: bool = False,
) -> Predictions:
    """Predict a pool of images with a run, with a study (the mean of its runs), or with several of them.

    Args:
        runs: names, paths or `latest`. Several: the mean of their calibrated probabilities; each run and each study
            counts equally, and within a study its runs.
        weights: `equal`, or `oof`: what each of several counts is chosen on their validation or out-of-fold
            predictions, and kept where it is better than the plain mean beyond the interval.
        neighbours: `auto`: the training images of each run that are nearest to an image vote beside its network, each
            person (group) once; how is chosen for each factor on validation or out-of-fold images, and kept where it is
            better than the network alone beyond the interval.
        unknown: a rate, such as 0.05: images that are stranger than 95 of 100 images of known classes are marked. The
            score is the one that tells classes best which are left out in turn.
        sets: a coverage, such as 0.9: of each factor, the classes that hold the truth in 90 of 100 images.
        images: a folder, an image, a glob, or a CSV with an image column. None: the data set's own test images.
        data: the data set's folder. None: the one the first run was trained on.
        tta: average over the plain and the mirrored view.
        on_bad: an unreadable image stops (`fail`), gets an empty answer (`skip`) or the majority class (`fallback`).
        write: False writes no file and only returns the predictions.
        out: folder to write to. None: inside the run or the study.
        names: add class names for people to a submission whose answers are numbers.
        max_pixels: an image with more pixels is refused before it is decoded. None: as each run was configured.
        guard: compare the images with all that the runs have seen; `off`: the predictions are `not-checked`.
        engine: `ray`: the processes of a cluster, or of a local Ray, predict and compare; the same bytes.

    Raises:
        SslMaskError: no run, no images, an unreadable image, runs of different schemas, no room to write.

    Examples:
        >>> from pathlib import Path
        >>> import ssl_mask
        >>> predictions = ssl_mask.predict(["first"], images=Path("faces/extra"), write=False, quiet=True)
        >>> predictions.probs.shape == (len(predictions.manifest), 18)
        True
        >>> predictions = ssl_mask.predict(["first"], unknown=0.05, sets=0.9, write=False, quiet=True)
        >>> predictions.sets.held["mask"].shape == (len(predictions.manifest), 3)
        True
        >>> bool((predictions.unknown.marked["unknown"] == (predictions.unknown.p["unknown"] <= 0.05)).all())
        True
        >>> predictions = ssl_mask.predict(["first"], quiet=True)  # the data set's own test images, as a submission
        >>> predictions.path.name
        'predictions.csv'
    """
    if out is not None and not write:
        raise InputError("`out` names a folder, but write=False writes nothing.", hint="Leave one of them out.")
    refuse_no_share(unknown, "--unknown", "0.05 marks 5 of 100 images of known classes.")
    refuse_no_share(sets, "--sets", "0.9 holds the true class in 90 of 100 images.")
    if engine == "ray" and (neighbours == "auto" or unknown is not None):
        raise InputError("--engine ray cannot be used with --neighbours or --unknown.", hint="Leave out --engine ray.")
    accelerator = devices.make_accelerator("auto")
    console = Console(quiet=quiet or not accelerator.is_main_process)

    with nothing_written("the submission" if engine == "ray" else ""), cluster.engine(engine):
        found = tuple(find_source(r, Path(runs_folder)) for r in runs)
        compute = Compute(accelerator, console, batch_size, workers)
        chosen = oof_weights(found, console) if weights == "oof" else None
        voting = tuple(choose_neighbours(s, compute, console, cache=cache) for s in found if neighbours == "auto")
        ensemble = Ensemble(found, chosen, voting or None)
        once = "off" if engine == "ray" and cache == "auto" else cache  # other machines' caches would only fill up
        load = partial(
            load_predictor, found, weights=ensemble.shares, cache=once, max_pixels=max_pixels,
            neighbours=ensemble.votings,
        )  # fmt: skip
        predictor = load(compute)
        rows, pool = rows_to_predict(predictor, images, data, console)
        asked = {"tta": tta, "weights": weights == "oof", "neighbours": neighbours == "auto"}
        asked |= {"unknown": unknown is not None, "sets": sets is not None}
        views = "-".join([pool, *(name for name, given in asked.items() if given)])
        path = (Path(out) if out is not None else default_folder(found, Path(runs_folder), views)) / "predictions.csv"
        if write:
            refuse_foreign(path)

        console.say(
            f"Predict {len(rows)} images with {told_sources(found)}" + (", mirrored views averaged" if tta else "")
        )
        parts = path.parent / FOLDER
        by = shared_out(predictor, load, compute, parts if write else None)
        predicted = with_fallback(lambda how: by.probs(rows, tta=tta, on_bad=how), predictor.prior, on_bad)
        judging: dict[str, Any] = {"shares": ensemble.shares, "cache": cache, "max_pixels": max_pixels}
        marks = None if unknown is None else mark_unknown(found, predicted, compute, console, rate=unknown, **judging)
        held = None if sets is None else class_sets(
            found, predicted, compute, console, coverage=sets, votings=ensemble.votings, tta=tta, **judging
        )  # fmt: skip
        leakage = None
        if accelerator.is_main_process:
            leakage = provenance_of(
                ensemble.checked_sources, predicted.manifest, console, mode=guard, max_pixels=max_pixels
            )

    if leakage is not None:
        if write:
            write_submission(
                path, ensemble_record(ensemble, marks, held), predicted, leakage, tta=tta, on_bad=on_bad, pool=pool,
                names=names, max_pixels=max_pixels, unknown=marks, sets=held,
            )  # fmt: skip
            shutil.rmtree(parts, ignore_errors=True)  # also those of a command that was stopped, on a cluster
        tell_predicted(predicted, leakage, on_bad, path if write else None, console)
    accelerator.wait_for_everyone()
    return Predictions(
        predicted.manifest,
        predicted.probs,
        predicted.unreadable,
        leakage,
        ensemble.chosen,
        ensemble.neighbour_records,
        marks,
        held,
        path if write else None,
    )


def refuse_no_share(given: float | None, flag: str, example: str) -> None:
    """Raises InputError where a number is not between 0 and 1."""
    if given is not None and not 0 < given < 1:
        raise InputError(f"{flag} {given:g} is not between 0 and 1.", hint=f"Give a share: {flag} {example}")


def default_folder(sources: Sequence[Source], runs_folder: Path, pool: str) -> Path:
    """Where predictions go: into the run or the study; of several below `ensembles/`, named after all of them."""
    if len(sources) == 1:
        return sources[0].predictions(pool)
    home = runs_folder.absolute()
    paths = [source.path.absolute() for source in sources]
    names = [p.relative_to(home).parts if p.is_relative_to(home) else (p.name,) for p in paths]
    return runs_folder / "ensembles" / "+".join("-".join(parts) for parts in names) / pool


def told_sources(sources: Sequence[Source]) -> str:
    """Names for people, such as `study-001 (5 runs), flat`."""
    counts = [f" ({len(s.members)} runs)" if s.kind not in {"run", "gallery"} else "" for s in sources]
    return ", ".join(source.name + count for source, count in zip(sources, counts, strict=True))
