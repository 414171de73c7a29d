"""THE embeddings table: what a predictor sees in images, as vectors of length 1, as Parquet, one row an image.

    path, sha256, group, label/<factor> …, embedding, then what a writer adds

Labels are names, so that a class that joins the schema later changes no row. The file's header says where the vectors
come from; the same content gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.files import atomic_path
from ssl_mask.reading import parse_json, reading, regular

HEADER = b"sslmask.embeddings"
"""Key in the file's metadata."""
TEXT = ("path", "sha256", "group")
LABEL, VECTOR = "label/", "embedding"
ANEW = "Make it anew: sslmask embed"
TOLERANCE = 1e-3
"""Of a length: the vectors are float32."""


@dataclass(frozen=True)
class EmbeddingTable:
    """Images and their vectors."""

    path: NDArray[np.str_]
    """(n,) absolute."""
    sha256: NDArray[np.str_]
    group: NDArray[np.str_]
    """(n,) "" where it is not known."""
    labels: Mapping[str, NDArray[np.str_]]
    """Factor -> (n,) class names, "" where they are not known."""
    vectors: NDArray[np.float32]
    """(n, d) of length 1."""
    more: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Further columns."""
    header: Mapping[str, Any] = field(default_factory=dict)
    """Where the vectors come from."""

    def __len__(self) -> int:
        return len(self.path)

    def at(self, rows: Sequence[int] | NDArray[Any]) -> EmbeddingTable:
        """Some rows, in this order, or those of a (n,) mask."""
        chosen = np.asarray(rows) if len(rows) else np.empty(0, np.int64)
        columns: dict[str, Any] = {name: getattr(self, name)[chosen] for name in (*TEXT, "vectors")}
        for name in ("labels", "more"):
            columns[name] = {key: column[chosen] for key, column in getattr(self, name).items()}
        return replace(self, **columns)

    def joined(self, other: EmbeddingTable) -> EmbeddingTable:
        """These rows, then those of a table with the same columns."""
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in (*TEXT, "vectors")
        }
        for name in ("labels", "more"):
            theirs = getattr(other, name)
            columns[name] = {k: np.concatenate([column, theirs[k]]) for k, column in getattr(self, name).items()}
        return replace(self, **columns)

    def class_indices(self, schema: LabelSchema) -> NDArray[np.int64]:
        """(n, factors) class indices; -1 where the label is not known.

        Raises:
            DataError: a label that is no class of the schema.
        """
        found = np.full((len(self), len(schema.factors)), -1, np.int64)
        for i, factor in enumerate(schema.factors):
            for name in np.unique(self.labels[factor.name]).tolist():
                if name:
                    own = self.labels[factor.name] == name
                    found[own, i] = schema.index_of(factor, name, where=str(self.path[int(own.argmax())]))
        return found


def table_of(rows: Manifest, vectors: NDArray[np.float32], header: Mapping[str, Any]) -> EmbeddingTable:
    """The images of a manifest, which have digests, with their vectors."""
    names = rows.schema.class_names(rows.labels) if len(rows) else []
    known = [row.labels is not None for row in rows.rows]
    columns = [
        np.asarray([classes[i] if there else "" for classes, there in zip(names, known, strict=True)], np.str_)
        for i in range(len(rows.schema.factors))
    ]
    return EmbeddingTable(
        path=np.asarray([str(file.absolute()) for file in rows.files], np.str_),
        sha256=np.asarray([row.digest for row in rows.rows], np.str_),
        group=rows.groups if rows.grouped else np.full(len(rows), "", np.str_),
        labels=dict(zip(rows.schema.sizes, columns, strict=True)), vectors=vectors, header=header,
    )  # fmt: skip


def write_embeddings(path: Path, table: EmbeddingTable) -> None:
    """Write the table, atomically. Raises StorageError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {name: pa.array(getattr(table, name).tolist(), pa.string()) for name in TEXT}
    columns |= {f"{LABEL}{name}": pa.array(column.tolist(), pa.string()) for name, column in table.labels.items()}
    flat = pa.array(np.ascontiguousarray(table.vectors, dtype=np.float32).ravel())
    columns[VECTOR] = pa.FixedSizeListArray.from_arrays(flat, table.vectors.shape[1])
    header = {HEADER: json.dumps(dict(table.header), sort_keys=True).encode()}
    made = pa.table(columns | dict(table.more)).replace_schema_metadata(header)
    with atomic_path(path) as partial:
        pq.write_table(made, partial)


def read_embeddings(path: Path) -> EmbeddingTable:
    """Read the table, checked.

    Raises:
        DataError: missing, damaged, without one of the columns, or with a vector that is not of length 1.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path, DataError, hint=ANEW):
        table = pq.read_table(regular(path), partitioning=None)
        header = parse_json((table.schema.metadata or {})[HEADER])
        lacking = [name for name in (*TEXT, VECTOR) if name not in table.column_names]
        if lacking:
            raise ValueError(f"it has no column '{lacking[0]}'")
        kind = table.schema.field(VECTOR).type
        if not pa.types.is_fixed_size_list(kind) or not pa.types.is_float32(kind.value_type):
            raise ValueError(f"column '{VECTOR}' holds no vectors of one length")
        if any(column.null_count for column in table.columns):
            raise ValueError("a cell is empty")
        flat = [np.from_dlpack(chunk.flatten()) for chunk in table.column(VECTOR).chunks if len(chunk)]
        vectors = np.concatenate(flat or [np.empty(0, np.float32)]).reshape(-1, kind.list_size)
        names = [name for name in table.column_names if name != VECTOR]
        text = [name for name in names if name in TEXT or name.startswith(LABEL)]
        found = {name: np.asarray(table.column(name).to_pylist(), np.str_) for name in text}
        more = {name: np.asarray(table.column(name).to_pylist(), np.int64) for name in names if name not in found}
    made = EmbeddingTable(
        **{name: found[name] for name in TEXT},
        labels={name.removeprefix(LABEL): column for name, column in found.items() if name.startswith(LABEL)},
        vectors=vectors, more=more, header=header,
    )  # fmt: skip
    refuse_bad_vectors(made, str(path))
    return made


def refuse_bad_vectors(table: EmbeddingTable, where: str) -> None:
    """Raises DataError where a vector holds NaN or infinity, or is not of length 1; names the image."""
    length = np.linalg.norm(table.vectors.astype(np.float64), axis=1)
    if (wrong := ~(np.abs(length - 1) < TOLERANCE)).any():
        row = int(wrong.argmax())
        finite = np.isfinite(table.vectors[row]).all()
        why = f"has the length {length[row]:.3g}, not 1" if finite else "holds numbers that are not finite"
        more = f" ({int(wrong.sum())} such vectors)" if wrong.sum() > 1 else ""
        raise DataError(f"{where}: the vector of {table.path[row]} {why}{more}.", hint=ANEW)
