"""How right a selection was, where truth is known. Runs after everything is decided; nothing reads its result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import RunConfig
from ssl_mask.data.predictions import PredictionTable
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError


def audit(pool: PredictionTable, answers: Mapping[str, int], schema: LabelSchema) -> dict[str, Any]:
    """True precision and recall of what was selected of a pool.

    Args:
        pool: a round's `pool.parquet`.
        answers: image (its path or file name) -> true joint class; images without an answer do not count.

    Returns:
        `images`, then `precision`, `recall` and `selected` over all factors together (`labels`), of images selected
        as a whole (`images_whole`), and per factor.

    Raises:
        DataError: no image of the pool has an answer.
    """
    found = [answers.get(p, answers.get(PurePosixPath(p).name, -1)) for p in pool.path.tolist()]
    true = np.asarray(found, dtype=np.int64)
    has = true >= 0
    if not has.any():
        raise DataError("No image of the pool has an answer.", hint="--audit-answers takes a CSV: image, answer.")
    factors = list(schema.sizes)
    parts = schema.part(np.maximum(true, 0))
    selected = np.stack([pool.more[f"selected/{n}"].astype(bool) for n in factors], axis=1)[has]
    right = (np.stack([pool.more[f"label/{n}"] for n in factors], axis=1) == parts)[has]
    return {
        "images": int(has.sum()),
        "labels": _shares(selected, right),
        "images_whole": _shares(np.asarray(selected.all(axis=1)), np.asarray(right.all(axis=1))),
        "factors": {n: _shares(selected[:, i], right[:, i]) for i, n in enumerate(factors)},
    }


def _shares(selected: NDArray[np.bool_], right: NDArray[np.bool_]) -> dict[str, float | int | None]:
    """Precision: right among what is selected. Recall: selected and right among all."""
    both, count = int((selected & right).sum()), int(selected.sum())
    return {"selected": count, "precision": both / count if count else None, "recall": both / selected.size}


def refuse_answers_as_pool(config: RunConfig, answers: Path | None) -> None:
    """Raises DataError when the file of answers is also named as the pool."""
    if answers is None:
        return
    if not answers.is_file():
        raise DataError(f"No file {answers}.", hint="--audit-answers takes a CSV: image, answer.")
    for source in config.data.unlabeled:
        if answers.resolve() in {Path(source).resolve(), (config.data.root / source).resolve()}:
            raise DataError(
                f"{source} holds the answers; it cannot be the pool too.",
                hint="Give --unlabeled the folder of the images.",
            )
