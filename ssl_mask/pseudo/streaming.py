"""Pseudo-labels from predictions that do not fit in memory: shards of Parquet, read a block of rows at a time.

    <folder>/
    ├── shard-00000-of-00002.parquet    path, sha256, then p/<class> for each joint class
    └── shard-00001-of-00002.parquet

Memory holds a few blocks and what is selected so far. The result equals what the rules in `selection/` select from
all rows at once, whatever the size of row groups and the order of rows.

Photos with the same content are one photo: it takes one place of a class and is selected once, as the most confident of
its rows (then the lowest class, then the first path). A row without digest was unreadable and is never selected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ssl_mask.errors import DataError
from ssl_mask.selection.rules import TopPrediction, class_counts, top_k, top_prediction

Probs = NDArray[np.float32]
Decide = Callable[[Probs, NDArray[np.bytes_]], NDArray[np.bool_]]
"""(m, classes) probabilities and (m,) digests of a block -> (m,) which rows may be selected."""

_TEXT = {pa.string(), pa.large_string(), pa.null()}  # a shard of no rows may have no type
_BLOCK = 65_536
_READ_BYTES = 1 << 20  # a row group of any size is read through a buffer of this size for each column
_NAME = re.compile(r"shard-\d{5}-of-(\d{5})\.parquet")
_NO_LIMIT = np.iinfo(np.int64).max


class Selected(NamedTuple):
    """Rows in the order of their digests."""

    paths: list[str]
    digests: list[str]
    """SHA-256 of each photo, each one once."""
    probs: Probs
    """(n, joint classes)."""


class _Rows(NamedTuple):
    path: NDArray[np.object_]
    digest: NDArray[np.bytes_]
    probs: Probs
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]

    def take(self, which: NDArray[Any]) -> _Rows:
        return _Rows(*(column[which] for column in self))


def shard_name(number: int, count: int) -> str:
    """Shard `number` of `count`, from 0."""
    return f"shard-{number:05d}-of-{count:05d}.parquet"


def select_stored(
    folder: Path,
    classes: Sequence[str],
    *,
    decide: Decide | None = None,
    limits: int | NDArray[np.int64] | None = None,
) -> Selected:
    """Select rows of stored predictions.

    - threshold or precision: `decide=lambda probs, keys: above(believe(probs), thresholds)`
    - top k: `limits=k`
    - percentile: `limits=quotas(count_predicted(folder, classes), share)`
    - with a cap: `np.minimum(limits, cap)`, or `limits=cap` beside `decide`

    Args:
        folder: holds all shards.
        classes: joint classes, in order.
        decide: which rows may be selected; None: all.
        limits: at most so many of each predicted class, the most confident; one number or (classes,).

    Raises:
        DataError: as `read_shards`.
    """
    most = np.broadcast_to(np.asarray(_NO_LIMIT if limits is None else limits), (len(classes),))
    floor = np.where(most > 0, -np.inf, np.inf)
    kept, waiting = _nothing(len(classes)), list[_Rows]()
    for rows in _rows(folder, classes, decide):
        waiting.append(rows.take(rows.confidence >= floor[rows.predicted]))
        # Sorting once what waits is as much as what is kept makes n rows cost n log n.
        if sum(len(w.digest) for w in waiting) >= max(_BLOCK, len(kept.digest)):
            kept, waiting = _best([kept, *waiting], most), []
            floor = _floor(kept, most)
    kept = _best([kept, *waiting], most)
    kept = kept.take(_distinct(kept, by_class=False))
    return Selected(kept.path.tolist(), [d.decode() for d in kept.digest.tolist()], kept.probs)


def count_predicted(folder: Path, classes: Sequence[str], *, decide: Decide | None = None) -> NDArray[np.int64]:
    """(classes,) how many of the rows that may be selected are predicted of each class.

    A photo that is stored twice counts twice. `decide`: as in `select_stored`.

    Raises:
        DataError: as `read_shards`.
    """
    counts = np.zeros(len(classes), dtype=np.int64)
    for probs, digest, _ in _batches(folder, classes):
        tops = _readable(probs, digest)
        if decide is not None:
            tops = tops._replace(predicted=np.where(decide(probs, digest), tops.predicted, -1))
        counts += class_counts(tops, len(classes))
    return counts


def read_shards(folder: Path, classes: Sequence[str]) -> list[Path]:
    """The shards of a folder, in order; only their names and schemas are read.

    Raises:
        DataError: no shard, a missing one, shards of several counts, other classes, a damaged file.
    """
    found = {p.name: p for p in folder.glob("shard-*.parquet")}
    counts = sorted({int(m[1]) for m in map(_NAME.fullmatch, found) if m})
    if not counts:
        example = shard_name(0, 1)
        raise DataError(f"{folder} holds no shards of predictions.", hint=f"They are named {example}.")
    if len(counts) > 1:
        raise DataError(
            f"{folder} mixes predictions in {' and in '.join(map(str, counts))} shards.", hint="Keep one set of them."
        )
    expected = [shard_name(i, counts[0]) for i in range(counts[0])]
    missing = [name for name in expected if name not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"{folder} lacks {missing[0]}{more}.", hint="Predict what is missing, then select again.")
    foreign = sorted(found.keys() - set(expected))
    if foreign:
        raise DataError(f"{found[foreign[0]]} is none of {counts[0]} shards.", hint="Move it out of the folder.")
    for name in expected:
        _check_schema(found[name], classes)
    return [found[name] for name in expected]


def _check_schema(path: Path, classes: Sequence[str]) -> None:
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error
    for name in ("path", "sha256"):
        if name not in schema.names or schema.field(name).type not in _TEXT:
            raise DataError(f"{path} has no text column '{name}'.", hint="Predict that shard again.")
    columns = [c for c in schema.names if c.startswith("p/")]
    if columns != _columns(classes):
        raise DataError(f"{path} was made for other classes.", hint="Select with the run that made the predictions.")
    for name in columns:
        if not pa.types.is_floating(schema.field(name).type):
            raise DataError(f"{path}: column '{name}' holds no probabilities.", hint="Predict that shard again.")


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"Cannot read {path}: {error}", hint="Predict that shard again.")


def _columns(classes: Sequence[str]) -> list[str]:
    return [f"p/{name}" for name in classes]


def _batches(folder: Path, classes: Sequence[str]) -> Iterator[tuple[Probs, NDArray[np.bytes_], Any]]:
    """Probabilities, digests and paths (Arrow) of each block of rows."""
    names = _columns(classes)
    for shard in read_shards(folder, classes):
        try:
            with pq.ParquetFile(shard, buffer_size=_READ_BYTES, pre_buffer=False) as file:
                for batch in file.iter_batches(_BLOCK, columns=["path", "sha256", *names]):
                    columns = [batch.column(n).to_numpy(zero_copy_only=False) for n in names]
                    probs = np.stack(columns, axis=1, dtype=np.float32)
                    path, digest = (_text(batch.column(n)) for n in ("path", "sha256"))
                    keys = digest.cast(pa.large_binary()).to_numpy(zero_copy_only=False).astype(np.bytes_)
                    yield probs, keys, path
        except (OSError, pa.ArrowException) as error:
            raise _damaged(shard, error) from error


def _text(column: Any) -> Any:
    """The column without nulls; fails where damage left no text."""
    text = column.cast(pa.large_string()).fill_null("")
    text.validate(full=True)
    return text


def _rows(folder: Path, classes: Sequence[str], decide: Decide | None) -> Iterator[_Rows]:
    """The rows of each block that may be selected."""
    for probs, digest, path in _batches(folder, classes):
        tops = _readable(probs, digest)
        mask = tops.predicted >= 0
        if decide is not None:
            mask &= decide(probs, digest)
        paths = path.filter(pa.array(mask)).to_numpy(zero_copy_only=False)
        yield _Rows(paths, digest[mask], probs[mask], tops.predicted[mask], tops.confidence[mask])


def _readable(probs: Probs, digest: NDArray[np.bytes_]) -> TopPrediction:
    tops = top_prediction(probs)
    return tops._replace(predicted=np.where(digest == b"", -1, tops.predicted))


def _nothing(classes: int) -> _Rows:
    probs = np.empty((0, classes), dtype=np.float32)
    return _Rows(np.empty(0, np.object_), np.empty(0, np.bytes_), probs, np.empty(0, np.int64), np.empty(0))


def _best(parts: list[_Rows], limits: NDArray[np.int64]) -> _Rows:
    """The most confident distinct rows of each class, in the order of their digests."""
    rows = _Rows(*map(np.concatenate, zip(*parts, strict=True)))
    distinct = _distinct(rows, by_class=True)
    confidence = rows.confidence[distinct]
    tops = TopPrediction(rows.predicted[distinct], confidence, confidence)
    return rows.take(distinct[top_k(tops, limits, np.arange(len(distinct)))])


def _floor(kept: _Rows, limits: NDArray[np.int64]) -> NDArray[np.float64]:
    """(classes,) confidence below which a further row has no chance."""
    lowest = np.full(len(limits), np.inf)
    np.minimum.at(lowest, kept.predicted, kept.confidence)
    full = np.bincount(kept.predicted, minlength=len(limits)) >= limits
    return np.where(full, lowest, -np.inf)


def _distinct(rows: _Rows, *, by_class: bool) -> NDArray[np.int64]:
    """Positions of one row a digest, or a digest and class, in the order of digests.

    A class keeps its own row of a photo while blocks come in: dropping it for a later, more confident row of another
    class would leave a place empty that was refused to a third photo.
    """
    order = np.argsort(rows.digest, kind="stable")
    again = rows.digest[order][1:] == rows.digest[order][:-1]
    repeated = np.append(again, False) | np.insert(again, 0, False) if len(order) else again
    part = rows.predicted if by_class else np.zeros(len(order), dtype=np.int64)

    def rank(i: int) -> tuple[Any, ...]:
        return rows.digest[i], part[i], -rows.confidence[i], rows.predicted[i], rows.path[i]

    # Repeats are few, and their ties are decided by path: a string of any length, which numpy does not sort well.
    order[repeated] = sorted(order[repeated].tolist(), key=rank)
    digest, part = rows.digest[order], part[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (digest[1:] != digest[:-1]) | (part[1:] != part[:-1])
    return order[first]
