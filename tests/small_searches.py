"""Small searches for the tests of `sslmask tune`: nothing trains, what a trial scores is a formula of its settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssl_mask.config import RunConfig
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.predictions import write_predictions
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.evaluation.metrics import macro_f1
from ssl_mask.files import write_json
from ssl_mask.reports import study_samples
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.folds import FoldsRecord, FoldsSettings, FoldStudy
from ssl_mask.runs.study import create_study
from ssl_mask.runs.trials import TrialStudy, TuneSettings
from ssl_mask.tuning.journal import Journal
from ssl_mask.tuning.space import default_params, parse_space
from ssl_mask.tuning.trial import Outcome, Report

SPACE: dict[str, Any] = {
    "optim.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "train.batch_size": {"low": 8, "high": 64, "step": 8},
    "model.pooling": ["own", "gem"],
    "model.freeze_norm": [True, False],
}


def search(folder: Path, trials: int, base: RunConfig | None = None, **settings: Any) -> Journal:
    """The journal of a search that is begun, or goes on where it is there already."""
    base, study = base or RunConfig(), TrialStudy(_study(folder, trials, **settings))
    asked = study.settings()
    space = parse_space(asked.space, base, asked.space_file)
    return Journal(study, space, default_params(base, space), base.seed, asked.metric, trials)


def _study(folder: Path, trials: int, **settings: Any) -> Any:
    made = TuneSettings.model_validate(
        {"space": SPACE, "space_file": "space.yaml", "folds": 3, "trials": trials, **settings}
    )
    return create_study(folder, "tune", "trials", RunConfig(), made.to_json())


def formula(params: Mapping[str, Any]) -> float:
    """Best, 0.9, at a learning rate of 0.01, batches of 32 and `gem`."""
    lr, size = params.get("optim.lr", 1e-3), params.get("train.batch_size", 32)
    gem = params.get("model.pooling") == "gem"
    return 0.8 - 0.1 * abs(math.log10(lr) + 2) - abs(size - 32) / 200 + 0.1 * gem


def scored(number: int, params: Mapping[str, Any], report: Report) -> Outcome:  # noqa: ARG001
    """An objective."""
    value = formula(params)
    for folds in (1, 2, 3):
        report(folds, value + (0.01, -0.01, 0)[folds - 1])
    return outcome(value)


def outcome(value: float) -> Outcome:
    return Outcome(IntervalRecord(value=value, low=value - 0.1, high=value + 0.1), 2 - value, 6, "ema", 1.0)


MADE = LabelSchema((Factor("kind", ("cat", "dog", "fox")),))


def made_trial(
    folds: FoldStudy,
    config: RunConfig,
    asked: TuneSettings,  # noqa: ARG001
    parts: FoldsSettings,
    report: Report | None = None,
) -> FoldsRecord:
    """In place of a study of folds: 120 images of 40 groups, predicted as well as a formula of the settings says."""
    create_study(folds.path, "tune", "folds", config, parts.to_json())
    good = formula({"optim.lr": config.optim.lr, "train.batch_size": config.train.batch_size,
                    "model.pooling": config.model.pooling}) - 0.25  # fmt: skip
    for n in range(1, parts.folds * parts.repeats + 1):
        if report is not None:
            report(n, good)
    rng = np.random.default_rng([config.data.split_seed, 7])  # luck, of a group: the same for all trials of a split
    true = np.arange(120) % 3
    right = np.repeat(rng.random(40), 3) < good
    rows = tuple(
        Row(f"{i:03d}.jpg", f"g{i // 3}", "val", "made", (int(t),), digest=f"{i:064x}") for i, t in enumerate(true)
    )
    manifest = Manifest(folds.path, "table", MADE, rows, True, Submission("image", ("answer",), "names"))
    probs = np.eye(3, dtype=np.float32)[np.where(right, true, (true + 1) % 3)]
    write_predictions(folds.oof, manifest, probs, fold=0)
    value = macro_f1(true, probs.argmax(axis=1), 3)
    interval = IntervalRecord(value=value, low=value - 0.1, high=min(value + 0.1, 1.0))
    record = study_samples.folds(parts.folds)[0].model_copy(
        update={"macro_f1": interval, "nll": 2 - value, "grouped": True}
    )
    write_json(folds.record_file, record.to_json())
    return record
