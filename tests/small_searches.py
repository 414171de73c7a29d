"""Small searches for the tests of `sslmask tune`: nothing trains, what a trial scores is a formula of its settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_mask.config import RunConfig
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.study import create_study
from ssl_mask.runs.trials import TrialStudy, TuneSettings
from ssl_mask.tuning.journal import Journal
from ssl_mask.tuning.space import default_params, parse_space
from ssl_mask.tuning.trial import Outcome, Report

SPACE: dict[str, Any] = {
    "optim.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "train.batch_size": {"low": 8, "high": 64, "step": 8},
    "model.pooling": ["avg", "gem"],
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
