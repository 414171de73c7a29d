"""Tables on disk: probabilities as Parquet, a column a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.files import atomic_path


def write_predictions(path: Path, rows: Manifest, probs: NDArray[Any], **columns: list[Any]) -> None:
    """One row an image: id, path, group, true joint class (-1 unknown), predicted class, then `p/<class>` columns.

    Args:
        probs: (n, joint classes); a row of NaN has no prediction (-1).
        columns: more columns of length n.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = rows.labels.min(axis=1) >= 0
    table: dict[str, Any] = {
        "id": [r.id or r.path for r in rows.rows],
        "path": [r.path for r in rows.rows],
        "group": [r.group for r in rows.rows],
        "true": np.where(known, rows.joint, -1),
        "predicted": predicted_class(probs),
        **columns,
    }
    table |= {f"p/{name}": probs[:, i].astype(np.float32) for i, name in enumerate(rows.schema.joint_classes)}
    with atomic_path(path) as partial:
        pq.write_table(pa.table(table), partial)


def predicted_class(probs: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) most probable joint class, -1 for rows of NaN."""
    missing = np.isnan(probs).any(axis=1)
    return np.where(missing, -1, np.nan_to_num(probs).argmax(axis=1))


def read_predictions(path: Path, schema: LabelSchema | None = None) -> Any:
    """The table as a pandas frame.

    Raises:
        DataError: missing, damaged, or of another schema.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {error}") from error
    if schema is not None and [c for c in frame.columns if c.startswith("p/")] != [
        f"p/{n}" for n in schema.joint_classes
    ]:
        raise DataError(f"{path} was made for other classes.")
    return frame
