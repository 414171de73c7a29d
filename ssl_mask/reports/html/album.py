"""The images of a page: small copies inside the page itself, as many as its size allows.

An image is decoded once, when it is first asked for; after that only its small copy is kept. So the memory of the
command and the size of the page depend on what is shown, not on how many images there are.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_mask.data.depth import FULL
from ssl_mask.data.images import MAX_PIXELS, decode, open_regular
from ssl_mask.errors import ImageError
from ssl_mask.evaluation.heat import Heat
from ssl_mask.reports.html.heat import overlay, says
from ssl_mask.text import shown

BUDGET = 4_000_000
"""Bytes of small copies and captions, as they stand in the page."""
SIDE = 128
"""Pixels of the longer side of a small copy."""
QUALITY = 62
CAPTION = 90
"""Bytes of a picture's record beside its texts."""
MOST = 3000
"""Pictures on a page, where small copies are not what fills it."""


@dataclass(frozen=True)
class Picture:
    """An image and what is known of it."""

    path: str
    """As the data set names it."""
    file: Path
    sha256: str = ""
    group: str = ""
    true: int = -1
    """Joint class; -1 unknown."""
    predicted: int = -1
    confidence: float | None = None
    """Of the predicted class."""
    truth: float | None = None
    """Probability of the true class."""
    note: str = ""
    heats: tuple[Heat, ...] = ()
    """Where a network looked."""


@dataclass
class Album:
    """The pictures of a page. Each is there once, however many sections show it."""

    full: bool = False
    """Link the images themselves, too."""
    budget: int = BUDGET
    max_pixels: int = MAX_PIXELS
    depth: int = FULL
    pictures: list[dict[str, Any]] = field(default_factory=list)
    """For the page's script: n(ame), g(roup), t(rue) and p(redicted) joint class, c(onfidence), l(abel's probability),
    s(mall copy: its number, or -1), w(ords), u(rl), h(eat: number of a small copy and words, of each map)."""
    copies: list[str] = field(default_factory=list)
    """Small copies as data URIs."""
    gone: set[str] = field(default_factory=set)
    """Paths of images that are not there now, or cannot be read."""
    changed: set[str] = field(default_factory=set)
    """Paths of images that are not what they were."""
    _places: dict[tuple[str, str], int] = field(default_factory=dict)
    _copied: dict[Path, int] = field(default_factory=dict)
    _heated: dict[Path, list[tuple[int, str]]] = field(default_factory=dict)
    _used: int = 0

    @property
    def images(self) -> int:
        """How many images have a small copy."""
        return sum(number >= 0 for number in self._copied.values())

    def add(self, picture: Picture) -> int | None:
        """The number of a picture on the page; None where the page is full."""
        key = (str(picture.file), picture.note)
        if key in self._places:
            return self._places[key]
        if self._used >= self.budget or len(self.pictures) >= MOST:
            return None
        record = self._record(picture)
        self._used += CAPTION + sum(len(json.dumps(v)) for v in record.values() if isinstance(v, str))
        self._places[key] = len(self.pictures)
        self.pictures.append(record)
        return self._places[key]

    def add_all(self, pictures: list[Picture]) -> list[int]:
        """The numbers of those for which there is room."""
        return [number for number in map(self.add, pictures) if number is not None]

    def _record(self, picture: Picture) -> dict[str, Any]:
        record: dict[str, Any] = {
            "n": shown(picture.path), "g": shown(picture.group), "t": picture.true, "p": picture.predicted,
            "c": _rounded(picture.confidence), "l": _rounded(picture.truth), "s": self._small(picture),
        }  # fmt: skip
        if picture.note:
            record["w"] = shown(picture.note)
        if self._heated.get(picture.file):
            record["h"] = self._heated[picture.file]
        if self.full and record["s"] >= 0:
            record["u"] = picture.file.absolute().as_uri()
        return record

    def _small(self, picture: Picture) -> int:
        """The number of the small copy; -1 where the image cannot be read now."""
        if picture.file not in self._copied:
            pixels = self._pixels(picture)
            self._copied[picture.file] = -1 if pixels is None else self._keep(pixels)
            if pixels is not None:
                drawn = [(overlay(pixels, heat), shown(says(heat))) for heat in picture.heats]
                self._heated[picture.file] = [(self._keep(over), words) for over, words in drawn]
        return self._copied[picture.file]

    def _keep(self, pixels: NDArray[np.uint8]) -> int:
        self.copies.append(written(pixels))
        self._used += len(self.copies[-1])
        return len(self.copies) - 1

    def _pixels(self, picture: Picture) -> NDArray[np.uint8] | None:
        """The image as it is now, small; None where it cannot be read."""
        try:
            with open_regular(picture.file) as file:
                content = file.read()
            pixels = decode(picture.file, content, max_pixels=self.max_pixels, depth=self.depth)
        except ImageError:
            self.gone.add(picture.path)
            return None
        if picture.sha256 and hashlib.sha256(content).hexdigest() != picture.sha256:
            self.changed.add(picture.path)
        return shrunk(pixels)


def small_copy(pixels: NDArray[np.uint8]) -> str:
    """(H, W, 3) RGB as a data URI of a WebP whose longer side has at most `SIDE` pixels."""
    return written(shrunk(pixels))


def shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB with at most `SIDE` pixels on the longer side."""
    height, width = pixels.shape[:2]
    factor = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def written(pixels: NDArray[np.uint8]) -> str:
    """(H, W, 3) RGB as a data URI of a WebP."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
