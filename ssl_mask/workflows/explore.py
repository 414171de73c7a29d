"""`sslmask explore`: a data set before training as one HTML page, or in short for a terminal. Touches no image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import DataConfig, ModelConfig, RunConfig
from ssl_mask.console import Console
from ssl_mask.data.image_set import open_images
from ssl_mask.data.load import read_manifest, read_rows
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.devices import cores, make_accelerator
from ssl_mask.errors import DataError, nothing_written
from ssl_mask.guard.check import check
from ssl_mask.guard.pools import cache_of
from ssl_mask.guard.sources import gather_pools
from ssl_mask.reports.html.album import Album
from ssl_mask.reports.html.explore.copies import copies_of
from ssl_mask.reports.html.explore.embedding import FEWEST, Embedding, embedding_of
from ssl_mask.reports.html.explore.exploration import Exploration, Pixels
from ssl_mask.reports.html.explore.images import Images, images_of, sample
from ssl_mask.reports.html.explore.page import explore_html
from ssl_mask.reports.html.explore.pixels import scan
from ssl_mask.reports.html.page import WrittenPage, write_page

MEASURED = 10_000
"""Images that are decoded to be measured; of more a random sample."""
ON_MAP = 4000
"""Images that a network looks at; of more a random sample."""


def gather(config: RunConfig, console: Console, *, on_map: int = ON_MAP) -> Exploration:
    """Read and compare all images, measure and embed a sample of them. Writes nothing but the cache.

    Args:
        config: `data` says where the images are; no other setting counts.
        on_map: images that the embedded backbone looks at; 0: none, so there is no map and no comparison of pools.

    Raises:
        DataError: no data set, or a bad row. ConfigError: a wrong setting.
    """
    manifest, refusal = read(config.data, console)
    pools = gather_pools(manifest, {}, base=config.data.root.absolute(), unlabeled=config.data.unlabeled)
    findings = check(
        pools, cache=cache_of(config.data, pools), processes=cores(), max_pixels=config.data.max_pixels,
        depth=config.data.depth, counting=console.counting,
    )  # fmt: skip
    images = images_of(findings, {p.name: p.root for p in pools}, manifest.schema)
    rows = sample(images, MEASURED)
    with console.counting("Measuring images") as tell:
        values = scan([images.file(int(r)) for r in rows], tell, threads=cores(), max_pixels=config.data.max_pixels,
                      depth=config.data.depth)  # fmt: skip
    return Exploration(
        config.data, manifest.message, manifest.notes, refusal, images,
        copies_of(findings), Pixels(rows, values), _embedding(config, images, on_map, manifest, console),
    )  # fmt: skip


def read(config: DataConfig, console: Console) -> tuple[Manifest, str]:
    """The data set as training would split it; where training would refuse it, without a validation set, and why.

    Raises:
        DataError: there is nothing to look at.
    """
    try:
        return read_manifest(config, console), ""
    except DataError as error:
        manifest = read_rows(config, Console(quiet=True))
        console.warn(f"Training would refuse these data: {error.problem}")
        return manifest, error.problem


def _embedding(config: RunConfig, images: Images, most: int, manifest: Manifest, console: Console) -> Embedding | None:
    rows = sample(images, most)
    if len(rows) < FEWEST:
        return None
    kept, features = embed(config, images, rows, manifest, console)
    return embedding_of(images, kept, features)


def embed(
    config: RunConfig, images: Images, rows: NDArray[np.int64], manifest: Manifest, console: Console
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rows that can be read now, and (n, d) what the embedded backbone sees in them; kept in the cache folder."""
    from ssl_mask.inference.features import frozen_backbone
    from ssl_mask.inference.predictor import Compute
    from ssl_mask.models.classifier import build_classifier

    accelerator = make_accelerator("fp32")
    own = config.model_copy(update={"model": ModelConfig()})
    model, size = build_classifier({"joint": 2}, neck="none")
    model.to(accelerator.device)
    files = [images.file(int(r)).absolute().as_posix() for r in rows]
    wanted = manifest.with_rows(Row(file, "", "unlabeled", file, None) for file in files)
    with console.counting("Opening images for the map") as tell:
        opened = open_images(wanted, own.data, size, tolerant=True, on_progress=tell)
    kept = np.asarray([file not in opened.left_out for file in files], np.bool_)
    if not len(opened):
        return rows[:0], np.empty((0, model.pooled_size), np.float32)
    backbone = frozen_backbone(model, own, size, len(opened), Compute(accelerator, console, workers=0))
    return rows[kept], backbone.features(opened)


def explore(config: RunConfig, *, out: str | Path = "explore.html", on_map: int = ON_MAP, quiet: bool = False) -> Path:
    """Write a data set as one HTML page, which opens from disk: classes, groups, copies, unusual images, a map.

    Args:
        config: `data` says where the images are; no other setting counts.
        out: the file.
        on_map: images that the embedded backbone looks at, for the map and to compare pools; 0: none.

    Returns:
        The file.

    Raises:
        DataError: no data set, or a bad row.
        StorageError: the file cannot be written.

    Examples:
        >>> import ssl_mask
        >>> config = ssl_mask.load_config({"data": {"root": "faces"}}, preset="laptop")
        >>> ssl_mask.explore(config, on_map=0, quiet=True).name
        'explore.html'
    """
    with nothing_written():
        found = gather(config, Console(quiet=quiet), on_map=on_map)
        return write(found, config.data, Path(out)).path


def write(found: Exploration, reading: DataConfig, out: Path) -> WrittenPage:
    """Write the page of what was gathered. Raises StorageError."""
    album = Album(max_pixels=reading.max_pixels, depth=reading.depth)
    return write_page(out, explore_html(found, album), album)
