"""Which images are to be predicted: those that are named, or the test images of a data set."""

from __future__ import annotations

import glob
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.checks import check_names, refuse_escapes
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.layouts.images import read_images
from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError, ModelError

if TYPE_CHECKING:  # an exported network predicts without torch
    from ssl_mask.inference.predictor import Predictor

OWN_TEST = "test"
"""Name of the data set's own test images."""


def rows_to_predict(
    predictor: Predictor, images: str | Path | None, data: str | Path | None, console: Console
) -> tuple[Manifest, str]:
    """The images to predict, in the order asked, and a short name for them.

    Args:
        images: a folder, an image, a glob, or a CSV with an image column; no data set is then needed.
        data: the data set whose test images are meant. None: the one that the first source run was trained on.

    Raises:
        DataError: no such images.
        ModelError: the data set has other classes.
    """
    from ssl_mask.inference.gallery_predictor import GalleryPredictor

    if images is not None:
        return named_images(images, predictor.schema, predictor.submission, console)
    # A gallery may know classes that joined it after the run that embeds was trained.
    trained = predictor.embedder if isinstance(predictor, GalleryPredictor) else predictor
    first = predictor.sources[0]
    manifest = test_images(first.reading, data, trained.schema, first.run.path, console)
    if manifest.schema != predictor.schema:
        manifest = replace(manifest, schema=predictor.schema, submission=predictor.submission)
    return manifest, OWN_TEST


def named_images(
    images: str | Path, schema: LabelSchema, submission: Submission, console: Console
) -> tuple[Manifest, str]:
    """The images that a user names, and a short name for them. Raises DataError: there are none."""
    named = read_images(images, schema, submission)
    check_names(named, console)
    return named, pool_name(images)


def test_images(
    config: DataConfig, data: str | Path | None, schema: LabelSchema, trained: Path, console: Console
) -> Manifest:
    """The test images of a data set.

    Args:
        config: how the data set was read when the networks were trained.
        data: its folder; None: where it was then.
        schema: the classes that the networks were trained for.
        trained: the run, the gallery or the exported network, for messages.

    Raises:
        DataError: no such images. ModelError: the data set has other classes.
    """
    root = Path(data) if data is not None else config.root
    found = read_dataset(root, layout=config.layout, options=config.options, unlabeled=config.unlabeled)
    if config.factor is not None and found.schema != schema:  # that of a model of one factor alone
        found = found.of_factor(config.factor)
    manifest = found.where("test")
    check_names(manifest, console)
    if config.outside_root == "refuse":
        refuse_escapes(manifest)
    if not len(manifest):
        raise DataError(f"{root} has no test images.", hint="Name what to predict: --images DIR or --images CSV")
    if manifest.schema != schema:
        raise ModelError(
            f"{trained} was trained for other classes than those of {root}.",
            hint="Predict that data set with a run of its own, or give the images alone: --images DIR",
        )
    console.say(f"Data   {manifest.message}, in {root.absolute()}")
    for note in manifest.notes:
        console.warn(note)
    return manifest


def pool_name(images: str | Path) -> str:
    """A short name for a folder, a file or a glob, to be the name of a folder: `new` of `faces/new/*.jpg`.

    Never that of the data set's own test images, whose submission it would replace.
    """
    place = Path(images)
    while glob.has_magic(place.name) and not place.exists():
        place = place.parent
    name = Path(os.path.normpath(place.absolute())).stem or "images"
    return f"{name}-images" if name == OWN_TEST else name
