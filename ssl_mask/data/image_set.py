"""Images ready to be read: content digests known, decoded once, unreadable ones listed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ssl_mask.config import DataConfig
from ssl_mask.data.cache import CachedImages, ChosenImages, DecodedImages, ImageCache, ImageSource, default_cache_folder
from ssl_mask.data.digests import digest_file, digest_files
from ssl_mask.data.images import decode
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import ImageError

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImageSet:
    """Rows and their pixels. Everything that reads photos reads them through one of these."""

    manifest: Manifest
    """The readable rows, with digests."""
    images: ImageSource
    """The pixels of these rows, in order."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Path of each image that is not used -> why."""

    def __len__(self) -> int:
        return len(self.manifest)

    def at(self, positions: Sequence[int]) -> ImageSet:
        """Some of the rows, in a new order."""
        rows = self.manifest.rows
        chosen = self.manifest.with_rows(rows[i] for i in positions)
        return replace(self, manifest=chosen, images=ChosenImages(self.images, positions))

    def without(self, digests: Collection[str], why: str) -> ImageSet:
        """The rows whose digest is none of these; the reason goes into `left_out`."""
        rows = self.manifest.rows
        kept = [i for i, r in enumerate(rows) if r.digest not in digests]
        left_out = {r.path: why for r in rows if r.digest in digests}
        return replace(self.at(kept), left_out={**self.left_out, **left_out})


def open_images(
    manifest: Manifest, config: DataConfig, size: int, *, tolerant: bool = False, on_progress: Progress | None = None
) -> ImageSet:
    """Digest and decode the images of a manifest.

    Args:
        size: side in pixels.
        tolerant: leave unreadable images out (listed in `left_out`) instead of raising.
        on_progress: told (done, total) while images are decoded into the cache.

    Raises:
        ImageError: an unreadable image, unless `tolerant`.
        StorageError: the cache cannot be written.
    """
    folder = cache_folder(config, len(manifest), size)
    bad: dict[int, str] = {}
    manifest = manifest.with_digests(_digests(manifest.files, folder, bad if tolerant else None))
    if folder is None:
        if tolerant:
            bad |= _undecodable(manifest, config.max_pixels, skip=bad)
    else:
        cache = ImageCache(folder, size, config.resize)
        readable = [i for i, row in enumerate(manifest.rows) if row.digest]
        cache.fill(
            [manifest.files[i] for i in readable],
            [manifest.rows[i].digest for i in readable],
            max_pixels=config.max_pixels,
            threads=os.cpu_count() or 1,
            on_progress=on_progress,
            on_bad=(lambda i, error: bad.update({readable[i]: error.problem})) if tolerant else None,
        )
    good = manifest.with_rows(row for i, row in enumerate(manifest.rows) if i not in bad)
    left_out = {manifest.rows[i].path: why for i, why in sorted(bad.items())}
    if folder is None:
        return ImageSet(good, DecodedImages(good.files, size, config.resize, config.max_pixels), left_out)
    return ImageSet(good, CachedImages(cache, [row.digest for row in good.rows]), left_out)


def cache_folder(config: DataConfig, count: int, size: int) -> Path | None:
    """Where decoded images go, or None. `auto` does without when the disk has no room to spare."""
    if config.cache == "off":
        return None
    if config.cache != "auto":
        return Path(config.cache)
    folder = default_cache_folder()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    roomy = shutil.disk_usage(existing).free > 2 * count * size * size * 3
    return folder if roomy and os.access(existing, os.W_OK) else None


def _digests(files: list[Path], memo: Path | None, bad: dict[int, str] | None) -> list[str]:
    try:
        return digest_files(files, memo)
    except ImageError:
        if bad is None:
            raise
    digests: list[str] = []
    for position, path in enumerate(files):
        try:
            digests.append(digest_file(path))
        except ImageError as error:
            bad[position] = error.problem
            digests.append("")
    return digests


def _undecodable(manifest: Manifest, max_pixels: int, skip: dict[int, str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for position, path in enumerate(manifest.files):
        if position in skip:
            continue
        try:
            decode(path, max_pixels=max_pixels)
        except ImageError as error:
            found[position] = error.problem
    return found
