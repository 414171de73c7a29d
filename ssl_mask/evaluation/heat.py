"""Where the heat of a map lies, in numbers and words: what a picture in colours shows, for who cannot see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.images import Resize

CENTRE = 0.5
"""Area of the central part: a centred square."""
_ROWS, _COLUMNS = ("top", "", "bottom"), ("left", "", "right")


@dataclass(frozen=True)
class Heat:
    """Which places of an image spoke for the class that was predicted."""

    factor: str
    """The factor, or `joint`: all factors are one class."""
    predicted: str
    """Its class, whose score is explained."""
    model: str
    """The run that is explained."""
    cells: NDArray[np.float32]
    """(h, w) from 0 up, of equal parts of what the network sees of the image."""
    resize: Resize = "crop"
    """How that is cut out of the image."""


@dataclass
class Explained:
    """What of some predictions could be explained."""

    heats: dict[int, list[Heat]] = field(default_factory=dict)
    """Row of the predictions table -> a map of each factor that is wrong there."""
    gone: set[int] = field(default_factory=set)
    """Rows whose image cannot be read now, or has changed."""


def central_share(cells: NDArray[np.floating[Any]], area: float = CENTRE) -> float | None:
    """The share of a map's sum that lies in its central part; a cell that is partly in it counts in part.

    Args:
        cells: (h, w) from 0 up, of equal parts of a square.
        area: of the central part, in (0, 1]. A map that is equal everywhere has this share.

    Returns:
        None where the map is zero.
    """
    total = float(cells.sum())
    if total <= 0:
        return None
    rows, columns = (_inside(size, area**0.5) for size in cells.shape)
    return float(rows @ cells @ columns) / total


def _inside(parts: int, share: float) -> NDArray[np.float64]:
    """(parts,) how much of each of some equal parts of a line lies in the middle of it."""
    low, high = parts * (1 - share) / 2, parts * (1 + share) / 2
    at = np.arange(parts)
    inside: NDArray[np.float64] = np.clip(np.minimum(at + 1, high) - np.maximum(at, low), 0.0, 1.0)
    return inside


def hottest(cells: NDArray[np.floating[Any]]) -> str:
    """Where the largest value of an (h, w) map is, in ninths: `top left`, `left`, `centre`, …"""
    row, column = np.unravel_index(int(cells.argmax()), cells.shape)
    words = [names[min(2, int(3 * (at + 0.5) / size))]
             for names, at, size in zip((_ROWS, _COLUMNS), (row, column), cells.shape, strict=True)]  # fmt: skip
    return " ".join(filter(None, words)) or "centre"


def heat_words(cells: NDArray[np.floating[Any]]) -> str:
    """A map in words."""
    share = central_share(cells)
    if share is None:
        return "no heat: no place speaks for it"
    return f"{share:.0%} of the heat in the central half, hottest {_at(hottest(cells))}"


def _at(place: str) -> str:
    return "in the centre" if place == "centre" else f"at the {place}"
