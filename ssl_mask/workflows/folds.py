"""`sslmask train --folds K`: K runs, each without another part of the labels, and one prediction of every label."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ssl_mask import devices
from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.errors import InputError, nothing_written
from ssl_mask.runs.folds import FoldsSettings, FoldStudy
from ssl_mask.runs.study import begin_study, resumed_study
from ssl_mask.studies.estimates import estimate_folds
from ssl_mask.studies.fold_checks import checked_config
from ssl_mask.studies.folds import run_folds
from ssl_mask.studies.members import Trainer
from ssl_mask.studies.refit import train_refit
from ssl_mask.training.trackers.tracking import refuse_missing
from ssl_mask.workflows.train import train, two_steps


def train_folds(
    config: RunConfig,
    *,
    folds: int = 5,
    repeats: int = 1,
    refit: bool = False,
    verb: str = "train",
    resume: str | Path | None = None,
    dry_run: bool = False,
    quiet: bool = False,
) -> FoldStudy | None:
    """Train a model per fold and pool their predictions of the labels: a score on all of them, and an ensemble.

    Args:
        config: of every run; `config.name` names the study.
        folds: parts of the labeled images; groups are never split.
        repeats: splits with other seeds; each image gets a prediction from each.
        refit: also train one model on all labels, for the step that suits the folds.
        verb: `train` or `uda`: how the study is continued.
        resume: a study to continue; its own settings count, finished runs are not redone. It may get a refit.
        dry_run: check configuration, data and all folds, run two steps, print what all of it would cost; returns None.
        quiet: print nothing.

    Raises:
        SslMaskError: any bad input. Interrupted: everything is saved, the message says how to go on.

    Examples:
        >>> import ssl_mask
        >>> config = ssl_mask.load_config({"data": {"root": "faces"}}, preset="laptop")
        >>> study = ssl_mask.train_folds(config, folds=2, refit=True, quiet=True)
        >>> score = study.record().macro_f1
        >>> score.low <= score.value <= score.high
        True
        >>> ssl_mask.load_run(study.path / "refit").status.study.macro_f1 == score
        True
    """
    if resume is None:
        refuse_missing(config.train.trackers)
    accelerator = devices.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    asked = FoldsSettings(folds=folds, repeats=repeats, refit=refit)
    if resume is not None and dry_run:
        raise InputError("--dry-run is of a new study.", hint="Leave out --resume.")
    if resume is None:
        with nothing_written("this study"):
            config = devices.broadcast(accelerator, lambda: checked_config(config, asked, console))
            if dry_run:
                estimate_folds(config, asked, partial(two_steps, accelerator=accelerator, console=console), console)
                return None
    study = devices.broadcast(accelerator, lambda: _open(config, asked, verb, resume))
    trainer = Trainer(train, accelerator, console, quiet)
    run_folds(study, trainer)
    if devices.broadcast(accelerator, study.settings).refit:
        train_refit(study, trainer)
    console.say(f"Saved  {study.path}  (read {study.card.name}; next: sslmask predict --run {study.path})")
    return study


def _open(config: RunConfig, asked: FoldsSettings, verb: str, resume: str | Path | None) -> FoldStudy:
    if resume is None:
        return FoldStudy(begin_study(config, "study", verb, "folds", asked.to_json()))
    study = FoldStudy(resumed_study(resume, config.runs, verb))
    if asked.refit:
        study.study.change_settings(refit=True)
    return study
