"""What a prediction leaves behind: the submission CSV, the probabilities, and where they come from."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import predicted_class, write_predictions
from ssl_mask.files import write_json, write_text
from ssl_mask.guard.provenance import Provenance
from ssl_mask.inference.predictor import Member
from ssl_mask.runs import environment


def write_submission(
    path: Path, members: Sequence[Member], manifest: Manifest, probs: NDArray[np.float32], bad: dict[int, str],
    stands: Provenance, *, tta: bool, on_bad: str, pool: str,
) -> None:  # fmt: skip
    """The submission CSV, the probabilities, and the provenance that is bound to the CSV by its SHA-256."""
    text = submission_csv(manifest, probs)
    reasons = [bad.get(i, "") for i in range(len(manifest))]
    write_predictions(path.with_name("probabilities.parquet"), manifest, probs, more={"unreadable": reasons})
    write_text(path, text)
    write_json(
        path.with_name("predictions.provenance.json"),
        {
            "predictions": {"file": path.name, "sha256": hashlib.sha256(text.encode()).hexdigest()},
            "pool": {"name": pool, "images": len(manifest), "root": str(manifest.root), "grouped": manifest.grouped},
            "runs": [member_record(m) for m in members],
            "tta": ["plain", "mirrored"] if tta else ["plain"],
            "code": environment.code_version(),
            "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "unreadable": {"policy": on_bad, "count": len(bad), "files": named(manifest, bad)},
            "leakage": stands.to_json(),
        },
    )


def member_record(member: Member) -> dict[str, Any]:
    metadata = member.checkpoint.metadata
    return {
        "run": str(member.run.path),
        "checkpoint_sha256": member.sha256,
        "step": metadata.best.step,
        "weights": metadata.best.weights,
        "validation_macro_f1": metadata.best.macro_f1,
        "trained_on": metadata.data.content_hash,
        "code": metadata.code,
        "leakage": metadata.leakage,
        "declaration": metadata.declaration and metadata.declaration.to_json(),
        "ancestors": list(metadata.ancestors),
    }


def submission_csv(manifest: Manifest, probs: NDArray[np.float32]) -> str:
    """The rows in the order asked, under the data set's own header; empty answers for rows of NaN."""
    spec, schema = manifest.submission, manifest.schema
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([spec.id_column, *spec.answer_columns])
    for row, joint in zip(manifest.rows, predicted_class(probs).tolist(), strict=True):
        if joint < 0:
            answers = [""] * len(spec.answer_columns)
        elif spec.answers == "joint index":
            answers = [str(joint)]
        else:
            parts = schema.part(np.asarray([joint]))[0].tolist()
            answers = [f.classes[i] for f, i in zip(schema.factors, parts, strict=True)]
        writer.writerow([row.id or row.path, *answers])
    return out.getvalue()


def named(manifest: Manifest, bad: dict[int, str]) -> dict[str, str]:
    return {manifest.rows[i].path: reason for i, reason in sorted(bad.items())}
