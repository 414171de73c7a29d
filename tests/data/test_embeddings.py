"""The embeddings table: what is written is read again, and what cannot be one is one clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_mask.data.embeddings import EmbeddingTable, read_embeddings, table_of, write_embeddings
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError

SCHEMA = LabelSchema((Factor("shape", ("round", "square")), Factor("colour", ("red", "green"))))


def made() -> EmbeddingTable:
    rows = (
        Row("a.jpg", "p1", "train", "a", (1, 0), digest="0" * 64),
        Row("b.jpg", "p2", "train", "b", None, digest="1" * 64),
    )
    manifest = Manifest(Path("/data"), "table", SCHEMA, rows, True, Submission("image", ("answer",), "names"))
    return table_of(manifest, np.eye(2, 3, dtype=np.float32), {"source": "run"})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = EmbeddingTable(**{**vars(made()), "more": {"part": np.asarray([0, 7])}})
    write_embeddings(tmp_path / "a.parquet", table)
    found = read_embeddings(tmp_path / "a.parquet")
    assert found.path.tolist() == ["/data/a.jpg", "/data/b.jpg"] and found.group.tolist() == ["p1", "p2"]
    assert {name: column.tolist() for name, column in found.labels.items()} == {
        "shape": ["square", ""], "colour": ["red", ""],
    }  # fmt: skip
    assert (found.vectors == table.vectors).all() and found.more["part"].tolist() == [0, 7]
    assert found.header == {"source": "run"} and found.class_indices(SCHEMA).tolist() == [[1, 0], [-1, -1]]
    write_embeddings(tmp_path / "b.parquet", found.at([1]).joined(found.at([0])).at([1, 0]))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_groups_that_are_not_known_are_empty() -> None:
    rows = (Row("a.jpg", "of the file", "train", "a", None, digest="0" * 64),)
    manifest = Manifest(Path("/data"), "images", SCHEMA, rows, False, Submission("image", ("answer",), "names"))
    assert table_of(manifest, np.eye(1, dtype=np.float32), {}).group.tolist() == [""]


def test_what_is_no_such_table_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    with pytest.raises(DataError, match=r"There is no .*bad\.parquet"):
        read_embeddings(path)
    path.write_bytes(b"no table")
    with pytest.raises(DataError, match="is damaged"):
        read_embeddings(path)
    pq.write_table(pa.table({"path": ["a"]}), path)
    with pytest.raises(DataError, match=r"it has no 'sslmask\.embeddings'|has no"):
        read_embeddings(path)
    write_embeddings(path, made())
    table = pq.read_table(path)
    for column, values, match in (
        ("sha256", None, "has no column 'sha256'"),
        ("embedding", pa.array([1.0, 2.0]), "holds no vectors of one length"),
        ("group", pa.array(["p1", None]), "a cell is empty"),
    ):
        at = table.column_names.index(column)
        wrong = table.remove_column(at) if values is None else table.set_column(at, column, values)
        pq.write_table(wrong, path)
        with pytest.raises(DataError, match=match):
            read_embeddings(path)
