"""Runs that never were, with images, for tests of pages: as fast as writing their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_records
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_mask.config import load_config
from ssl_mask.config.load import to_yaml
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.predictions import write_predictions
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.files import write_text
from ssl_mask.reports import samples
from ssl_mask.runs.checkpoint import Checkpoint, write_checkpoint
from ssl_mask.runs.run import RunDir

SCRIPT = "</script><script>window.hacked=1</script>"
IMG = '"><img src=x onerror=window.hacked=1>'
HOSTILE = LabelSchema(
    (Factor(f"kind{SCRIPT}", ("cat{{7*7}}", IMG, "=1+1")), Factor("co\u202ever", ("no\n<b>", "y'e\"s & `js`")))
)
"""Names that try to be markup, scripts, templates, formulas, new lines and text that runs backwards."""
LOGGED: dict[str, dict[str, Any]] = {
    "train": {"loss": 1.0, "images_per_second": 1.0},
    "val": {"cpu_seconds": 1.0, "heads": {}, "nll": 1.5, "temperatures": {}},
}
"""What made-up lines of `metrics.jsonl` lack."""
PLAIN = LabelSchema((Factor("kind", ("cat", "dog", "cow")), Factor("cover", ("no", "yes"))))


def draw_images(root: Path, names: Sequence[str]) -> None:
    """Images of noise, each of another brightness."""
    rng = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        pixels = rng.integers(0, 60, (20, 24 + i % 3, 3)) + 180 * i // max(1, len(names))
        Image.fromarray(pixels.astype(np.uint8)).save(root / name, "PNG")


def predictions(schema: LabelSchema, images: int = 60, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(n,) true joint classes and (n, joint classes) probabilities that are right in about half of the cases."""
    rng = np.random.default_rng(seed)
    size = len(schema.joint_classes)
    true = np.random.default_rng(0).integers(0, size, images)
    logits = rng.normal(0, 1, (images, size)) + 1.5 * np.eye(size)[true]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, probs.astype(np.float32)


def manifest_of(root: Path, schema: LabelSchema, names: Sequence[str], true: NDArray[np.int64], group: str) -> Manifest:
    """Four images a group."""
    labels = map(tuple, schema.part(true).tolist())
    rows = tuple(
        Row(name, f"{group}{i // 4}", "val", "labels.csv", own, digest="")
        for i, (name, own) in enumerate(zip(names, labels, strict=True))
    )
    return Manifest(root, "table", schema, rows, True, Submission("image", tuple(schema.sizes), "names"))


def make_run(
    folder: Path, root: Path, schema: LabelSchema = PLAIN, *, names: Sequence[str] = (), group: str = "p",
    seed: int = 0, digests: Sequence[str] = (), **status: Any,
) -> RunDir:  # fmt: skip
    """A finished run with validation predictions of images in `root`; keyword arguments change its status."""
    run = samples.run(folder, **status)
    names = names or [f"{i:03d}.png" for i in range(60)]
    true, probs = predictions(schema, len(names), seed)
    rows = manifest_of(root, schema, names, true, group)
    rows = rows.with_digests(digests or [f"{i:064x}" for i in range(len(names))])
    write_predictions(run.validation, rows, probs, fold=0)
    data = {**run.data().to_json(), "root": str(root)}
    temperatures = dict.fromkeys(schema.sizes, 2.0)
    best = {**run.scores().to_json(), "heads": dict.fromkeys(schema.sizes, 0.5), "temperatures": temperatures}
    run.update(data=data, best=best)
    weights = made_records.metadata(
        schema=schema, temperatures=temperatures, prior=tuple(range(1, len(schema.joint_classes) + 1)),
        submission=rows.submission, best=best,
    )  # fmt: skip
    write_checkpoint(run.best, Checkpoint({}, weights))
    write_text(run.config_file, to_yaml(load_config({"train": {"steps": 500}}, preset="laptop")))
    for record in samples.metrics(evaluations=4):
        run.log(**{**LOGGED[record["kind"]], **record})
    return run


def make_doubted_run(
    folder: Path, root: Path, schema: LabelSchema = PLAIN, *, names: Sequence[str], group: str = "p"
) -> RunDir:
    """A run whose first factor never differs within a group: that of every third group is predicted as another class,
    and so is a third of all images."""
    run = make_run(folder, root, schema, names=names, group=group)
    size, count = len(schema.joint_classes), len(names)
    labels = [(i // 4 % len(schema.factors[0].classes), i % len(schema.factors[1].classes)) for i in range(count)]
    true = schema.join(np.asarray(labels, dtype=np.int64))
    rng = np.random.default_rng(1)
    other = schema.join(np.asarray([((k + 1) % len(schema.factors[0].classes), c) for k, c in labels], dtype=np.int64))
    seen = np.where(np.arange(count) // 4 % 3 == 1, other, true)
    seen = np.where(rng.random(count) < 1 / 3, rng.integers(0, size, count), seen)
    logits = rng.normal(0, 0.5, (count, size)) + 3 * np.eye(size)[seen]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = manifest_of(root, schema, names, true, group).with_digests(f"{i:064x}" for i in range(count))
    write_predictions(run.validation, rows, probs.astype(np.float32), fold=0)
    return run
