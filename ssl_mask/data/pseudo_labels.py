"""Pseudo-labels on disk and in memory: a CSV that people can read and edit, one row per selected image.

    image,sha256,group,label,<factor>…,confidence,margin,confidence/<factor>…,first_round,flips[,p/<joint class>…]

A factor that was not selected is an empty cell. `label` is for people only: the factors' own columns are read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import DataConfig, PseudoConfig
from ssl_mask.data.image_set import ImageSet, Progress, open_images
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError
from ssl_mask.reading import one_line
from ssl_mask.text import csv_text

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class PseudoLabels:
    """Selected images of a pool and their labels: the rows of the CSV."""

    manifest: Manifest
    """The images, with digests and without labels."""
    labels: NDArray[np.int64]
    """(n, factors) class indices; -1 where a factor was not selected."""
    confidence: NDArray[np.float32]
    """(n, 1 + factors) in [0, 1]: of the joint class, then of each factor."""
    margin: NDArray[np.float32]
    """(n,) difference of the two highest joint probabilities."""
    first_round: NDArray[np.int64]
    """(n,) round in which the image was first selected."""
    flips: NDArray[np.int64]
    """(n,) how often the predicted class has changed between rounds so far."""
    probs: NDArray[np.float32] | None = None
    """(n, joint classes) probabilities, for soft labels; None: hard labels."""

    def __len__(self) -> int:
        return len(self.manifest)

    def at(self, rows: Sequence[int]) -> PseudoLabels:
        """The pseudo-labels at these positions, in this order."""
        old = self.manifest.rows
        return PseudoLabels(
            self.manifest.with_rows(old[i] for i in rows), self.labels[rows], self.confidence[rows], self.margin[rows],
            self.first_round[rows], self.flips[rows], None if self.probs is None else self.probs[rows],
        )  # fmt: skip

    def of(self, manifest: Manifest) -> PseudoLabels:
        """The pseudo-labels of these images, in the same order; images are matched by digest."""
        place = {row.digest: i for i, row in enumerate(self.manifest.rows)}
        return self.at([place[row.digest] for row in manifest.rows])

    @property
    def sha256(self) -> str:
        """SHA-256 of the CSV text."""
        return hashlib.sha256(to_csv(self).encode()).hexdigest()

    @property
    def whole(self) -> NDArray[np.bool_]:
        """(n,) whether every factor was selected."""
        return np.asarray((self.labels >= 0).all(axis=1))

    @property
    def whole_digests(self) -> frozenset[str]:
        """Digests of the images for which every factor was selected."""
        return frozenset(r.digest for r, whole in zip(self.manifest.rows, self.whole, strict=True) if whole)

    def head_labels(self, target: str) -> NDArray[np.int64]:
        """(n, heads) class indices; a factor that was not selected has class 0 here and weight 0 in `weights`."""
        return self.manifest.schema.head_labels(np.maximum(self.labels, 0), target)

    def weights(self, target: str, config: PseudoConfig) -> NDArray[np.float32]:
        """(n, heads) factors of the loss: λ, times the confidence if configured; 0 where a label is missing."""
        known: NDArray[np.bool_] = self.labels >= 0
        confidence = self.confidence[:, 1:]
        if self.manifest.schema.heads(target).keys() == {"joint"} and known.shape[1] > 1:
            known, confidence = self.whole[:, None], self.confidence[:, :1]
        elif config.masks == "joint":
            confidence = np.broadcast_to(self.confidence[:, :1], known.shape)
        factor = confidence if config.weighting == "confidence" else np.ones_like(confidence)
        return np.asarray(known * factor * config.weight, dtype=np.float32)

    def targets(self, target: str) -> dict[str, NDArray[np.float32]] | None:
        """(n, classes) probabilities per head for soft labels; None for hard labels."""
        schema, probs = self.manifest.schema, self.probs
        if probs is None:
            return None
        return {"joint": probs} if schema.heads(target).keys() == {"joint"} else schema.marginals(probs)


def to_csv(labels: PseudoLabels) -> str:
    """The text of a pseudo_labels.csv."""
    schema = labels.manifest.schema
    names = [f.name for f in schema.factors]
    whole = [] if "label" in names else ["label"]  # a factor of that name says the same
    header = ["image", "sha256", "group", *whole, *names, "confidence", "margin", *(f"confidence/{n}" for n in names)]
    probs = [] if labels.probs is None else [f"p/{c}" for c in schema.joint_classes]
    lines: list[list[Any]] = [[*header, "first_round", "flips", *probs]]
    for i, row in enumerate(labels.manifest.rows):
        chosen = [
            f.classes[k] if k >= 0 else "" for f, k in zip(schema.factors, labels.labels[i].tolist(), strict=True)
        ]
        soft = [] if labels.probs is None else [f"{p:.6f}" for p in labels.probs[i].tolist()]
        confidence = [f"{c:.6f}" for c in labels.confidence[i].tolist()]
        joint = ["/".join(c or "?" for c in chosen)] if whole else []
        lines.append([
            (labels.manifest.root / row.path).as_posix(), row.digest, row.group, *joint, *chosen,
            confidence[0], f"{labels.margin[i]:.6f}", *confidence[1:],
            labels.first_round[i], labels.flips[i], *soft,
        ])  # fmt: skip
    return csv_text(lines)


def read_pseudo_labels(table: Path, labeled: Manifest) -> PseudoLabels:
    """Read a pseudo_labels.csv, which may have been edited by hand.

    Args:
        labeled: train and validation rows with digests; their images must not have a pseudo-label.

    Raises:
        DataError: an unknown class, an image in two rows, no digest, a labeled image; the message names the row.
    """
    schema = labeled.schema
    needed = ("image", "sha256", *schema.sizes, "confidence")
    given = {r.digest: r.path for r in labeled.rows}
    seen: dict[str, str] = {}
    rows: list[Row] = []
    records: list[dict[str, Any]] = []
    for where, cells in read_csv(table, columns=needed):
        digest = cells["sha256"]
        if digest in given:
            raise DataError(
                f"{where}: {cells['image']} is the same image as {given[digest]}, which has a label.",
                hint="Remove the row.",
            )
        _refuse_odd_image(cells, where)
        for name in (digest, cells["image"]):
            if seen.setdefault(name, where) != where:
                raise DataError(f"{where}: {cells['image']} is also at {seen[name]}.", hint="Keep one row per image.")
        name, group = cells["image"], cells.get("group", "")
        rows.append(Row(name, group, "unlabeled", where, None, id=Path(name).name, digest=digest))
        records.append(_record(cells, schema, where))
    if not rows:
        raise DataError(
            f"{table} has no rows.",
            hint="Select pseudo-labels again with a lower threshold, or train without the table.",
        )
    manifest = labeled.with_rows(rows)
    columns = {k: np.asarray([r[k] for r in records]) for k in records[0]}
    return PseudoLabels(
        manifest, columns["labels"].astype(np.int64), columns["confidence"].astype(np.float32),
        columns["margin"].astype(np.float32), columns["first_round"].astype(np.int64),
        columns["flips"].astype(np.int64), columns["probs"].astype(np.float32) if "probs" in columns else None,
    )  # fmt: skip


def _record(cells: Mapping[str, str], schema: LabelSchema, where: str) -> dict[str, Any]:
    labels = [schema.index_of(f, cells[f.name], where=where) if cells[f.name] else -1 for f in schema.factors]
    joint = _number(cells, "confidence", where)
    record: dict[str, Any] = {
        "labels": labels,
        "confidence": [joint, *(_number(cells, f"confidence/{n}", where, joint) for n in schema.sizes)],
        "margin": _number(cells, "margin", where, 0.0),
        "first_round": int(_number(cells, "first_round", where, 0.0, most=1e9)),
        "flips": int(_number(cells, "flips", where, 0.0, most=1e9)),
    }
    if any(column.startswith("p/") for column in cells):
        record["probs"] = _probabilities(cells, schema, where)
    return record


def _refuse_odd_image(cells: Mapping[str, str], where: str) -> None:
    if not cells["image"]:
        raise DataError(f"{where}: no image.", hint="Fill in its path, or remove the row.")
    if not _SHA256.fullmatch(cells["sha256"]):
        what = "no sha256" if not cells["sha256"] else f"the sha256 {one_line(cells['sha256'])!r}, which is none"
        raise DataError(
            f"{where}: {cells['image']} has {what}.", hint="Keep one row per image, with the 64 hex digits of its file."
        )


def _probabilities(cells: Mapping[str, str], schema: LabelSchema, where: str) -> list[float]:
    """The probabilities of the joint classes.

    Raises:
        DataError: a class without a column, a column of no class, or numbers that are no distribution.
    """
    names = [f"p/{c}" for c in schema.joint_classes]
    for column in [*names, *(c for c in cells if c.startswith("p/"))]:
        if column not in cells or column not in names:
            what = "there is no column" if column not in cells else "no class has the column"
            raise DataError(f"{where}: {what} {column!r}.", hint="Soft labels need a column p/<class> for each class.")
    probs = [_number(cells, n, where) for n in names]
    if abs(sum(probs) - 1) > 0.01:
        raise DataError(
            f"{where}: the probabilities p/… sum to {sum(probs):.3f}, not to 1.", hint="Fix the row, or remove it."
        )
    return probs


def _number(
    cells: Mapping[str, str], column: str, where: str, default: float | None = None, *, most: float = 1.0
) -> float:
    """A number in [0, most], or `default` for an empty cell.

    Raises:
        DataError: it is not such a number; the message names the row.
    """
    text = cells.get(column, "")
    if not text and default is not None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= most + 1e-6:
        raise DataError(f"{where}: {column} {text!r} is not a number from 0 to {most:g}.", hint="Fix the cell.")
    return value


def open_pseudo_labeled(
    labels: PseudoLabels, config: DataConfig, size: int, on_progress: Progress | None = None
) -> ImageSet:
    """The images of the pseudo-labels, in the same order.

    Raises:
        DataError: an image has changed since it got its pseudo-label.
    """
    opened = open_images(labels.manifest, config, size, on_progress=on_progress)
    for before, now in zip(labels.manifest.rows, opened.manifest.rows, strict=True):
        if before.digest != now.digest:
            raise DataError(
                f"{before.source}: {before.path} has changed since it got its pseudo-label.",
                hint="Restore the image, or select pseudo-labels again.",
            )
    return opened
