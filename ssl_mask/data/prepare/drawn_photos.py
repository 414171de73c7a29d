"""Which photos get a mask drawn on, and what is written down about it.

    image,group,<factor>…,synthetic,source,sha256

The table has the form of `data.extra_labels`: its rows join the training images after the split, each in the group of
its photo, so that none is ever validated on, and none of a person who is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.digests import read_file
from ssl_mask.data.extra_labels import DIGEST, GROUP, IMAGE, read_extra_labels
from ssl_mask.data.images import decode
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.prepare.blazeface import Face
from ssl_mask.data.prepare.crop import main_face
from ssl_mask.data.prepare.drawn_masks import Worn, draw_mask
from ssl_mask.data.prepare.encode import encode
from ssl_mask.data.prepare.record import DRAWN, PreparedRow
from ssl_mask.errors import ConfigError, DataError, ImageError, did_you_mean
from ssl_mask.text import csv_text, inert

FOLDER, SYNTHETIC = "drawn", "synthetic.csv"
"""Below the new data folder; the table marks the folder as written by sslmask, so that no layout reads it as data."""
KIND, SOURCE = "synthetic", "source"
INTO = "kept: drawn into"
_WRITE = "Write it as --draw-masks mask=none,worn,incorrect (or without the last class)."


@dataclass(frozen=True)
class DrawSettings:
    """Which class is drawn into, and which classes that makes."""

    factor: str
    bare: str
    right: str
    """Class of a mask over nose and mouth."""
    wrong: str = ""
    """Class of a mask that is below the nose, or on the chin. Empty: none is drawn."""
    extra_labels: str = ""
    """A CSV of further faces. Empty: none."""


class Bare(NamedTuple):
    """A photo to draw into."""

    group: str
    labels: Mapping[str, str]
    """Factor -> name of its class, as it is."""
    made: Mapping[Worn, str]
    """How the mask is worn -> the class that the photo has then."""


def parse_draw(text: str, extra_labels: Path | None = None) -> DrawSettings:
    """`factor=bare,right[,wrong]`. Raises ConfigError."""
    if not text:
        raise ConfigError("--extra-labels is for --draw-masks, which is missing.", hint=_WRITE)
    factor, equals, names = text.partition("=")
    classes = [name.strip() for name in names.split(",")]
    if not (factor.strip() and equals and 2 <= len(classes) <= 3 and all(classes)):
        raise ConfigError(f"--draw-masks {text!r} does not name a factor and two or three of its classes.", hint=_WRITE)
    if len({*classes}) < len(classes):
        raise ConfigError(f"--draw-masks {text!r} names a class twice.", hint=_WRITE)
    bare, right, wrong = (*classes, "")[:3]
    return DrawSettings(factor.strip(), bare, right, wrong, "" if extra_labels is None else str(extra_labels))


def bare_photos(root: Path, settings: DrawSettings) -> dict[str, Bare]:
    """Path -> photo, of the training images (and further faces) of bare faces. Validation and test photos are none.

    Raises:
        ConfigError: no such factor or class. DataError: a data set that cannot be read, no bare face, further faces
            outside of its folder, or a folder `drawn` of the user's own.
    """
    manifest = read_dataset(root)
    schema = manifest.schema
    factors = {factor.name: factor.classes for factor in schema.factors}
    if settings.factor not in factors:
        hint = did_you_mean(settings.factor, list(factors))
        raise ConfigError(f"--draw-masks: there is no factor {settings.factor!r}.", hint=hint)
    made: dict[Worn, str] = {"right": settings.right}
    if settings.wrong:
        made["wrong"] = settings.wrong
    for name in (settings.bare, *made.values()):
        if name not in factors[settings.factor]:
            hint = did_you_mean(name, list(factors[settings.factor]))
            raise ConfigError(f"--draw-masks: {settings.factor} has no class {name!r}.", hint=hint)
    for name in {KIND, SOURCE, IMAGE, GROUP, DIGEST} & factors.keys():
        raise DataError(f"The factor {name!r} has the name of a column of {SYNTHETIC}.", hint="Rename it.")
    rows = list(manifest.where("train").rows)
    if settings.extra_labels:
        rows += read_extra_labels([Path(settings.extra_labels)], schema, root.absolute())[0]
    found: dict[str, Bare] = {}
    for row in rows:
        labels = {f.name: f.classes[i] for f, i in zip(schema.factors, row.labels or (), strict=True)}
        if labels[settings.factor] != settings.bare:
            continue
        if Path(row.path).is_absolute():
            raise DataError(f"{row.source}: {row.path} is not below {root}.", hint="Copy the photos into that folder.")
        found[row.path] = Bare(row.group, labels, made)
    if not found:
        raise DataError(f"No training image of {root} is {settings.factor} {settings.bare!r}.", hint=_WRITE)
    if any(row.path.startswith(f"{FOLDER}/") for row in manifest.rows):
        raise DataError(f"{root} has images in a folder {FOLDER}/ of its own.", hint="Rename that folder.")
    return found


def drawn_path(path: str, worn: Worn) -> str:
    """Where the photo with a mask is, below the data folder."""
    photo = PurePosixPath(path)
    return f"{FOLDER}/{photo.with_name(f'{photo.stem}-{worn}{photo.suffix}')}"


def draw_photo(
    path: Path, name: str, bare: Bare | None, find: Callable[[NDArray[np.uint8], float], list[Face]], *,
    min_confidence: float, max_pixels: int,
) -> list[tuple[PreparedRow, bytes]]:  # fmt: skip
    """The photo as it is and, where it is a bare face, with masks drawn on: rows and the bytes of the files.

    The same photo gets the same masks, wherever and whenever.

    Args:
        name: its path below the data folder.
        bare: None: another photo, which is only copied.

    Raises:
        ImageError: the file cannot even be read as bytes.
    """
    file = read_file(path)

    def kept(what: str, faces: int = 0, confidence: float = 0.0) -> tuple[PreparedRow, bytes]:
        row = PreparedRow(name, what, faces, confidence, "", None, (file.digest,), file.digest)
        return row, file.content

    if bare is None:
        return [kept("kept: not drawn into")]
    try:
        picture = decode(path, file.content, max_pixels=max_pixels)
    except ImageError as error:
        return [kept(f"kept: cannot be read ({error.problem.removeprefix(f'{path}: ')})")]
    faces = find(picture, min_confidence)
    if not faces:
        return [kept("kept: no face")]
    face = main_face(faces, picture.shape[1], picture.shape[0])
    sure = round(face.confidence, 4)
    written = []
    for number, worn in enumerate(bare.made):
        made = draw_mask(picture, face, worn, np.random.default_rng([int(file.digest[:16], 16), number]))
        if made is None:
            return [kept("kept: no room for a mask", len(faces), sure)]
        content = encode(made.picture, file.content)
        digest = hashlib.sha256(content).hexdigest()
        what, sources = f"{DRAWN}{made.what}", (file.digest,)
        row = PreparedRow(drawn_path(name, worn), what, len(faces), sure, "", None, sources, digest)
        written.append((row, content))
    return [kept(INTO, len(faces), sure), *written]


def synthetic_csv(settings: DrawSettings, bare: Mapping[str, Bare], rows: Iterable[PreparedRow]) -> str:
    """The labels of what was drawn, for `data.extra_labels`."""
    drawn = {row.path: row for row in rows if row.what.startswith(DRAWN)}
    factors = list(next(iter(bare.values())).labels)
    lines = [[IMAGE, GROUP, *factors, KIND, SOURCE, DIGEST]]
    for path, photo in sorted(bare.items()):
        for worn, name in photo.made.items():
            if (row := drawn.get(drawn_path(path, worn))) is not None:
                labels = {**photo.labels, settings.factor: name}
                what = row.what.removeprefix(DRAWN)
                lines.append([row.path, photo.group, *(labels[f] for f in factors), what, path, row.sha256])
    return csv_text([[inert(cell) for cell in cells] for cells in lines])
