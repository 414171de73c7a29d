"""`--refit`: one model on all labels, as long as it suits the folds. Its expected score is that of the folds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ssl_mask import devices
from ssl_mask.config import RunConfig, merge, validate
from ssl_mask.files import write_text
from ssl_mask.reports.run_card import run_card
from ssl_mask.runs.checkpoint import Checkpoint, load_checkpoint, read_metadata, write_checkpoint
from ssl_mask.runs.folds import REFIT, FoldsRecord, FoldStudy
from ssl_mask.runs.records import StudyScore
from ssl_mask.runs.run import RunDir
from ssl_mask.studies.members import Trainer, at_work, train_member


def train_refit(folds: FoldStudy, trainer: Trainer, *, changes: Mapping[str, Any] | None = None) -> RunDir:
    """Train on all labels what is not finished of it, with the step, weights and temperatures of a finished study.

    Args:
        changes: what its configuration has of its own, as a tree over that of the study.

    Raises:
        DataError: the folds are not finished.
        SslMaskError: what a training raises. Interrupted: says how to go on.
    """
    decide = partial(devices.broadcast, trainer.accelerator)
    record: FoldsRecord = decide(folds.record)

    with at_work(folds.study, trainer.accelerator):
        config, title = refit_config(folds, record, changes or {}), f"{REFIT}: all labels, {record.step} steps"
        train_member(folds.study, config, trainer, title=title)
        decide(lambda: settle_refit(folds, record))
    return folds.refit


def refit_config(folds: FoldStudy, record: FoldsRecord, changes: Mapping[str, Any]) -> RunConfig:
    """The configuration of the study without validation, for the number of steps that suits its folds.

    Thresholds on confidence, which the folds calibrate as they train, get the temperatures that all folds share.
    """
    config = validate(folds.study.record().config)
    own: dict[str, Any] = {
        "data": {"validation": "none"},
        "train": {"stop_at": record.step, "last_weights": record.weights, "keep": "best", "patience": 0},
    }
    asked = folds.study.member(config, REFIT, **changes).algorithm
    if asked.name != "supervised" and asked.temperature == "calibrated":
        own["algorithm"] = {"temperature": dict(record.temperatures)}
    return folds.study.member(config, REFIT, **merge(changes, own))


def settle_refit(folds: FoldStudy, record: FoldsRecord) -> None:
    """Give the trained weights the temperatures of the folds, and its card their score."""
    run, part = folds.refit, StudyScore(study=str(folds.path), macro_f1=record.macro_f1)
    if read_metadata(run.best).temperatures != record.temperatures:
        trained = load_checkpoint(run.best)
        metadata = trained.metadata.model_copy(update={"temperatures": record.temperatures})
        write_checkpoint(run.best, Checkpoint(trained.weights, metadata))
    if run.status().study != part:
        run.update(study=part)
    if run.card.read_text(encoding="utf-8") != (card := run_card(run)):
        write_text(run.card, card)
