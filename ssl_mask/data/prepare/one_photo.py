"""One photo: find the face, cut it out, take the background away, and say what was done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ssl_mask.data.digests import read_file
from ssl_mask.data.images import decode
from ssl_mask.data.prepare.blazeface import Face, FaceDetector
from ssl_mask.data.prepare.crop import Box, crop_around, main_face
from ssl_mask.data.prepare.drawn_photos import DrawSettings
from ssl_mask.data.prepare.encode import encode
from ssl_mask.data.prepare.record import PreparedRow
from ssl_mask.data.prepare.selfie import LOST, Background, PersonFinder, with_background
from ssl_mask.errors import ImageError

Faces = Literal["crop", "keep"]
MARGIN, MIN_CONFIDENCE = 0.3, 0.5


@dataclass(frozen=True)
class PrepareSettings:
    """What is done to each photo."""

    faces: Faces = "crop"
    margin: float = MARGIN
    """Around the face, on each side, as a share of its longer side."""
    min_confidence: float = MIN_CONFIDENCE
    """A face that the detector is less sure of is none."""
    background: Background = "keep"
    max_pixels: int = 50_000_000
    draw: DrawSettings | None = None
    """Draw masks into bare faces; the photos themselves stay as they are."""


class Models(NamedTuple):
    """Of one thread."""

    faces: FaceDetector
    persons: PersonFinder | None


def prepare_photo(path: Path, name: str, settings: PrepareSettings, models: Models) -> tuple[PreparedRow, bytes]:
    """What is written down about a photo, and the bytes of the prepared file.

    A photo without a face, or one that cannot be read, is kept as it is, byte by byte.

    Args:
        name: its path below the data folder.

    Raises:
        ImageError: the file cannot even be read as bytes.
    """
    file = read_file(path)

    def kept(what: str, faces: list[Face]) -> tuple[PreparedRow, bytes]:
        return PreparedRow(name, what, *_told(faces, None), None, (file.digest,), file.digest), file.content

    try:
        picture = decode(path, file.content, max_pixels=settings.max_pixels)
    except ImageError as error:
        return kept(f"kept: cannot be read ({error.problem.removeprefix(f'{path}: ')})", [])
    height, width = picture.shape[:2]
    faces = models.faces(picture, settings.min_confidence)
    if not faces:
        return kept("kept: no face", [])
    face = main_face(faces, width, height)
    box = crop_around(face, settings.margin, width, height) if settings.faces == "crop" else Box(0, 0, width, height)
    cut = picture[box.top : box.bottom, box.left : box.right]
    what = "cropped" if settings.faces == "crop" else "background only"
    if models.persons is not None:
        person = models.persons(cut)
        rows, columns = (
            _inside(face.top - box.top, face.bottom - box.top),
            _inside(face.left - box.left, face.right - box.left),
        )
        inside = person[rows, columns]
        if inside.size and float(inside.mean()) >= LOST:
            cut = with_background(cut, person, settings.background)
        elif settings.faces == "keep":
            return kept("kept: no person", faces)
        else:
            what = "cropped, background kept: no person"
    if cut.shape == picture.shape and (cut == picture).all():
        return kept("kept: all of it is face", faces)
    content = encode(cut, file.content)
    row = PreparedRow(name, what, *_told(faces, face), box, (file.digest,), hashlib.sha256(content).hexdigest())
    return row, content


def _inside(low: float, high: float) -> slice:
    return slice(max(0, round(low)), max(0, round(high)))


def _told(faces: list[Face], chosen: Face | None) -> tuple[int, float, str]:
    """How many faces, how sure the chosen one is, and where the others are."""
    others = [
        f"{f.left:.0f} {f.top:.0f} {f.right:.0f} {f.bottom:.0f} {f.confidence:.2f}" for f in faces if f is not chosen
    ]
    return len(faces), round(chosen.confidence, 4) if chosen else 0.0, "; ".join(others)
