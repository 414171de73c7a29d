"""New images are read, decoded and hashed once: for their fingerprints and for the cache of images.

Nothing else changes: what is kept is what each of the two would have kept, and what is not is read by them. So an
interrupted training goes on where it was, and a bad image is told of where it always was.
"""

from __future__ import annotations

from collections.abc import Callable

from ssl_mask.config import DataConfig
from ssl_mask.data.cache import ImageCache
from ssl_mask.data.image_set import cache_folder
from ssl_mask.data.manifest import Manifest
from ssl_mask.devices import cores
from ssl_mask.guard.copies.fingerprints import Fitted, fingerprint


def read_ahead(config: DataConfig, rows: Manifest, size: int, on_progress: Callable[[int, int], None]) -> None:
    """Keep the fingerprint and the small picture of each image that has no fingerprint yet.

    Args:
        size: of the small pictures, in pixels.
        on_progress: told (done, total) of the files that have to be read.

    Raises:
        StorageError: the cache cannot be written. IncompleteError: a process that reads was killed.
    """
    folder = cache_folder(config, len(rows), size)
    if folder is None:  # nothing is kept
        return
    images = ImageCache(folder, size, config.resize, config.depth)
    with images.adding() as add:
        fingerprint(
            rows.files, cache=folder, digests=[row.digest for row in rows.rows], processes=cores(),
            max_pixels=config.max_pixels, depth=config.depth, on_progress=on_progress,
            fitted=Fitted(size, config.resize, add),
        )  # fmt: skip
