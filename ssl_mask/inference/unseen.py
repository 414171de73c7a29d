"""Labeled images that a model was not trained on: what it says of new images is compared with what it says of these."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import DataError
from ssl_mask.inference.labeled import images_of_model
from ssl_mask.runs.sources import Source

MOST = 5_000
"""Images of each model; of more, some that are spread evenly. They tell a rate to a thousandth."""
ANOTHER_RUN = "Predict with a run that has validation images, or with a study of folds (sslmask train --folds 5)."


def unseen_images(model: Source) -> Manifest:
    """The validation images of a run, or of the factor models of one fold, with digests, by absolute path.

    Raises:
        DataError: there are none, or its manifest is missing or damaged.
    """
    rows = images_of_model(model, "val")
    if not len(rows):
        raise no_unseen_images(model)
    return rows.with_rows(rows.rows[i] for i in spread(len(rows)))


def no_unseen_images(model: Source) -> DataError:
    return DataError(f"{model.path} has no labeled images that it was not trained on.", hint=ANOTHER_RUN)


def spread(count: int) -> NDArray[np.int64]:
    """At most `MOST` of so many rows, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(np.int64))


def units(rows: Manifest) -> NDArray[np.str_]:
    """(n,) what was drawn together: the group of each image, or the image where its group is not known."""
    return np.asarray([(rows.grouped and row.group) or row.path for row in rows.rows], np.str_)
