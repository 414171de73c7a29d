"""Where a network looked, drawn over the image: bright colours where something speaks for the class, grey elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.images import unfit
from ssl_mask.evaluation.heat import Explained, Heat, central_share, heat_words

PALE, COLOUR = 0.6, 0.75
"""Brightness of the grey image; how far the hottest place has the colour of the map."""


def overlay(pixels: NDArray[np.uint8], heat: Heat) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a whole image with its heat; what the network does not see of it is black."""
    height, width = pixels.shape[:2]
    top = max(float(heat.cells.max()), float(np.finfo(np.float32).tiny))
    whole = unfit(heat.cells / np.float32(top), height, width, heat.resize)
    seen = ~np.isnan(whole)
    strength = np.where(seen, whole, 0.0).clip(0, 1)
    grey = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2) * PALE
    colours = cv2.applyColorMap(np.round(255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    blend = COLOUR * strength[:, :, None]
    return np.asarray(np.where(seen[:, :, None], (1 - blend) * grey + blend * colours, 0), np.uint8)


def says(heat: Heat) -> str:
    """What a map shows, in words."""
    of = heat.predicted if heat.factor == "joint" else f"{heat.factor} {heat.predicted}"
    return f"{of}: {heat_words(heat.cells)}"


class Central(NamedTuple):
    """How much of the heat of a factor is in the middle of the images."""

    factor: str
    images: int
    """Whose map is not zero."""
    share: float
    """Their mean."""
    grid: str
    """Cells of a map, such as `4 × 4`."""


class Looked(NamedTuple):
    """What the maps of a page say together."""

    images: int
    gone: int
    models: tuple[str, ...]
    central: tuple[Central, ...]


def looked_of(explained: Explained | None) -> Looked | None:
    """None where it was not asked where the networks looked."""
    if explained is None:
        return None
    heats = [heat for own in explained.heats.values() for heat in own]
    models = tuple(dict.fromkeys(heat.model for heat in heats))
    return Looked(len(explained.heats), len(explained.gone), models, tuple(central(heats)))


def central(heats: Sequence[Heat]) -> list[Central]:
    """Of each factor, in the order of the maps."""
    found = []
    for factor in dict.fromkeys(heat.factor for heat in heats):
        own = [heat.cells for heat in heats if heat.factor == factor]
        shares = [share for share in map(central_share, own) if share is not None]
        grids = dict.fromkeys(f"{cells.shape[0]} × {cells.shape[1]}" for cells in own)
        if shares:
            found.append(Central(factor, len(shares), float(np.mean(shares)), ", ".join(grids)))
    return found
