"""Valid records of a run that never was, for tests; keyword arguments change fields."""

from __future__ import annotations

from typing import Any

from ssl_mask.config import ModelConfig
from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.runs.records import BestScore, CheckpointMetadata, DataRecord, RoundSummary, RunStatus
from ssl_mask.runs.selected import SelectionRecord

SCHEMA = LabelSchema((Factor("kind", ("cat", "dog")), Factor("cover", ("no", "yes"))))


def best_score(**fields: Any) -> BestScore:
    made = {
        "step": 4, "weights": "ema", "macro_f1": 0.5, "accuracy": 0.6, "heads": {"kind": 0.7}, "nll": 0.1, "ece": 0.2,
        "ece_raw": 0.3, "temperatures": {"kind": 1.25},
    }  # fmt: skip
    return BestScore.model_validate(made | fields)


def data_record(**fields: Any) -> DataRecord:
    made = {
        "content_hash": "ab", "layout": "table", "root": "data", "grouped": True, "train_images": 3, "val_images": 2,
        "train_groups": 2, "val_groups": 1, "unlabeled": None, "pseudo": None,
    }  # fmt: skip
    return DataRecord.model_validate(made | fields)


def run_status(**fields: Any) -> RunStatus:
    made: dict[str, Any] = {
        "verb": "train", "name": "train-001", "status": "running", "started": "2026-11-25T18:00:00+0000",
        "updated": 1.0, "step": 0, "best": None, "leakage": "clean",
    }  # fmt: skip
    return RunStatus.model_validate(made | fields)


def metadata(**fields: Any) -> CheckpointMetadata:
    made: dict[str, Any] = {
        "model": ModelConfig(), "image_size": 32, "schema": SCHEMA, "target": "factors", "resize": "crop",
        "submission": Submission("image", ("kind", "cover"), "names"),
        "temperatures": {"kind": 1.25, "cover": 0.5},
        "best": best_score(), "prior": (1, 2, 0, 0), "data": data_record(), "run": "train-001", "code": "0",
        "leakage": "clean", "marks": {"ab": "clean"}, "declaration": None, "ancestors": (),
        "seen": {"train": {"images": 3, "sha256": "cd"}},
    }  # fmt: skip
    return CheckpointMetadata.model_validate(made | fields)


def selection_record(**fields: Any) -> SelectionRecord:
    head = {"selected": 1, "val_share": 0.5, "val_precision": 1.0, "classes": {}}
    made = {
        "round": 1, "teachers": [{"run": "runs/t", "checkpoint_sha256": "aa"}], "labels_sha256": "bb",
        "rule": "top_k", "masks": "joint", "pool": 1, "selected": 1, "whole": 1,
        "highest_confidence": 0.9, "heads": {"joint": head}, "flipped": 0, "agreement": None, "validation": 2,
        "validation_groups": 1, "calibration_error": 0.1, "pool_hash": "ef",
        "reliability": {"images": [1], "confidence": [None], "accuracy": [0.5]},
    }  # fmt: skip
    return SelectionRecord.model_validate(made | fields)


def round_summary(number: int, macro_f1: float) -> RoundSummary:
    interval = {"value": macro_f1, "low": macro_f1, "high": macro_f1}
    return RoundSummary.model_validate(
        {"round": number, "run": f"rounds/{number:02d}", "macro_f1": interval, "accuracy": interval, "cpu_seconds": 1}
    )
