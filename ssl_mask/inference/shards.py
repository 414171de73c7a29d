"""Shards: the predictions of a large pool in several Parquet files, each made and read on its own.

    <folder>/
    ├── shard-00000-of-00002.parquet    the predictions table, with absolute paths
    └── shard-00001-of-00002.parquet

A shard says in its metadata which weights predicted which images in which views, so that a shard that is there already
is recognised without reading an image, and shards that do not belong together are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import TOLERANCE, PredictedImages, read_predictions, write_predictions
from ssl_mask.errors import DataError
from ssl_mask.inference.predictor import Predictor
from ssl_mask.reading import reading, regular
from ssl_mask.runs.seal import file_digest

MADE_BY = b"sslmask.checkpoint_sha256"
"""Key in a shard's metadata: which weights predicted."""
ROWS_OF = b"sslmask.rows"
"""Key in a shard's metadata: which images it is about."""
MIRRORED = b"sslmask.mirrored"
"""Key in a shard's metadata: whether the mirrored view is averaged in; `yes` or `no`."""
UNREADABLE = b"sslmask.unreadable"
"""Key in a shard's metadata: position of each unreadable image, and why; as JSON."""

AGAIN = "Predict that shard again."
BLOCK = 65_536
"""Rows that are written as one row group, and read at once."""
_READ_BYTES = 1 << 20  # a row group of any size is read through a buffer of this size for each column
_NAME = re.compile(r"shard-\d{5}-of-(\d{5})\.parquet")
_TEXT = {pa.string(), pa.large_string(), pa.null()}  # a shard of no rows may have no type


def shard_name(number: int, count: int) -> str:
    """Shard `number` of `count`, from 0."""
    return f"shard-{number:05d}-of-{count:05d}.parquet"


# ---- writing ----


def shard_metadata(weights: bytes, rows: Manifest, *, tta: bool) -> dict[bytes, bytes]:
    """What a shard says of itself. `weights`: as `weights_digest`."""
    return {
        MADE_BY: weights,
        ROWS_OF: rows_hash(rows).encode(),
        MIRRORED: b"yes" if tta else b"no",
    }


def weights_digest(predictor: Predictor) -> bytes:
    """SHA-256 of the checkpoint; of several, joined by `+`."""
    return "+".join(file_digest(source.run.best) for source in predictor.sources).encode()


def rows_hash(rows: Manifest) -> str:
    """Of the paths alone: a shard that is done is recognised without reading an image."""
    return rows.with_rows(r._replace(source="", digest=str(rows.root / r.path)) for r in rows.rows).content_hash


def is_done(path: Path, metadata: Mapping[bytes, bytes]) -> bool:
    """Whether the shard is there.

    Raises:
        DataError: it is, but made by other weights or of other images or views, or it is damaged.
    """
    if not path.is_file():
        return False
    with reading(path, DataError, hint="Delete it; it is then predicted again."):
        found: dict[bytes, bytes] = pq.read_schema(path).metadata or {}
    if any(found.get(k) != v for k, v in metadata.items()):
        what = "by another run" if found.get(MADE_BY) != metadata[MADE_BY] else "of other images or views"
        raise DataError(f"{path} was made {what}.", hint="Choose another --out, or delete it.")
    return True


def write_shard(path: Path, predicted: PredictedImages, metadata: Mapping[bytes, bytes]) -> None:
    """The predictions table with absolute paths; an unreadable image has no `sha256` and probabilities of NaN."""
    rows = predicted.manifest
    absolute = rows.with_rows(r._replace(path=str(f)) for r, f in zip(rows.rows, rows.files, strict=True))
    why = json.dumps({str(position): why for position, why in sorted(predicted.unreadable.items())})
    metadata = {**metadata, UNREADABLE: why.encode()}
    write_predictions(path, absolute, predicted.probs, metadata=metadata, row_group_size=BLOCK)


# ---- reading ----


def read_shard(path: Path, rows: Manifest) -> PredictedImages:
    """What `write_shard` wrote of these rows. Raises DataError: a damaged file, or one of other classes."""
    table = read_predictions(path, rows.schema)
    with reading(path, DataError, hint=AGAIN):
        why = json.loads((pq.read_schema(path).metadata or {})[UNREADABLE])
        manifest = rows.with_digests(table.sha256.tolist())
    return PredictedImages(manifest, table.probs, {int(position): str(reason) for position, reason in why.items()})


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


def shards_are_mirrored(folder: Path, predictor: Predictor) -> bool:
    """Whether the predictions of a folder are averaged over the plain and the mirrored view.

    Raises:
        DataError: shards of other weights than the predictor's, of different views, missing or damaged ones.
    """
    views: set[bytes] = set()
    weights = weights_digest(predictor)
    for shard in read_shards(folder, predictor.schema.joint_classes):
        metadata: dict[bytes, bytes] = pq.read_schema(shard).metadata or {}
        if metadata.get(MADE_BY, b"") != weights:
            raise DataError(
                f"{shard} was not predicted by {predictor.sources[0].run.path}.",
                hint="Name the run that made the shards: --teacher RUN",
            )
        views.add(metadata.get(MIRRORED, b""))
    if len(views) > 1:
        raise DataError(
            f"{folder}: some shards average mirrored views, some do not.", hint="Predict all of them alike."
        )
    return views == {b"yes"}


def count_rows(folder: Path, classes: Sequence[str]) -> int:
    """Images that the shards of a folder are about. Raises DataError as `read_shards`."""
    return sum(int(pq.read_metadata(shard).num_rows) for shard in read_shards(folder, classes))


def read_blocks(folder: Path, classes: Sequence[str]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bytes_], Any]]:
    """(m, classes) probabilities, (m,) digests and paths (Arrow) of each block of rows.

    Raises:
        DataError: as `read_shards`, or damage inside a file.
    """
    names = _columns(classes)
    for shard in read_shards(folder, classes):
        with (
            reading(shard, DataError, hint=AGAIN),
            pq.ParquetFile(regular(shard), buffer_size=_READ_BYTES, pre_buffer=False) as file,
        ):
            for batch in file.iter_batches(BLOCK, columns=["path", "sha256", *names]):
                columns = [batch.column(n).to_numpy(zero_copy_only=False) for n in names]
                probs = np.stack(columns, axis=1, dtype=np.float32)
                if ((probs < 0) | (probs > 1 + TOLERANCE)).any():
                    raise DataError(f"{shard} holds probabilities that are not from 0 to 1.", hint=AGAIN)
                path, digest = (_text(batch.column(n)) for n in ("path", "sha256"))
                keys = digest.cast(pa.large_binary()).to_numpy(zero_copy_only=False).astype(np.bytes_)
                yield probs, keys, path


def sample_rows(folder: Path, classes: Sequence[str], count: int) -> tuple[list[str], NDArray[np.float32]]:
    """Paths and (m, classes) probabilities of up to `count` predicted images, spread over the shards, by chance.

    Raises:
        DataError: as `read_blocks`.
    """
    found, rng = read_shards(folder, classes), np.random.default_rng()
    paths: list[str] = []
    probs: list[NDArray[np.float32]] = []
    for shard in rng.permutation(np.array(found, dtype=object))[:count]:
        with (
            reading(shard, DataError, hint=AGAIN),
            pq.ParquetFile(regular(shard), buffer_size=_READ_BYTES, pre_buffer=False) as file,
        ):
            group = int(rng.integers(max(1, file.metadata.num_row_groups)))
            table = file.read_row_group(group, columns=["path", *_columns(classes)])
        for row in rng.permutation(len(table))[: -(-count // len(found))]:
            cells = table.slice(int(row), 1).to_pylist()[0]
            values = np.array([cells[n] for n in _columns(classes)], np.float32)
            if not np.isnan(values).any():
                paths.append(cells["path"])
                probs.append(values)
    return paths, np.array(probs, np.float32).reshape(-1, len(classes))


def _check_schema(path: Path, classes: Sequence[str]) -> None:
    with reading(path, DataError, hint=AGAIN):
        schema = pq.read_schema(regular(path))
    types = dict(zip(schema.names, schema.types, strict=True))
    if len(types) < len(schema):
        raise DataError(f"{path} has two columns of the same name.", hint=AGAIN)
    for name in ("path", "sha256"):
        if types.get(name) not in _TEXT:
            raise DataError(f"{path} has no text column '{name}'.", hint=AGAIN)
    columns = [c for c in types if c.startswith("p/")]
    if columns != _columns(classes):
        raise DataError(f"{path} was made for other classes.", hint="Select with the run that made the predictions.")
    for name in columns:
        if not pa.types.is_floating(types[name]):
            raise DataError(f"{path}: column '{name}' holds no probabilities.", hint=AGAIN)


def _columns(classes: Sequence[str]) -> list[str]:
    return [f"p/{name}" for name in classes]


def _text(column: Any) -> Any:
    """The column without nulls; fails where damage left no text."""
    text = column.cast(pa.large_string()).fill_null("")
    text.validate(full=True)
    return text
