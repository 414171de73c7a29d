"""The labeled images that a run or a study was trained and validated on, as it kept them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.names import Split
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError, MismatchError
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source

SPLITS: tuple[Split, ...] = ("train", "val")
LABELED = "labeled"
"""Name of these images, where others are named by their folder."""


def labeled_images(source: Source) -> Manifest:
    """The training and validation images of all runs of a source, each once, with digests, by absolute path.

    Raises:
        DataError: a manifest is missing or damaged, or factor models were trained on other images each.
    """
    if source.kind == "factors":
        return _of_factors([labeled_images(part) for part in source.parts], source.schema, source.submission)
    each = [images_of_run(run) for run in source.members]
    rows: dict[str, Row] = {}
    for one in each:
        for row in one.rows:
            rows.setdefault(row.path, row)
    return replace(each[0], rows=tuple(rows.values()), grouped=all(one.grouped for one in each))


def images_of_run(run: RunDir, *splits: str) -> Manifest:
    """The labeled images of one run, of both splits or of some, with digests, by absolute path.

    Raises:
        DataError: its manifest is missing or damaged.
    """
    about, data = read_metadata(run.best), run.data()
    schema, rows = about.label_schema, list[Row]()
    for where, cells in read_csv(run.manifest, columns=("path", "group", "split", "sha256", *about.label_schema.sizes)):
        for split in SPLITS:
            if cells["split"] == split and split in (splits or SPLITS):
                path = str((Path(data.root) / cells["path"]).absolute())
                labels = schema.encode(cells, where=where)
                rows.append(Row(path, cells["group"], split, where, labels, digest=cells["sha256"]))
    message = f"{len(rows)} labeled images of {run.path}"
    return Manifest(Path(data.root), data.layout, schema, tuple(rows), data.grouped, about.submission, message)


def images_of_model(model: Source, *splits: str) -> Manifest:
    """The labeled images of a run, or of the factor models of one fold, with the labels of all factors.

    Raises:
        DataError: as `labeled_images`.
    """
    each = [images_of_run(run, *splits) for run in model.members]
    return each[0] if model.kind == "run" else _of_factors(each, model.schema, model.submission)


def refuse_changed(then: Manifest, now: Manifest) -> None:
    """Raises MismatchError where an image has other bytes than when its label was trained on."""
    for before, after in zip(then.rows, now.rows, strict=True):
        if before.digest and after.digest and before.digest != after.digest:
            raise MismatchError(
                f"{before.path} has changed since it was trained on ({before.source}).",
                hint="Restore it, or train again.",
            )


def _of_factors(parts: Sequence[Manifest], schema: LabelSchema, submission: Submission) -> Manifest:
    """The images that all factor models know, with the labels of all factors."""
    labels = [{row.path: row.labels for row in part.rows} for part in parts]
    rows = []
    for row in parts[0].rows:
        each = [known.get(row.path) for known in labels]
        if any(own is None for own in each):
            raise DataError(
                f"{row.path} is not known to the models of all factors.",
                hint="The data has changed: begin a new study.",
            )
        rows.append(row._replace(labels=tuple(own[0] for own in each if own)))
    return replace(parts[0], schema=schema, submission=submission, rows=tuple(rows))
