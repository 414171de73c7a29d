"""A study of folds: K runs, each without another part of the labels, and one prediction of every label.

The runs are ordinary ones. When all are there, one step is chosen for all of them, their predictions are pooled and
calibrated together (`fold_results.py`), and the study predicts as the mean of its runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ssl_mask import devices
from ssl_mask.config import RunConfig, validate
from ssl_mask.console import Console
from ssl_mask.runs.folds import FoldsRecord, FoldsSettings, FoldStudy
from ssl_mask.runs.study import create_study
from ssl_mask.studies.fold_checks import checked_config, refuse_changed_data
from ssl_mask.studies.fold_results import remove_kept, settle
from ssl_mask.studies.members import Trainer, at_work, train_member

Changes = Mapping[tuple[int, int], Mapping[str, Any]]
"""(repeat, fold) -> what the configuration of that run has of its own, as a tree over that of the study."""


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
    trainer: Trainer,
    *,
    changes: Changes = MappingProxyType({}),
    after: Callable[[int], None] | None = None,
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
    decide = partial(devices.broadcast, trainer.accelerator)
    with at_work(folds.study, trainer.accelerator):
        if decide(lambda: folds.finished):
            trainer.console.say(f"Done   {folds.path} has finished already: all of its folds are trained.")
        else:
            config = validate(folds.study.record().config)
            decide(lambda: refuse_changed_data(folds, config))
            for finished in _train_each(folds, config, changes, trainer):
                if after is not None:
                    after(finished)
            decide(lambda: settle(folds, trainer.console))
        decide(lambda: remove_kept(folds))
    record: FoldsRecord = decide(folds.record)
    return record


def _train_each(folds: FoldStudy, config: RunConfig, changes: Changes, trainer: Trainer) -> Iterator[int]:
    """Train the runs by repeat and fold; after each, yields how many are finished."""
    asked, study, console = folds.settings(), folds.study, trainer.console
    total = asked.repeats * asked.folds
    console.say(f"Study  {study.path}: {total} runs, {asked.folds} folds" + f" x {asked.repeats}" * (asked.repeats > 1))
    began, trained = time.monotonic(), 0
    for finished, (repeat, fold) in enumerate(product(range(asked.repeats), range(asked.folds)), start=1):
        member = folds.member_config(config, repeat, fold, changes.get((repeat, fold), {}))
        trained += train_member(study, member, trainer)
        best = study.run(str(member.name)).status().best
        if best is not None:
            left = (time.monotonic() - began) / trained * (total - finished) if trained else 0.0
            console.say(
                f"Fold   {finished} of {total} is finished: macro-F1 {best.macro_f1:.4f} at its own best step "
                f"{best.step} ({best.weights} weights)" + (f"; about {left / 60:.1f} minutes left" if left else "")
            )
        yield finished
