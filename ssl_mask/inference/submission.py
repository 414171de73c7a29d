"""What a prediction leaves behind: the submission CSV, the probabilities, and where they come from."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import PredictedImages, predicted_class, write_predictions
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.files import write_json, write_text
from ssl_mask.guard.provenance import Provenance, SourceRun, runs_of
from ssl_mask.runs import environment
from ssl_mask.runs.seal import file_digest
from ssl_mask.text import csv_text

if TYPE_CHECKING:  # an exported network predicts without torch
    from ssl_mask.inference.class_sets import ClassSets
    from ssl_mask.inference.ensemble import Ensemble
    from ssl_mask.inference.unknown_marks import Unknown

PROVENANCE = "predictions.provenance.json"


def write_submission(
    path: Path, made_by: Mapping[str, Any], predicted: PredictedImages, leakage: Provenance, *, tta: bool, on_bad: str,
    pool: str, names: bool, max_pixels: int | None, unknown: Unknown | None = None, sets: ClassSets | None = None,
) -> None:  # fmt: skip
    """The submission CSV, the probabilities, and the provenance that is bound to the CSV by its SHA-256.

    The submission does not change where unknown images are marked or sets are asked for: they are files of their own
    and columns of the probabilities.

    Args:
        made_by: what predicted, as `ensemble_record` says it; of an exported network also its file.
        pool: short name of the images.
        names: add class names for people, as `submission_csv` does.
        max_pixels: larger images were refused; None: as each run was configured.
    """
    manifest, bad = predicted.manifest, predicted.unreadable
    text = submission_csv(manifest, predicted.probs, names=names)
    more: dict[str, Any] = {"unreadable": [bad.get(i, "") for i in range(len(manifest))]}
    for name, columns in (("unknown.csv", unknown_columns(unknown)), ("sets.csv", set_columns(sets, manifest.schema))):
        beside = path.with_name(name)
        if columns:
            write_text(beside, columns_csv(predicted, columns))
        else:
            beside.unlink(missing_ok=True)  # of other predictions, which these replace
        more |= columns
    write_predictions(path.with_name("probabilities.parquet"), manifest, predicted.probs, more=more)
    write_json(
        path.with_name(PROVENANCE),
        {
            "predictions": {"file": path.name, "sha256": hashlib.sha256(text.encode()).hexdigest()},
            "pool": {
                "name": pool,
                "images": len(manifest),
                "root": str(manifest.root),
                "grouped": manifest.grouped,
                "max_pixels": max_pixels,
            },
            **made_by,
            "unknown": unknown and unknown.to_json(),
            "sets": sets and sets.to_json(),
            "tta": ["plain", "mirrored"] if tta else ["plain"],
            "code": environment.code_version(),
            "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "unreadable": {"policy": on_bad, "count": len(bad), "files": unreadable_files(manifest, bad)},
            "leakage": leakage.to_json(),
        },
    )
    write_text(path, text)  # last: a CSV that stands alone is not ours


def refuse_foreign(path: Path) -> None:
    """Raises DataError when a CSV is there that no prediction has written: it may be somebody's only copy."""
    for own in (path, path.with_name("unknown.csv"), path.with_name("sets.csv")):
        if own.exists() and not path.with_name(PROVENANCE).is_file():
            raise DataError(
                f"{own} is there and was not made by sslmask predict.", hint="Choose another folder: --out DIR"
            )


def ensemble_record(ensemble: Ensemble, unknown: Unknown | None, sets: ClassSets | None) -> dict[str, Any]:
    """The sources with what they count and their runs, and how all that was chosen."""
    sources: list[dict[str, Any]] = [
        {"source": str(s.path), "kind": s.kind, "weight": share, "runs": [member_record(r) for r in runs_of(s)]}
        for s, share in zip(ensemble.sources, ensemble.shares, strict=True)
    ]
    for source, record in zip(ensemble.sources, sources, strict=True):
        if source.kind == "gallery":
            record["gallery_sha256"] = file_digest(source.gallery.best)
    for record, chosen in zip(sources, ensemble.neighbour_records or (), strict=False):
        record["neighbours"] = {factor: one.to_json() for factor, one in chosen.items()}
    for i, record in enumerate(sources):
        for key, asked in (("unknown", unknown), ("sets", sets)):
            if asked is not None:
                record[key] = {name: one.to_json() for name, one in asked.records[i].items()}
    return {"sources": sources, "weights": ensemble.chosen and ensemble.chosen.to_json()}


def member_record(source: SourceRun) -> dict[str, Any]:
    """A run that predicted, as it was then."""
    run, metadata = source
    return {
        "run": str(run.path),
        "checkpoint_sha256": file_digest(run.best),
        "step": metadata.origin.step,
        "weights": metadata.origin.weights,
        "validation_macro_f1": metadata.best and metadata.best.macro_f1,
        "trained_on": metadata.data.content_hash,
        "code": metadata.code,
        "leakage": metadata.leakage,
        "declaration": metadata.declaration and metadata.declaration.to_json(),
        "ancestors": list(metadata.ancestors),
    }


def submission_csv(manifest: Manifest, probs: NDArray[np.float32], *, names: bool = False) -> str:
    """The rows in the order asked, under the data set's own header; empty answers for rows of NaN.

    Args:
        names: add a column per factor with its class names, for people, where the answers are numbers.
    """
    spec, schema = manifest.submission, manifest.schema
    numbers = spec.answers == "joint index"
    extra = [f.name for f in schema.factors] if names and numbers else []
    lines = [[spec.id_column, *spec.answer_columns, *extra]]
    for row, joint in zip(manifest.rows, predicted_class(probs).tolist(), strict=True):
        if joint < 0:
            cells = [""] * (len(spec.answer_columns) + len(extra))
        else:
            classes = list(schema.class_names(schema.part(np.asarray([joint])))[0])
            cells = [str(joint), *(classes if extra else [])] if numbers else classes
        lines.append([row.id or row.path, *cells])
    return csv_text(lines)


def unknown_columns(unknown: Unknown | None) -> dict[str, NDArray[Any]]:
    """Whether each image is marked, and as `known…` the share of images of known classes that are as strange."""
    if unknown is None:
        return {}
    shares = {f"known{column.removeprefix('unknown')}": p for column, p in unknown.p.items()}
    return {**{column: marked.astype(np.int64) for column, marked in unknown.marked.items()}, **shares}


def set_columns(sets: ClassSets | None, schema: LabelSchema) -> dict[str, list[str]]:
    """The names of the classes in the set of each factor; "" where an image is unreadable."""
    return {} if sets is None else {
        f"set/{factor.name}": [
            " | ".join(name for name, held in zip(factor.classes, row, strict=True) if held)
            for row in sets.held[factor.name].tolist()
        ]
        for factor in schema.factors
    }  # fmt: skip


def columns_csv(predicted: PredictedImages, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> str:
    """Columns beside the submission, with its images in its order; of an unreadable image the cells are empty."""
    lines: list[list[Any]] = [[predicted.manifest.submission.id_column, *columns]]
    for i, (row, *cells) in enumerate(zip(predicted.manifest.rows, *columns.values(), strict=True)):
        lines.append([row.id or row.path, *([""] * len(cells) if i in predicted.unreadable else cells)])
    return csv_text(lines)


def unreadable_files(manifest: Manifest, unreadable: Mapping[int, str]) -> dict[str, str]:
    """Path of each unreadable image -> why."""
    return {manifest.rows[i].path: reason for i, reason in sorted(unreadable.items())}
