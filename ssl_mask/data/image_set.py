"""Images that are ready to be read: digests known, decoded once, unreadable ones listed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from ssl_mask.config import DataConfig
from ssl_mask.data.cache import ImageCache, default_cache_folder
from ssl_mask.data.digests import DigestMemo, read_file
from ssl_mask.data.image_source import CachedImages, ChosenImages, DecodedImages, ImageSource
from ssl_mask.data.images import decode
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import ImageError

Progress = Callable[[int, int], None]

_NAMED = 20  # unreadable images that an error lists


@dataclass(frozen=True)
class ImageSet:
    """Rows and their pixels. All code that needs pixels gets them from an `ImageSet`."""

    manifest: Manifest
    """The readable rows, with digests."""
    images: ImageSource
    """The pixels of these rows, in the same order."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Path of each image that is not used -> why not."""

    def __len__(self) -> int:
        return len(self.manifest)

    def at(self, positions: Sequence[int]) -> ImageSet:
        """The rows at these positions, in this order."""
        rows = self.manifest.rows
        chosen = self.manifest.with_rows(rows[i] for i in positions)
        return replace(self, manifest=chosen, images=ChosenImages(self.images, positions))

    def without(self, digests: Collection[str], why: str) -> ImageSet:
        """All rows but those with one of these digests, which go into `left_out` with the reason `why`."""
        rows = self.manifest.rows
        kept = [i for i, r in enumerate(rows) if r.digest not in digests]
        left_out = {r.path: why for r in rows if r.digest in digests}
        return replace(self.at(kept), left_out={**self.left_out, **left_out})


def open_images(
    manifest: Manifest, config: DataConfig, size: int, *, tolerant: bool = False, on_progress: Progress | None = None
) -> ImageSet:
    """Hash and decode the images of a manifest. Each file is read once, or not at all if the cache has it.

    Args:
        size: width and height in pixels.
        tolerant: leave unreadable images out (listed in `left_out`) instead of raising. Without a cache only this
            decodes the images, to know which are unreadable; the others are decoded when they are read.
        on_progress: called with (done, total) files while they are read.

    Raises:
        ImageError: unreadable images, and not `tolerant`; it names the first of them.
        StorageError: the cache cannot be written.
    """
    folder, files, bad = cache_folder(config, len(manifest), size), manifest.files, dict[int, ImageError]()
    if folder is None:
        decoded = config if tolerant else None
        manifest = manifest.with_digests(_digests(files, decoded, bad.__setitem__, on_progress))
    else:
        cache = ImageCache(folder, size, config.resize, config.depth)
        with DigestMemo(folder) as memo:
            known = [memo.recall(path) for path in files]
            digests = cache.fill(
                files, known, max_pixels=config.max_pixels, threads=os.cpu_count() or 1, memo=memo,
                on_progress=on_progress, on_bad=bad.__setitem__,
            )  # fmt: skip
        manifest = manifest.with_digests(digests)
    if bad and not tolerant:
        hint = " ".join(dict.fromkeys(error.hint for error in bad.values() if error.hint))
        raise unreadable([error.problem for _, error in sorted(bad.items())], len(files), "images", hint=hint)
    good = manifest.with_rows(row for i, row in enumerate(manifest.rows) if i not in bad)
    left_out = {manifest.rows[i].path: error.problem for i, error in sorted(bad.items())}
    if folder is None:
        found = [row.digest for row in good.rows]
        decoding = DecodedImages(good.files, size, config.resize, config.max_pixels, config.depth, found)
        return ImageSet(good, decoding, left_out)
    return ImageSet(good, CachedImages(cache, [row.digest for row in good.rows]), left_out)


def asked_for(rows: Manifest, opened: ImageSet, readable: Sequence[int]) -> tuple[Manifest, dict[int, str]]:
    """The rows that were asked for, with the digests of the readable ones; and why each other one is unreadable."""
    digests = dict(zip(readable, (r.digest for r in opened.manifest.rows), strict=True))
    manifest = rows.with_digests(digests.get(i, "") for i in range(len(rows)))
    return manifest, {i: opened.left_out[r.path] for i, r in enumerate(rows.rows) if i not in digests}


def unreadable(problems: Sequence[str], total: int, what: str, *, hint: str) -> ImageError:
    """One error for all images that cannot be read; a list of the first of them, where there are several."""
    if len(problems) == 1:
        return ImageError(problems[0], hint=hint)
    shown = [f"  {problem}" for problem in problems[:_NAMED]]
    shown += [f"  … and {len(problems) - _NAMED} more"] if len(problems) > _NAMED else []
    return ImageError("\n".join([f"{len(problems)} of {total} {what} cannot be read:", *shown]), hint=hint)


def cache_folder(config: DataConfig, count: int, size: int) -> Path | None:
    """Folder of the cache of decoded images, or None for no cache. `auto`: no cache on a disk that is nearly full."""
    if config.cache == "off":
        return None
    if config.cache != "auto":
        return Path(config.cache)
    folder = default_cache_folder()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    roomy = shutil.disk_usage(existing).free > 2 * count * size * size * 3
    return folder if roomy and os.access(existing, os.W_OK) else None


def _digests(
    files: Sequence[Path], decoded: DataConfig | None, on_bad: Callable[[int, ImageError], None],
    on_progress: Progress | None,
) -> list[str]:  # fmt: skip
    """The digest of each file, "" where it cannot be read. With `decoded`, each is also decoded as that says."""

    def look(path: Path) -> tuple[str, ImageError | None]:
        digest = ""
        try:
            content, digest, _ = read_file(path)
            if decoded is not None:
                decode(path, content, max_pixels=decoded.max_pixels, depth=decoded.depth)
        except ImageError as error:
            return digest, error
        return digest, None

    digests: list[str] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for position, (digest, error) in enumerate(pool.map(look, files)):
            if error is not None:
                on_bad(position, error)
            digests.append(digest)
            if on_progress is not None:
                on_progress(position + 1, len(files))
    return digests
