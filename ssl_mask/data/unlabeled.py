"""The unlabeled pool: where its images are, and which of them may be used. No label is ever read here."""

from __future__ import annotations

import csv
import glob
import io
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssl_mask.data.cache import ChosenImages, ImageSource
from ssl_mask.data.images import is_image_name
from ssl_mask.data.layouts.images import read_images
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.pool import Pool
from ssl_mask.errors import DataError


def read_unlabeled(sources: Sequence[str], manifest: Manifest) -> Manifest:
    """The unlabeled rows of the data set itself, and the images of all `sources`; an image named twice counts once.

    Args:
        sources: folders, globs or CSVs with an image column, relative to the working folder or to the data set's.

    Raises:
        DataError: nothing there, no image column, a source without images, or no image at all.
    """
    own = {str(manifest.root / r.path): r for r in manifest.where("unlabeled").rows}
    found: dict[str, str] = {path: r.source for path, r in own.items()}
    for source in sources:
        images = list(_images_of(source, manifest))
        if not images:
            raise DataError(f"No image in {source}.", hint="Give --unlabeled a folder, a glob or a CSV of images.")
        if not any(path.exists() for path, _ in images):
            raise DataError(
                f"{source} names {len(images)} images, but none of them is there, such as {images[0][0]}.",
                hint="Give --unlabeled the folder of the images, or move the table beside them.",
            )
        for path, where in images:
            found.setdefault(os.path.normpath(path), where)
    if not found:
        raise DataError(
            "There are no unlabeled images.", hint="Say where they are: --unlabeled DIR (or data.unlabeled)."
        )
    # One root for all, so that paths in the run's table stay short.
    root = Path(os.path.commonpath([str(Path(p).parent) for p in found]))
    groups = {path: r.group for path, r in own.items() if manifest.grouped}
    rows = [
        Row(Path(p).relative_to(root).as_posix(), groups.get(p, ""), "unlabeled", where, None)
        for p, where in found.items()
    ]
    return Manifest(
        root, "unlabeled", manifest.schema, tuple(rows), any(r.group for r in rows), manifest.submission,
        f"{len(rows)} unlabeled images",
    )  # fmt: skip


def _images_of(source: str, manifest: Manifest) -> Iterator[tuple[Path, str]]:
    """(absolute path, where it was named) of each image of a source."""
    pattern = glob.has_magic(source)
    for base in (Path.cwd(), manifest.root):
        named = str(base / source)
        matches = sorted(glob.glob(named, recursive=True)) if pattern else [named]  # noqa: PTH207 - absolute ones too
        existing = [Path(m) for m in matches if Path(m).exists()]
        for path in existing:
            if is_image_name(path.name) and path.is_file():
                yield path.absolute(), source
            elif path.is_dir() or not pattern:
                inside = read_images(path, manifest.schema, manifest.submission)
                yield from ((inside.root / r.path, f"{source}: {r.source}") for r in inside.rows)
        if existing:
            return
    raise DataError(f"No folder, file or match for {source!r}.", hint="Give --unlabeled DIR, a quoted glob, or a CSV.")


@dataclass(frozen=True)
class Unlabeled:
    """The pool as it is used, and what was left out of it."""

    manifest: Manifest
    images: ImageSource
    left_out: dict[str, str]
    """Path -> why."""

    def without(self, digests: Collection[str], why: str) -> Unlabeled:
        """The pool without the images of these digests; the reason goes into `left_out`."""
        rows = self.manifest.rows
        kept = [i for i, r in enumerate(rows) if r.digest not in digests]
        left_out = self.left_out | {r.path: why for r in rows if r.digest in digests}
        return Unlabeled(self.manifest.with_rows(rows[i] for i in kept), ChosenImages(self.images, kept), left_out)

    def to_csv(self) -> str:
        """Every image that was offered: path below the pool's root, where it was named, SHA-256, and its use."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["path", "source", "sha256", "use"])
        writer.writerows([r.path, r.source, r.digest, "used"] for r in self.manifest.rows)
        writer.writerows([path, "", "", f"left out: {why}"] for path, why in self.left_out.items())
        return out.getvalue()

    def record(self, sources: Sequence[str]) -> dict[str, object]:
        """What a run's status says of it."""
        return {
            "sources": list(sources) or [self.manifest.message],
            "images": len(self.manifest),
            "content_hash": self.manifest.content_hash,
            "left_out": len(self.left_out),
        }


def usable(pool: Pool, labeled: Manifest, *, on_bad: Literal["fail", "skip"]) -> Unlabeled:
    """Leave out what cannot be read, copies of labeled images (training on a validation photo would flatter its score),
    copies within the pool, and photos of validation groups; copies by their bytes.

    Raises:
        DataError: unreadable images with `on_bad` fail, or nothing is left.
    """
    rows = pool.manifest.rows
    if pool.bad and on_bad == "fail":
        first = ", ".join(f"{rows[i].path} ({why})" for i, why in sorted(pool.bad.items())[:3])
        raise DataError(
            f"{len(pool.bad)} of {len(rows)} unlabeled images cannot be read: {first}"
            + (", …" if len(pool.bad) > 3 else ""),
            hint="Mend or remove them, or go on without them: --on-bad skip",
        )
    seen = {r.digest: f"same bytes as the labeled {r.path}" for r in labeled.rows}
    validating = set(labeled.where("val").groups.tolist()) - {""}
    left_out = {rows[i].path: why for i, why in pool.bad.items()}
    kept: list[int] = []
    for number, position in enumerate(pool.good):
        row = rows[position]
        if row.digest in seen or row.group in validating:
            left_out[row.path] = seen.get(row.digest, f"group {row.group} is in validation")
            continue
        seen[row.digest] = f"same bytes as {row.path}"
        kept.append(number)
    if not kept:
        raise DataError(
            f"None of the {len(rows)} unlabeled images can be used: {next(iter(left_out.values()))}, …",
            hint="The pool must hold other images than the labeled ones.",
        )
    manifest = pool.manifest.with_rows(rows[pool.good[n]] for n in kept)
    return Unlabeled(manifest, ChosenImages(pool.images, kept), left_out)
