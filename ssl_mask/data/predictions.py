"""THE predictions table: what a predictor says of images, as Parquet, one row an image.

    id, path, sha256, group, fold, true, predicted, p/<joint class> …, then what a writer adds

Validation of a run, predictions of test images, pools and shards have these columns, and whatever reads probabilities
(plots, cards, comparisons, selections, provenance) reads them here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.files import atomic_path
from ssl_mask.reading import reading, regular

TEXT = ("id", "path", "sha256", "group")
NUMBERS = ("fold", "true", "predicted")
TOLERANCE = 1e-4
"""Of a probability: float32, and the mean of several."""
MOST_INFLATED = 10_000
"""Bytes or rows in memory per byte of a file. Equal rows are compressed well, but not without end."""
ANEW = "Make it anew: train or predict again."


@dataclass(frozen=True)
class PredictedImages:
    """Images and what a predictor says of them, in the order asked."""

    manifest: Manifest
    """The rows asked for, with digests; an image that could not be opened has none."""
    probs: NDArray[np.float32]
    """(n, joint classes) calibrated probabilities; a row of NaN where the image is unreadable."""
    unreadable: Mapping[int, str]
    """Position of each unreadable image, and why."""


@dataclass(frozen=True)
class PredictionTable:
    """A predictions file that has been read and checked."""

    classes: tuple[str, ...]
    """Joint classes, in the order of their numbers."""
    id: NDArray[np.str_]
    path: NDArray[np.str_]
    """(n,) relative to the root of the data set; absolute in a shard."""
    sha256: NDArray[np.str_]
    group: NDArray[np.str_]
    fold: NDArray[np.int64]
    """(n,) the fold that the image was validation of; -1 where it was of none."""
    true: NDArray[np.int64]
    """(n,) true joint class; -1 unknown."""
    predicted: NDArray[np.int64]
    """(n,) most probable joint class; -1 for an image without a prediction."""
    probs: NDArray[np.float32]
    """(n, joint classes)."""
    more: Mapping[str, NDArray[Any]]
    """Further columns, by name."""

    def __len__(self) -> int:
        return len(self.path)


def predicted_class(probs: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) most probable joint class of (n, joint classes) probabilities, -1 for rows of NaN."""
    missing = np.isnan(probs).any(axis=1)
    return np.where(missing, -1, np.nan_to_num(probs).argmax(axis=1))


def write_predictions(
    path: Path,
    rows: Manifest,
    probs: NDArray[Any],
    *,
    fold: int = -1,
    more: Mapping[str, Sequence[Any] | NDArray[Any]] | None = None,
    metadata: Mapping[bytes, bytes] | None = None,
    row_group_size: int | None = None,
) -> None:
    """Write the table, atomically.

    Args:
        probs: (n, joint classes); a row of NaN has no prediction.
        fold: the fold that these images are validation of; -1: of none.
        more: further columns of length n.
        metadata: of the file, for who reads it block by block.

    Raises:
        StorageError: no room, or no permission.
    """
    known = rows.labels.min(axis=1, initial=0) >= 0
    text = [[r.id or r.path for r in rows.rows], *([getattr(r, n) for r in rows.rows] for n in ("path", "digest"))]
    text.append([r.group for r in rows.rows])
    numbers = [np.full(len(rows), fold, dtype=np.int64), np.where(known, rows.joint, -1), predicted_class(probs)]
    columns = {**dict(zip(TEXT, text, strict=True)), **dict(zip(NUMBERS, numbers, strict=True))}
    _write(path, columns, probs, rows.schema.joint_classes, more or {}, metadata, row_group_size)


def write_table(path: Path, table: PredictionTable) -> None:
    """Write a table that was made of others, atomically. Raises StorageError."""
    columns = {n: getattr(table, n).tolist() for n in TEXT} | {n: getattr(table, n) for n in NUMBERS}
    _write(path, columns, table.probs, table.classes, table.more)


def _write(
    path: Path, columns: Mapping[str, Any], probs: NDArray[Any], classes: Sequence[str], more: Mapping[str, Any],
    metadata: Mapping[bytes, bytes] | None = None, row_group_size: int | None = None,
) -> None:  # fmt: skip
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = {name: pa.array(c, pa.string()) if name in TEXT else c for name, c in columns.items()}
    made |= {f"p/{name}": probs[:, i].astype(np.float32) for i, name in enumerate(classes)}
    table = pa.table(made | dict(more)).replace_schema_metadata(dict(metadata or {}))
    with atomic_path(path) as partial:
        pq.write_table(table, partial, row_group_size=row_group_size)


def read_predictions(path: Path, schema: LabelSchema | None = None, *, more: Sequence[str] = ()) -> PredictionTable:
    """Read the table, checked.

    Args:
        schema: the classes that it must be of; None: any.
        more: names of further columns that it must have; those that it has beyond them are read too.

    Raises:
        DataError: missing, damaged, without one of the columns, or of other classes; names the file.
    """
    import pyarrow.parquet as pq

    with reading(path, DataError, hint=ANEW):
        with pq.ParquetFile(regular(path)) as file:
            _refuse_inflated(file.metadata, path.stat().st_size)
            table = file.read()
        _refuse_missing([*TEXT, *NUMBERS, *more], table.column_names, path)
        probs = [n for n in table.column_names if n.startswith("p/")]
        _refuse_other_classes(probs, schema, path)
        text = {n: _text(table, n) for n in TEXT}
        numbers = {n: _numbers(table, n).astype(np.int64, casting="same_kind") for n in NUMBERS}
        stacked = np.stack([_numbers(table, n).astype(np.float32) for n in probs], axis=1)
        others = {n: _array(table.column(n)) for n in table.column_names if n not in {*TEXT, *NUMBERS, *probs}}
    _refuse_no_class(numbers, len(probs), path)
    refuse_no_probabilities(stacked, str(path))
    return PredictionTable(
        tuple(n.removeprefix("p/") for n in probs), text["id"], text["path"], text["sha256"], text["group"],
        numbers["fold"], numbers["true"], numbers["predicted"], stacked, others,
    )  # fmt: skip


def read_validation(path: Path, schema: LabelSchema | None = None) -> PredictionTable:
    """The predictions of a run's validation images: at least one, and each with a class.

    Raises:
        DataError: as `read_predictions`, or no such images.
    """
    table = read_predictions(path, schema)
    if table.true.min(initial=0) < 0 or not len(table):
        raise DataError(f"{path} holds {'an image without a class' if len(table) else 'no images'}.", hint=ANEW)
    return table


def _refuse_inflated(metadata: Any, size: int) -> None:
    """A table of ours is at most some hundred times larger in memory than its file, however alike its rows are."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    if metadata.num_rows < 0 or max([metadata.num_rows, *(g.total_byte_size for g in groups)]) > MOST_INFLATED * size:
        raise ValueError("it says that it holds more than its size allows")


def _text(table: Any, name: str) -> NDArray[np.str_]:
    """A column of texts, without nulls."""
    import pyarrow as pa

    column = table.column(name)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if column.null_count or not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or not len(column)):
        raise ValueError(f"column '{name}' is not text in every row")
    return np.asarray(column.to_pylist(), dtype=np.str_)


def _numbers(table: Any, name: str) -> NDArray[Any]:
    """A column of numbers, without nulls."""
    array = _array(table.column(name))
    if array.dtype.kind not in "iuf" or table.column(name).null_count:
        raise ValueError(f"column '{name}' is not a number in every row")
    return array


def refuse_no_probabilities(probs: NDArray[np.float32], path: str) -> None:
    """Check (n, joint classes) probabilities; a row of NaN is an image without a prediction.

    Raises:
        DataError: below 0 or above 1, a row that does not sum to 1, or one that is NaN in part.
    """
    missing = np.isnan(probs).all(axis=1)
    wrong = ~missing & ~(((probs >= 0) & (probs <= 1 + TOLERANCE)).all(axis=1) & (abs(probs.sum(axis=1) - 1) < 0.01))
    if wrong.any():
        raise DataError(
            f"{path}: the probabilities of row {int(wrong.argmax())} (from 0) are not from 0 to 1 with the sum 1.",
            hint=ANEW,
        )


def _array(column: Any) -> NDArray[Any]:
    """An Arrow column as numpy. Not `to_numpy`: that imports pandas, which takes longer than all the rest."""
    import pyarrow as pa

    parts = [
        np.from_dlpack(chunk)
        if not chunk.null_count and (pa.types.is_integer(chunk.type) or pa.types.is_floating(chunk.type))
        else np.asarray(chunk.to_pylist())
        for chunk in column.chunks
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _refuse_missing(needed: Sequence[str], there: Sequence[str], path: Path) -> None:
    lacking = [n for n in needed if n not in there]
    if lacking:
        raise DataError(
            f"{path} has no column '{lacking[0]}'.",
            hint="Predictions have the columns id, path, sha256, group, fold, true, predicted and p/<class>.",
        )


def _refuse_other_classes(columns: Sequence[str], schema: LabelSchema | None, path: Path) -> None:
    if not columns:
        raise DataError(f"{path} has no probabilities: no column 'p/<class>'.", hint="Train or predict again.")
    if schema is not None and list(columns) != [f"p/{name}" for name in schema.joint_classes]:
        raise DataError(f"{path} was made for other classes.", hint="Use it with the run that made it.")


def _refuse_no_class(numbers: Mapping[str, NDArray[np.int64]], classes: int, path: Path) -> None:
    for name in ("true", "predicted"):
        if ((numbers[name] < -1) | (numbers[name] >= classes)).any():
            raise DataError(f"{path}: column '{name}' holds a number that is none of its {classes} classes.", hint=ANEW)
