"""`sslmask train --folds K`: K runs, each without another part of the labels, and one prediction of every label.

The runs are ordinary ones. When all are there, one step is chosen for all of them, their predictions are pooled and
calibrated together (`ssl_mask.studies.fold_results`), and the study predicts as the mean of its runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from accelerate import Accelerator

from ssl_mask import devices
from ssl_mask.config import RunConfig, validate
from ssl_mask.console import Console
from ssl_mask.errors import InputError, nothing_written
from ssl_mask.runs.folds import FoldsRecord, FoldsSettings, FoldStudy
from ssl_mask.runs.study import begin_study, create_study, resumed_study
from ssl_mask.studies.fold_checks import checked_config, refuse_changed_data
from ssl_mask.studies.fold_results import remove_kept, settle
from ssl_mask.workflows.dry_run import estimate_folds
from ssl_mask.workflows.members import at_work, train_member
from ssl_mask.workflows.refit import train_refit

Changes = Mapping[tuple[int, int], Mapping[str, Any]]
"""(repeat, fold) -> what the configuration of that run has of its own, as a tree over that of the study."""


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
    accelerator = devices.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    asked = FoldsSettings(folds=folds, repeats=repeats, refit=refit)
    if resume is not None and dry_run:
        raise InputError("--dry-run is of a new study.", hint="Leave out --resume.")
    if resume is None:
        with nothing_written("this study"):
            config = devices.broadcast(accelerator, lambda: checked_config(config, asked, console))
            if dry_run:
                estimate_folds(config, asked, accelerator, console)
                return None
    study = devices.broadcast(accelerator, lambda: _open(config, asked, verb, resume))
    run_folds(study, accelerator, console, quiet=quiet)
    if devices.broadcast(accelerator, study.settings).refit:
        train_refit(study, accelerator, console, quiet=quiet)
    console.say(f"Saved  {study.path}  (read {study.card.name}; next: sslmask predict --run {study.path})")
    return study


def _open(config: RunConfig, asked: FoldsSettings, verb: str, resume: str | Path | None) -> FoldStudy:
    if resume is None:
        return FoldStudy(begin_study(config, "study", verb, "folds", asked.to_json()))
    study = FoldStudy(resumed_study(resume, config.runs, verb))
    if asked.refit:
        study.study.change_settings(refit=True)
    return study


def create_folds(path: Path, verb: str, config: RunConfig, settings: FoldsSettings) -> FoldStudy:
    """A fresh study of folds in a folder, once its data set allows it; no image is read yet.

    All runs get the same number of steps and evaluate at the same ones, however many images their folds have.

    Args:
        verb: `sslmask <verb> --resume` continues it.

    Raises:
        DataError: a fold would have no training image of a class, or there are too few groups.
        ConfigError: settings that folds cannot have, or a data set that brings its own split.
    """
    common = checked_config(config, settings, Console(quiet=True))
    return FoldStudy(create_study(path, verb, "folds", common, settings.to_json()))


def run_folds(
    folds: FoldStudy,
    accelerator: Accelerator,
    console: Console,
    *,
    changes: Changes = MappingProxyType({}),
    after: Callable[[int], None] | None = None,
    quiet: bool = False,
) -> FoldsRecord:
    """Train what is missing of a study, choose the common step, and write the out-of-fold predictions.

    Args:
        changes: what runs that are not begun yet have of their own.
        after: told how many runs are finished, after each of them, also of those that were finished before; on all
            processes. What it raises stops the study, which can go on later.

    Raises:
        DataError: the data set is not what the study began with.
        SslMaskError: what a training raises. Interrupted: says how to go on.
    """
    decide = partial(devices.broadcast, accelerator)
    with at_work(folds.study, accelerator):
        if decide(lambda: folds.finished):
            console.say(f"Done   {folds.path} has finished already: all of its folds are trained.")
        else:
            config = validate(folds.study.record().config)
            decide(lambda: refuse_changed_data(folds, config))
            for finished in _train_each(folds, config, changes, accelerator, console, quiet=quiet):
                if after is not None:
                    after(finished)
            decide(lambda: settle(folds, console))
        decide(lambda: remove_kept(folds))
    record: FoldsRecord = decide(folds.record)
    return record


def _train_each(
    folds: FoldStudy, config: RunConfig, changes: Changes, accelerator: Accelerator, console: Console, *, quiet: bool
) -> Iterator[int]:
    """Train the runs by repeat and fold; after each, yields how many are finished."""
    asked, study = folds.settings(), folds.study
    total = asked.repeats * asked.folds
    console.say(f"Study  {study.path}: {total} runs, {asked.folds} folds" + f" x {asked.repeats}" * (asked.repeats > 1))
    began, trained = time.monotonic(), 0
    for finished, (repeat, fold) in enumerate(product(range(asked.repeats), range(asked.folds)), start=1):
        member = folds.member_config(config, repeat, fold, changes.get((repeat, fold), {}))
        trained += train_member(study, member, accelerator, console, quiet=quiet)
        best = study.run(str(member.name)).status().best
        if best is not None:
            left = (time.monotonic() - began) / trained * (total - finished) if trained else 0.0
            console.say(
                f"Fold   {finished} of {total} is finished: macro-F1 {best.macro_f1:.4f} at its own best step "
                f"{best.step} ({best.weights} weights)" + (f"; about {left / 60:.1f} minutes left" if left else "")
            )
        yield finished
