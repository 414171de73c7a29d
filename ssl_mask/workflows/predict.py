"""`sslmask predict`: load runs, average their probabilities over views and models, write them with their provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ssl_mask import devices
from ssl_mask.console import Console
from ssl_mask.data.checks import refuse_escapes
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.layouts.images import read_images
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import DataError, ImageError, ModelError
from ssl_mask.guard.provenance import SourceRun, provenance_of
from ssl_mask.inference.predictor import Member, load_member, member_probs, open_images, readable, with_digests_of
from ssl_mask.inference.submission import named, write_submission
from ssl_mask.runs.run import find_run

OnBad = Literal["fail", "skip", "fallback"]


@dataclass(frozen=True)
class Predictions:
    """Where the predictions are, and what they say."""

    path: Path
    """The submission CSV; `probabilities.parquet` and `predictions.provenance.json` stand beside it."""
    manifest: Manifest
    probs: NDArray[np.float32]
    """(n, joint classes), in the order asked; NaN where an image was skipped."""
    bad: dict[int, str]
    """Position of each unreadable image, and why."""


def predict(
    runs: Sequence[str | Path] = ("latest",),
    *,
    runs_folder: Path = Path("runs"),
    images: Path | None = None,
    data: Path | None = None,
    tta: bool = False,
    on_bad: OnBad = "fail",
    out: Path | None = None,
    batch_size: int = 64,
    workers: int | Literal["auto"] = "auto",
    cache: str = "auto",
    guard: Literal["on", "off"] = "on",
    quiet: bool = False,
) -> Predictions:
    """Predict a pool of images with one run or the average of several.

    Args:
        runs: names, paths or `latest`. Several: their calibrated probabilities are averaged.
        images: a folder, or a CSV whose first column names images. None: the data set's own test images.
        data: the data set's folder. None: the one the first run was trained on.
        tta: average over the plain and the mirrored view.
        on_bad: an unreadable image stops (`fail`), gets an empty answer (`skip`) or the commonest class (`fallback`).
        out: folder to write to. None: inside the run.
        guard: compare the images with all that the runs have seen; `off`: the predictions are `not-checked`.

    Raises:
        SslMaskError: no run, no images, an unreadable image, runs of different schemas, no room to write.
    """
    accelerator = devices.make_accelerator("auto")
    console = Console(quiet=quiet or not accelerator.is_main_process)
    members = [load_member(find_run(r, runs_folder), accelerator) for r in runs]
    _same_schema(members)
    first = members[0]
    manifest, pool_name = find_pool(first, images, data, console)
    folder = out or _default_folder(members, runs_folder, pool_name + ("-tta" if tta else ""))
    names = ", ".join(m.run.name for m in members)
    console.say(f"Predict {len(manifest)} images with {names}" + (", mirrored views averaged" if tta else ""))

    total = np.zeros((len(manifest), len(first.schema.joint_classes)), dtype=np.float64)
    bad: dict[int, str] = {}
    try:
        for member in members:
            opened = open_images(
                member, manifest, cache, tolerant=on_bad != "fail", accelerator=accelerator, console=console
            )
            manifest, good = with_digests_of(manifest, opened), readable(manifest, opened)
            bad = {i: opened.left_out[r.path] for i, r in enumerate(manifest.rows) if r.path in opened.left_out}
            if good:
                settled = devices.settle_workers(workers, accelerator) if cache == "off" else 0
                total[good] += member_probs(member, opened.images, accelerator, batch_size, settled, tta, console)
    except ImageError as error:
        hint = "Mend it, or go on without it: --on-bad skip (empty answer) or --on-bad fallback (commonest class)."
        raise ImageError(error.problem, hint=hint) from error
    probs = (total / len(members)).astype(np.float32)
    probs[list(bad)] = _stand_in(first, on_bad)

    path = folder / "predictions.csv"
    if accelerator.is_main_process:
        sources = [SourceRun(m.run, m.checkpoint.metadata) for m in members]
        stands = provenance_of(sources, manifest, console, mode=guard)
        write_submission(path, members, manifest, probs, bad, stands, tta=tta, on_bad=on_bad, pool=pool_name)
        _tell_bad(manifest, bad, on_bad, console)
        if stands.overlap:
            console.warn(f"{stands.why[0]}: a score on them does not measure new images.")
        console.say(f"Guard  {stands.sentence}")
        console.say(f"Saved  {path}  ({len(manifest)} rows)")
    accelerator.wait_for_everyone()
    return Predictions(path, manifest, probs, bad)


def _same_schema(members: Sequence[Member]) -> None:
    for other in members[1:]:
        if other.schema != members[0].schema:
            raise ModelError(
                f"{other.run.path} was trained for other classes than {members[0].run.path}.",
                hint="An ensemble needs runs of one label schema.",
            )


def find_pool(member: Member, images: Path | None, data: Path | None, console: Console) -> tuple[Manifest, str]:
    """The images to predict, in the order asked, and a short name for them.

    Raises:
        DataError: no such images.
    """
    config = member.run.config().data
    if images is not None:
        return read_images(images, member.schema, member.checkpoint.metadata.submission), images.stem or "images"
    root = data or config.root
    manifest = read_dataset(root, layout=config.layout, options=config.options).where("test")
    if config.outside_root == "refuse":
        refuse_escapes(manifest)
    if not len(manifest):
        raise DataError(f"{root} has no test images.", hint="Name what to predict: --images DIR or --images CSV")
    if manifest.schema != member.schema:
        raise ModelError(
            f"{member.run.path} was trained for other classes than those of {root}.",
            hint="Predict that data set with a run of its own, or give the photos alone: --images DIR",
        )
    console.say(f"Data   {manifest.message}, in {Path(root).absolute()}")
    return manifest, "test"


def _stand_in(member: Member, on_bad: OnBad) -> NDArray[np.float32]:
    """What an unreadable image gets: nothing, or the classes as common as in training."""
    prior = np.asarray(member.checkpoint.metadata.prior, dtype=np.float32)
    return prior / prior.sum() if on_bad == "fallback" else np.full_like(prior, np.nan)


def _default_folder(members: Sequence[Member], runs_folder: Path, pool: str) -> Path:
    if len(members) == 1:
        return members[0].run.predictions(pool)
    return runs_folder / "ensembles" / "+".join(m.run.name for m in members) / pool


def _tell_bad(manifest: Manifest, bad: dict[int, str], on_bad: str, console: Console) -> None:
    if bad:
        console.warn(f"{len(bad)} unreadable image(s), policy {on_bad}:")
        for path, reason in list(named(manifest, bad).items())[:20]:
            console.say(f"  {path}: {reason}")
