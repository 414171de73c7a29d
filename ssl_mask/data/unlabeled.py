"""The unlabeled pool: where its images are, and which of them may be used. No labels are read here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ssl_mask.config import DataConfig
from ssl_mask.data.checks import refuse_escapes
from ssl_mask.data.image_set import ImageSet
from ssl_mask.data.layouts.images import find_source, read_images
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.errors import DataError
from ssl_mask.text import csv_text


def read_unlabeled(sources: Sequence[str], manifest: Manifest, *, flag: str = "--unlabeled") -> Manifest:
    """The data set's own unlabeled rows and the images of all `sources`; an image that is named twice counts once.

    Args:
        sources: folders, globs or CSVs with an image column; looked for in the working folder and in the data set's.
        flag: that named the sources, for messages.

    Raises:
        DataError: a source that does not exist, is in both folders, or has no image column or no images; or no source.
    """
    own = {str(manifest.root / r.path): r for r in manifest.where("unlabeled").rows}
    found: dict[str, str] = {path: r.source for path, r in own.items()}
    for source in sources:
        images = list(_images_of(source, manifest, flag))
        if not any(path.exists() for path, _ in images):
            raise DataError(
                f"{source} names {len(images)} images, but none of them exists, for example {images[0][0]}.",
                hint=f"Give {flag} the folder of the images, or move the CSV next to them.",
            )
        for path, where in images:
            found.setdefault(os.path.normpath(path), where)
    if not found:
        raise DataError(
            "There are no unlabeled images.", hint=f"Say where they are: {flag} DIR (or set data.unlabeled)."
        )
    # One root for all images keeps the paths in the run's table short.
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


def unlabeled_rows(config: DataConfig, manifest: Manifest) -> Manifest:
    """The unlabeled images that the settings name, with `data.outside_root` applied.

    Raises:
        DataError: as `read_unlabeled`; or a link leads out of the folder that was named, and of the data set's.
    """
    rows = read_unlabeled(config.unlabeled, manifest)
    if config.outside_root == "refuse":
        refuse_escapes(rows, allowed_folders(config, manifest))
    return rows


def allowed_folders(config: DataConfig, manifest: Manifest) -> list[Path]:
    """Where unlabeled images may really be: the data set's folder, and what `data.unlabeled` names or is in."""
    named = [path for source in config.unlabeled for path in find_source(source, _bases(manifest), flag="--unlabeled")]
    return [manifest.root, *(path if path.is_dir() else path.parent for path in named)]


def _images_of(source: str, manifest: Manifest, flag: str) -> Iterator[tuple[Path, str]]:
    """(absolute path, where it was named) for each image of a source."""
    found = read_images(source, manifest.schema, manifest.submission, bases=_bases(manifest), flag=flag)
    yield from ((found.root / row.path, f"{source}: {row.source}") for row in found.rows)


def _bases(manifest: Manifest) -> tuple[Path, Path]:
    """What a source is relative to: the working folder, or the data set's."""
    return Path.cwd(), manifest.root.absolute()


def usable(pool: ImageSet, labeled: Manifest, *, on_bad: Literal["fail", "skip"]) -> ImageSet:
    """The images of a pool that may be trained on.

    Four kinds are left out: unreadable images, copies of labeled images (training on a validation image makes the
    score optimistic), copies within the pool, and images of validation groups. Here a copy has the same bytes.

    Args:
        pool: opened with `tolerant`: its unreadable images are in `left_out`.
        labeled: train and validation rows, with digests.

    Raises:
        DataError: there are unreadable images and `on_bad` is `fail`, or no image is left.
    """
    offered = len(pool) + len(pool.left_out)
    if pool.left_out and on_bad == "fail":
        first = ", ".join(f"{path} ({why})" for path, why in list(pool.left_out.items())[:3])
        raise DataError(
            f"{len(pool.left_out)} of {offered} unlabeled images cannot be read: {first}"
            + (", …" if len(pool.left_out) > 3 else ""),
            hint="Fix or remove them, or train without them: --on-bad skip",
        )
    seen = {r.digest: f"same bytes as the labeled {r.path}" for r in labeled.rows}
    validating = set(labeled.where("val").groups.tolist()) - {""}
    left_out = dict(pool.left_out)
    kept: list[int] = []
    for position, row in enumerate(pool.manifest.rows):
        if row.digest in seen or row.group in validating:
            left_out[row.path] = seen.get(row.digest, f"group {row.group} is in validation")
            continue
        seen[row.digest] = f"same bytes as {row.path}"
        kept.append(position)
    if not kept:
        raise DataError(
            f"None of the {offered} unlabeled images can be used: {next(iter(left_out.values()))}, …",
            hint="Add images that are not among the labeled ones.",
        )
    return replace(pool.at(kept), left_out=left_out)


def pool_csv(pool: ImageSet) -> str:
    """CSV text of all images of the pool, used or not: path below its root, where it was named, SHA-256, use."""
    used = ([r.path, r.source, r.digest, "used"] for r in pool.manifest.rows)
    left_out = ([path, "", "", f"left out: {why}"] for path, why in pool.left_out.items())
    return csv_text([["path", "source", "sha256", "use"], *used, *left_out])
