"""Before predictions are scored: are they those that were made, by these weights, and were the images seen?"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.predictions import PredictionTable, read_predictions
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import MismatchError
from ssl_mask.guard.provenance import Provenance, SourceRun, provenance_of, unchecked
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import file_digest


def provenance_of_predictions(predictions: Path) -> tuple[Provenance, set[str]]:
    """How far a score of these predictions can be trusted, and the names of the images that training has seen.

    The images are compared anew with all that the runs have seen, where images and runs are still there; else what
    was found when they were predicted counts.

    Raises:
        MismatchError: the CSV, a checkpoint or the images are not those of the provenance beside the CSV.
    """
    table = predictions.with_name("predictions.provenance.json")
    if not table.is_file():
        return unchecked(f"there is no predictions.provenance.json beside {predictions.name}"), set()
    record = json.loads(table.read_text(encoding="utf-8"))
    if hashlib.sha256(predictions.read_bytes()).hexdigest() != record["predictions"]["sha256"]:
        raise MismatchError(
            f"{predictions} has changed since it was predicted.", hint="Predict again: sslmask predict --run …"
        )
    images = read_predictions(predictions.with_name("probabilities.parquet"), more=("unreadable",))
    sources = source_runs_of(record)
    pool = pool_predicted(images, record)
    found = recorded(record)
    if sources is not None and all(f.is_file() for f in pool.files) and found.digest:
        found = provenance_of(sources, pool, Console(quiet=True))
        refuse_changed_pool(found, record, pool)
    ids = dict(zip(images.path.tolist(), images.id.tolist(), strict=True))
    return found, {ids[path] for path in found.overlap}


def source_runs_of(record: dict[str, Any]) -> list[SourceRun] | None:
    """The runs that predicted, or None when one is not there any more.

    Raises:
        MismatchError: a run has other weights now.
    """
    sources: list[SourceRun] = []
    for predicted in record["runs"]:
        run = RunDir(Path(predicted["run"]))
        if not run.best.is_file():
            return None
        if file_digest(run.best) != predicted["checkpoint_sha256"]:
            raise MismatchError(
                f"{run.best} has changed since it predicted.", hint="Predict again with the weights that are there now."
            )
        sources.append(SourceRun(run, read_metadata(run.best)))
    return sources


def pool_predicted(images: PredictionTable, record: dict[str, Any]) -> Manifest:
    """The readable images that were predicted, by where they were then."""
    readable = images.path[images.more["unreadable"] == ""].tolist()
    rows = tuple(Row(path, "", "test", path, None) for path in readable)
    root, grouped = Path(record["pool"]["root"]), bool(record["pool"]["grouped"])
    return Manifest(root, "images", LabelSchema(()), rows, grouped, Submission("", (), "names"))


def recorded(record: dict[str, Any]) -> Provenance:
    """What was found when the images were predicted."""
    then = record["leakage"]
    return Provenance(then["verdict"], then["pool_digest"], dict(then["overlap"]), tuple(then["why"]))


def refuse_changed_pool(now: Provenance, record: dict[str, Any], pool: Manifest) -> None:
    """Raises MismatchError when the images are others than those predicted."""
    if now.digest != record["leakage"]["pool_digest"]:
        raise MismatchError(
            f"The images in {pool.root} are not those that were predicted.", hint="Restore them, or predict again."
        )
