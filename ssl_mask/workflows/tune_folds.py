"""What a trial of `sslmask tune` trains: a study of folds, reported after every fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ssl_mask import devices
from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.errors import TrainingError
from ssl_mask.evaluation.folds import best_point, mean_curve
from ssl_mask.runs.folds import FoldsRecord, FoldsSettings, FoldStudy
from ssl_mask.runs.trials import TuneSettings
from ssl_mask.studies.fold_results import curve_of
from ssl_mask.studies.folds import create_folds, run_folds
from ssl_mask.studies.members import Trainer
from ssl_mask.tuning.journal import Journal
from ssl_mask.tuning.search import default_config
from ssl_mask.tuning.space import changed
from ssl_mask.tuning.trial import Outcome, Report, lighten, run_trial
from ssl_mask.workflows.train import train


def work_on_trial(journal: Journal, number: int) -> bool:
    """Train a trial to its end; False where another process works on it."""
    base, asked = default_config(journal.study), journal.study.settings()
    folds = journal.study.trial(number)

    def objective(number: int, params: Mapping[str, Any], report: Report) -> Outcome:  # noqa: ARG001
        record = train_trial(
            folds, changed(base, params), asked, FoldsSettings(folds=asked.folds, repeats=asked.repeats), report
        )
        return Outcome(record.macro_f1, record.nll, record.step, record.weights, record.cpu_seconds)

    done = run_trial(journal, number, objective)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # a trial that ran out of memory leaves it in pieces
    if done:
        lighten(folds, keep_weights=journal.study.record(number).state == "finished")
    return done


def train_trial(
    folds: FoldStudy, config: RunConfig, asked: TuneSettings, parts: FoldsSettings, report: Report | None = None
) -> FoldsRecord:
    """Train what is missing of a trial's study of folds.

    Args:
        report: told the best of the mean curve of the first folds, after each.

    Raises:
        TrainingError: as of a run of it that has failed.
        SslMaskError: what a training raises.
    """
    if not folds.study.record_file.is_file():
        create_folds(folds.path, "tune", config, parts)
    refuse_failed(folds)

    def after(finished: int) -> None:
        point = best_point(mean_curve([curve_of(run) for run in folds.members()[:finished]]))
        if report is not None:
            report(finished, point.macro_f1 if asked.metric == "macro_f1" else point.nll)

    for finished in range(1, 1 + len(folds.members()) * folds.finished):  # killed between its end and its record
        after(finished)
    accelerator = devices.make_accelerator(config.train.precision)
    return run_folds(folds, Trainer(train, accelerator, Console(quiet=True), quiet=True), after=after)


def refuse_failed(folds: FoldStudy) -> None:
    """Raises the error of a run that has failed: killed before the trial was told so."""
    for run in folds.members():
        if run.status_file.is_file() and (status := run.status()).status == "failed":
            raise TrainingError(status.failure)
