"""Images and their nearest in a gallery, as one PNG: a row an image, the image first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ssl_mask.data.images import decode, fit
from ssl_mask.errors import ImageError
from ssl_mask.reports.contact_sheet import Cell, Layout, Pixels, cut_front, grid, save
from ssl_mask.text import shown

SIDE = 150
MOST = 100
"""Rows of a sheet."""


class Neighbour(Protocol):
    """An image of a gallery that is near another one."""

    @property
    def cosine(self) -> float: ...

    @property
    def label(self) -> str: ...

    @property
    def group(self) -> str: ...

    @property
    def path(self) -> str: ...


def neighbour_sheet(near: Mapping[str, Sequence[Neighbour]], out: Path, *, title: str) -> Path:
    """Draw the first hundred images. A neighbour that cannot be read any more is a grey square.

    Args:
        near: path of each image -> its neighbours, the nearest first.

    Raises:
        StorageError: the file cannot be written.
    """
    columns = 1 + max(map(len, near.values()), default=0)
    cells: list[Cell] = []
    for image, hits in list(near.items())[:MOST]:
        row = [Cell([_picture(image)], ["searched", cut_front("", shown(image), SIDE)])]
        for hit in hits:
            label = shown(hit.label) + (f" ({shown(hit.group)})" if hit.group else "")
            row.append(Cell([_picture(hit.path)], [f"{hit.cosine:.3f}", label, cut_front("", shown(hit.path), SIDE)]))
        cells += row + [Cell([_blank()])] * (columns - len(row))
    return save([grid(shown(title), cells, Layout(SIDE, pictures=1, lines=3, columns=columns))], out)


def _picture(path: str) -> Pixels:
    try:
        return fit(decode(Path(path)), SIDE, "pad")
    except ImageError:
        return _blank()


def _blank() -> Pixels:
    return np.full((SIDE, SIDE, 3), 208, np.uint8)
