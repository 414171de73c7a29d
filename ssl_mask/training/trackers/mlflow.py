"""MLflow: at MLFLOW_TRACKING_URI, else files in `<run>/trackers/mlflow`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from accelerate.tracking import MLflowTracker

from ssl_mask.files import write_json
from ssl_mask.reading import parse_json, read_text
from ssl_mask.training.trackers.place import PROJECT, Opened, Place

PATIENT = {
    "MLFLOW_ALLOW_FILE_STORE": "true",
    # A server that does not answer would hold the training for minutes at every line.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}  # fmt: skip
"""Variables that MLflow reads; what the user has set stays."""


def open_tracker(place: Place) -> Opened:
    """A resumed run goes on in the run of MLflow whose id was kept beside it."""
    for name, value in PATIENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    known, own = place.folder / "mlflow_run.json", not mlflow.is_tracking_uri_set()
    if own:
        mlflow.set_tracking_uri((place.folder / "mlflow").absolute().as_uri())
    before = parse_json(read_text(known))["run_id"] if place.step and known.is_file() else None
    tracker = MLflowTracker(PROJECT, run_id=before, run_name=place.name)

    def close() -> None:
        try:
            tracker.finish()
        finally:
            if own:  # MLflow keeps it in a variable of this process, and the next run has a folder of its own
                mlflow.set_tracking_uri(None)

    try:
        tracker.start()
        write_json(known, {"run_id": tracker.tracker.info.run_id})
    except Exception:
        close()
        raise

    def keep(card: Path, plots: Sequence[Path], step: int) -> None:  # noqa: ARG001
        for file in (card, *plots):
            tracker.log_artifact(str(file), artifact_path="plots" if file in plots else None)

    return Opened(tracker, keep, close)
