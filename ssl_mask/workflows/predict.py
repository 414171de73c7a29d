"""`sslmask predict`: load runs, average their probabilities over views and models, write them with their provenance."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from ssl_mask import environment
from ssl_mask.data.adapters import read_dataset
from ssl_mask.data.adapters.images import read_images
from ssl_mask.data.cache import ImageSource
from ssl_mask.data.checks import refuse_escapes
from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.pool import Pool, open_pool
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError, ImageError, ModelError
from ssl_mask.files import write_json, write_text
from ssl_mask.models.classifier import Classifier, build_classifier
from ssl_mask.reports.console import Console
from ssl_mask.reports.tables import predicted_class, write_probabilities
from ssl_mask.runs import RunDir, find_run
from ssl_mask.sections import DataConfig, ModelConfig
from ssl_mask.training.checkpoints import Checkpoint, load_checkpoint
from ssl_mask.training.evaluation import mean_probs, predict_logits
from ssl_mask.workflows import setup

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


@dataclass(frozen=True)
class Member:
    """One trained run, ready to predict."""

    run: RunDir
    checkpoint: Checkpoint
    model: Classifier
    size: int
    schema: LabelSchema

    @property
    def resize(self) -> str:
        return str(self.checkpoint.about["resize"])


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

    Raises:
        SslMaskError: no run, no images, an unreadable image, runs of different schemas, no room to write.
    """
    accelerator = setup.make_accelerator("auto")
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
            pool = _open(member, manifest, cache, tolerant=on_bad != "fail", accelerator=accelerator, console=console)
            manifest, bad = pool.manifest, pool.bad
            if pool.good:
                settled = setup.settle_workers(workers, accelerator) if cache == "off" else 0
                total[pool.good] += _member_probs(member, pool.images, accelerator, batch_size, settled, tta, console)
    except ImageError as error:
        hint = "Mend it, or go on without it: --on-bad skip (empty answer) or --on-bad fallback (commonest class)."
        raise ImageError(error.problem, hint=hint) from error
    probs = (total / len(members)).astype(np.float32)
    probs[list(bad)] = _stand_in(first, on_bad)

    path = folder / "predictions.csv"
    if accelerator.is_main_process:
        write_predictions(path, members, manifest, probs, bad, tta=tta, on_bad=on_bad, pool=pool_name)
        _tell_bad(manifest, bad, on_bad, console)
        console.say(f"Saved  {path}  ({len(manifest)} rows; leakage: not-checked)")
    accelerator.wait_for_everyone()
    return Predictions(path, manifest, probs, bad)


def load_member(run: RunDir, accelerator: Accelerator) -> Member:
    """A run's best weights in a classifier on the right device.

    Raises:
        ModelError: no checkpoint, or a damaged one.
    """
    checkpoint = load_checkpoint(run.best)
    about = checkpoint.about
    schema = LabelSchema.from_json(about["schema"])
    settings = ModelConfig.model_validate(about["model"]).model_dump(exclude={"sync_norm"})
    settings |= {"weights": "none", "image_size": about["image_size"]}
    model, size = build_classifier(schema.heads(about["target"]), **settings)
    _load_weights(model, checkpoint, run.best)
    return Member(run, checkpoint, model.to(accelerator.device).eval(), size, schema)


def load_schema(run: RunDir) -> LabelSchema:
    """The label schema that a run was trained for."""
    return LabelSchema.from_json(load_checkpoint(run.best).about["schema"])


def _load_weights(model: Classifier, checkpoint: Checkpoint, where: Path) -> None:
    try:
        model.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise ModelError(f"{where} does not fit its own description: {str(error).splitlines()[0]}") from error


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
    about = member.checkpoint.about
    if images is not None:
        stored = about["submission"]
        submission = Submission(stored["id_column"], tuple(stored["answer_columns"]), stored["answers"])
        return read_images(images, member.schema, submission), images.stem or "images"
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


def _open(
    member: Member, manifest: Manifest, cache: str, *, tolerant: bool, accelerator: Accelerator, console: Console
) -> Pool:
    config = member.run.config().data
    reading = DataConfig.model_validate(
        {"cache": cache if cache != "auto" else config.cache, "max_pixels": config.max_pixels, "resize": member.resize}
    )
    with accelerator.main_process_first(), console.counting("Reading images") as tell:
        return open_pool(manifest, reading, member.size, tolerant=tolerant, on_progress=tell)


def _member_probs(
    member: Member, images: ImageSource, accelerator: Accelerator, batch_size: int, workers: int, tta: bool,
    console: Console,
) -> NDArray[np.float32]:  # fmt: skip
    done = 0
    with console.progress(f"Predicting with {member.run.name}", len(images)) as advance:

        def tell(more: int) -> None:
            nonlocal done
            done = min(done + more, len(images))
            advance(done, "")

        views = predict_logits(
            member.model, images, accelerator=accelerator, batch_size=batch_size, workers=workers, flip=tta,
            on_images=tell,
        )  # fmt: skip
    return mean_probs(views, member.checkpoint.about["temperatures"])


def _stand_in(member: Member, on_bad: OnBad) -> NDArray[np.float32]:
    """What an unreadable image gets: nothing, or the classes as common as in training."""
    prior = np.asarray(member.checkpoint.about["prior"], dtype=np.float32)
    return prior / prior.sum() if on_bad == "fallback" else np.full_like(prior, np.nan)


def _default_folder(members: Sequence[Member], runs_folder: Path, pool: str) -> Path:
    if len(members) == 1:
        return members[0].run.predictions(pool)
    return runs_folder / "ensembles" / "+".join(m.run.name for m in members) / pool


def write_predictions(
    path: Path, members: Sequence[Member], manifest: Manifest, probs: NDArray[np.float32], bad: dict[int, str],
    *, tta: bool, on_bad: str, pool: str,
) -> None:  # fmt: skip
    """The submission CSV, the probabilities, and the provenance that is bound to the CSV by its SHA-256."""
    text = submission_csv(manifest, probs)
    reasons = [bad.get(i, "") for i in range(len(manifest))]
    write_probabilities(path.with_name("probabilities.parquet"), manifest, probs, unreadable=reasons)
    write_text(path, text)
    write_json(
        path.with_name("predictions.provenance.json"),
        {
            "predictions": {"file": path.name, "sha256": hashlib.sha256(text.encode()).hexdigest()},
            "pool": {"name": pool, "images": len(manifest), "content_hash": manifest.content_hash},
            "runs": [_member_record(m) for m in members],
            "tta": ["plain", "mirrored"] if tta else ["plain"],
            "code": environment.code_version(),
            "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "unreadable": {"policy": on_bad, "count": len(bad), "files": _named(manifest, bad)},
            "leakage": {"verdict": "not-checked", "against": manifest.content_hash},
        },
    )


def _member_record(member: Member) -> dict[str, Any]:
    about = member.checkpoint.about
    return {
        "run": str(member.run.path),
        "checkpoint_sha256": hashlib.sha256(member.run.best.read_bytes()).hexdigest(),
        "step": about["best"]["step"],
        "weights": about["best"]["weights"],
        "validation_macro_f1": about["best"]["macro_f1"],
        "trained_on": about["data"]["content_hash"],
        "code": about["code"],
        "leakage": about["leakage"],
    }


def submission_csv(manifest: Manifest, probs: NDArray[np.float32]) -> str:
    """The rows in the order asked, under the data set's own header; empty answers for rows of NaN."""
    spec, schema = manifest.submission, manifest.schema
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([spec.id_column, *spec.answer_columns])
    for row, joint in zip(manifest.rows, predicted_class(probs).tolist(), strict=True):
        if joint < 0:
            answers = [""] * len(spec.answer_columns)
        elif spec.answers == "joint index":
            answers = [str(joint)]
        else:
            parts = schema.part(np.asarray([joint]))[0].tolist()
            answers = [f.classes[i] for f, i in zip(schema.factors, parts, strict=True)]
        writer.writerow([row.id or row.path, *answers])
    return out.getvalue()


def _named(manifest: Manifest, bad: dict[int, str]) -> dict[str, str]:
    return {manifest.rows[i].path: reason for i, reason in sorted(bad.items())}


def _tell_bad(manifest: Manifest, bad: dict[int, str], on_bad: str, console: Console) -> None:
    if bad:
        console.warn(f"{len(bad)} unreadable image(s), policy {on_bad}:")
        for path, reason in list(_named(manifest, bad).items())[:20]:
            console.say(f"  {path}: {reason}")
