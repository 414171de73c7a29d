"""A data set or a pool of images as others read it: files with digests, splits, groups and labels, never a photo."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ssl_mask.data.manifest import Manifest
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.guard.findings import content_digest
from ssl_mask.text import csv_text

TABLE = "images.csv"
COLUMNS = ("path", "sha256", "split", "group")


class DescribedImage(NamedTuple):
    """One image file."""

    path: str
    """Relative to the folder of the data set, with forward slashes."""
    sha256: str
    """"" where it could not be read."""
    split: str
    group: str
    """"" where none is known."""
    labels: tuple[int, ...] | None


@dataclass(frozen=True)
class Described:
    """A data set or a pool."""

    name: str
    images: tuple[DescribedImage, ...]
    schema: LabelSchema | None
    """None: a pool, whose card names no classes."""
    grouped: bool
    """Whether it names its groups (persons)."""

    @property
    def splits(self) -> tuple[str, ...]:
        """In the order of the images."""
        return tuple(dict.fromkeys(image.split for image in self.images))

    @property
    def digest(self) -> str:
        """SHA-256 of the sorted digests of its images, as on data cards."""
        return content_digest(image.sha256 for image in self.images)

    @property
    def label_columns(self) -> dict[str, str]:
        """Factor -> column of the table; one that is named like another column is `label_<factor>`."""
        names = [factor.name for factor in self.schema.factors] if self.schema is not None else []
        return {name: f"label_{name}" if name in COLUMNS else name for name in names}

    def table(self) -> str:
        """All images as CSV: COLUMNS, then a class name a factor, empty where it is unknown."""
        factors = self.schema.factors if self.schema is not None else ()
        rows = (
            [i.path, i.sha256, i.split, i.group,
             *(f.classes[label] for f, label in zip(factors, i.labels or (), strict=False)),
             *([] if i.labels is not None else [""] * len(factors))]
            for i in self.images
        )  # fmt: skip
        return csv_text([[*COLUMNS, *self.label_columns.values()], *rows])


def described_data(manifest: Manifest, name: str) -> Described:
    """A data set whose rows have digests."""
    images = tuple(
        DescribedImage(r.path, r.digest, r.split, r.group if manifest.grouped else "", r.labels) for r in manifest.rows
    )
    _refuse_absolute(images)
    return Described(name, images, manifest.schema, manifest.grouped)


def described_pool(card: Mapping[str, Any], folder: Path) -> Described:
    """The pool of a data card. Paths are relative to the pool's topmost folder.

    Args:
        folder: where the card is.

    Raises:
        DataError: its images have no folder in common but the root of the disk.
    """
    predicate = card["predicate"]
    top = predicate["folder"]
    # In words: `..` of a linked folder would lead elsewhere.
    place = Path(os.path.abspath(folder / predicate["root"] / top))  # noqa: PTH100
    if len(place.parts) < 3:
        raise DataError(
            f"The images of {predicate['name']} lie in folders that have only {place} in common.",
            hint="Their paths would tell of this machine. Audit them from one folder.",
        )
    images = tuple(
        DescribedImage(
            PurePosixPath(f["path"]).relative_to(top or ".").as_posix(), f["sha256"], predicate["role"], "", None
        )
        for f in predicate["files"]
    )
    _refuse_absolute(images)
    return Described(predicate["name"], images, None, bool(predicate["groups"]["complete"]))


def _below(path: str, top: str) -> str:
    return PurePosixPath(path).relative_to(top or ".").as_posix()


def _refuse_absolute(images: tuple[DescribedImage, ...]) -> None:
    """Raises DataError for a path that leads out of the data set: it would tell of this machine."""
    for image in images:
        path = PurePosixPath(image.path)
        if path.is_absolute() or ".." in path.parts:
            raise DataError(
                f"{image.path} is not inside of the folder of its data set.", hint="Copy it there, or leave it out."
            )
