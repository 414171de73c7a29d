"""A pool of images ready to be read: content digests known, decoded once, unreadable ones listed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ssl_mask.config import DataConfig
from ssl_mask.data.cache import CachedImages, DecodedImages, ImageCache, ImageSource, default_cache_folder
from ssl_mask.data.digests import digest_file, digest_files
from ssl_mask.data.images import decode
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import ImageError

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pool:
    manifest: Manifest
    """All rows, with digests (empty for an unreadable file)."""
    images: ImageSource
    """Pixels of the readable rows, in order."""
    good: list[int]
    """Positions of the readable rows."""
    bad: dict[int, str]
    """Position of each unreadable row, and why."""


def open_pool(
    manifest: Manifest, config: DataConfig, size: int, *, tolerant: bool = False, on_progress: Progress | None = None
) -> Pool:
    """Digest and decode the images of a manifest.

    Args:
        size: side in pixels.
        tolerant: list unreadable images in `bad` instead of raising.
        on_progress: told (done, total) while images are decoded into the cache.

    Raises:
        ImageError: an unreadable image, unless `tolerant`.
        StorageError: the cache cannot be written.
    """
    threads = os.cpu_count() or 1
    folder = cache_folder(config, len(manifest), size)
    bad: dict[int, str] = {}
    digests = _digests(manifest.files, folder, bad if tolerant else None)
    manifest = manifest.with_digests(digests)
    if folder is None:
        if tolerant:
            bad |= _undecodable(manifest, config.max_pixels, skip=bad)
        good = [i for i in range(len(manifest)) if i not in bad]
        paths = [manifest.files[i] for i in good]
        return Pool(manifest, DecodedImages(paths, size, config.resize, config.max_pixels), good, bad)
    readable = [i for i, d in enumerate(digests) if d]
    cache = ImageCache(folder, size, config.resize)
    cache.fill(
        [manifest.files[i] for i in readable],
        [digests[i] for i in readable],
        max_pixels=config.max_pixels,
        threads=threads,
        on_progress=on_progress,
        on_bad=(lambda i, error: bad.update({readable[i]: error.problem})) if tolerant else None,
    )
    good = [i for i in readable if i not in bad]
    return Pool(manifest, CachedImages(cache, [digests[i] for i in good]), good, bad)


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
