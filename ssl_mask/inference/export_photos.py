"""Photos that an exported network is compared on, and what its 8-bit sibling is calibrated on."""

from __future__ import annotations

from typing import NamedTuple

from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import DataError
from ssl_mask.inference.labeled import images_of_run, labeled_images
from ssl_mask.runs.sources import Source

INSTEAD = 500
"""So many training photos where a run has no validation."""


class ExportPhotos(NamedTuple):
    """Labeled photos of a run or a study, with the labels of all factors."""

    compared: Manifest
    """Every validation photo of each of its runs; without validation the first training photos."""
    held_out: bool
    """Whether no run was trained on these."""
    trained: Manifest
    """Photos that each run was trained on or, in a study of folds, at least one."""


def photos_of(source: Source) -> ExportPhotos:
    """Raises DataError: a manifest is missing or damaged, or holds no photo."""
    known = labeled_images(source)
    validation = {row.path for run in source.members for row in images_of_run(run, "val").rows}
    trained = {row.path for run in source.members for row in images_of_run(run, "train").rows}
    compared = known.with_rows(row for row in known.rows if row.path in validation)
    learned = known.with_rows(row for row in known.rows if row.path in trained)
    if not len(known):
        raise DataError(f"{source.path} names no labeled photos to compare with.", hint="Restore its manifest.csv.")
    if not len(compared):
        compared = learned.with_rows(learned.rows[:INSTEAD])
    return ExportPhotos(compared, not any(row.path in trained for row in compared.rows), learned)
