"""`sslmask gallery search`: the nearest images of a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ssl_mask.data.layouts.images import read_images
from ssl_mask.errors import nothing_written
from ssl_mask.inference.embeddings import one_process
from ssl_mask.inference.gallery_predictor import gallery_predictor
from ssl_mask.inference.load import load_predictor
from ssl_mask.reports.neighbour_sheet import neighbour_sheet
from ssl_mask.runs.gallery import find_gallery
from ssl_mask.runs.sources import gallery_source


class Hit(NamedTuple):
    """An image of a gallery that is near another one."""

    cosine: float
    label: str
    """Its joint class."""
    group: str
    path: str


def search_gallery(
    images: str | Path,
    *,
    gallery: str | Path = "latest",
    runs_folder: str | Path = "runs",
    k: int = 10,
    cache: str = "auto",
    quiet: bool = False,
) -> dict[str, list[Hit]]:
    """The nearest images of a gallery: of each person (group) the nearest one.

    Args:
        images: an image, a folder, a glob, or a CSV with an image column.
        k: neighbours of each.

    Returns:
        Path of each image -> its neighbours, the nearest first.

    Raises:
        DataError: no such gallery, no images. ImageError: an unreadable image.

    Examples:
        >>> from pathlib import Path
        >>> import ssl_mask
        >>> near = ssl_mask.search_gallery(next(Path("faces/extra").iterdir()), gallery="faces", k=3, quiet=True)
        >>> [len(hits) for hits in near.values()]
        [3]
    """
    compute = one_process(quiet=quiet)
    with nothing_written():
        home = find_gallery(gallery, Path(runs_folder))
        source = gallery_source(home, Path(runs_folder))
        predictor = gallery_predictor(source, load_predictor(source.parts, compute, cache=cache), compute)
        rows = read_images(images, predictor.schema, predictor.submission)
        near = predictor.nearest(predictor.embed(rows).vectors, k)
        names, table = predictor.schema.class_names(predictor.labels), predictor.table
        return {
            str(file): [
                Hit(float(cosine), "/".join(names[i]), str(table.group[i]), str(table.path[i]))
                for cosine, i in zip(near.cosine[q].tolist(), near.rows[q].tolist(), strict=True)
                if i >= 0
            ]
            for q, file in enumerate(rows.files)
        }


def write_neighbours(hits: Mapping[str, Sequence[Hit]], out: str | Path) -> Path:
    """Draw what `search` found as a PNG: each image and its neighbours. Raises StorageError."""
    return neighbour_sheet(hits, Path(out), title="The nearest images of each person (group), with their cosines")
