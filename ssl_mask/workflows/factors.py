"""`sslmask train` with `factors`: a model per factor, each with its own settings, all on one split, joined at the end.

With `--folds` every factor has a study of folds, without a single run. The parts are ordinary runs and studies; what
joins them is computed from their predictions of labeled images, written last, and made anew by the same command.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ssl_mask import devices
from ssl_mask.config import RunConfig, factor_config, validate
from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import InputError, nothing_written
from ssl_mask.runs.create import create_folder
from ssl_mask.runs.factors import FactorsSettings, FactorStudy, folders_of
from ssl_mask.runs.folds import FoldsSettings, FoldStudy
from ssl_mask.runs.study import Study, create_study, resumed_study
from ssl_mask.studies.estimates import estimate_factors
from ssl_mask.studies.factor_checks import checked_factors, labels_digest, unchanged_rows
from ssl_mask.studies.factor_results import join, tell
from ssl_mask.studies.folds import create_folds, run_folds
from ssl_mask.studies.members import Trainer, at_work, train_member
from ssl_mask.studies.refit import train_refit
from ssl_mask.training.trackers.tracking import refuse_missing
from ssl_mask.workflows.train import train, two_steps


def train_factors(
    config: RunConfig,
    *,
    folds: int | None = None,
    repeats: int = 1,
    refit: bool = False,
    verb: str = "train",
    resume: str | Path | None = None,
    dry_run: bool = False,
    quiet: bool = False,
) -> FactorStudy | None:
    """Train a model per factor and join their predictions.

    Args:
        config: the common settings, and in `factors` those of single factors; `config.name` names the study.
        folds: a study of so many folds per factor; None: a single run per factor.
        repeats: as that of `train_folds`; so is `refit`.
        verb: `train` or `uda`: how the study is continued.
        resume: a study to continue; its own settings count, finished runs are not redone. It may get a refit.
        dry_run: check configuration and data, run two steps per factor, print what all would cost; returns None.
        quiet: print nothing.

    Raises:
        SslMaskError: any bad input. Interrupted: everything is saved, the message says how to go on.

    Examples:
        >>> import ssl_mask
        >>> settings = {"data": {"root": "faces"}, "factors": {"age": {"train": {"sampler": "balanced"}}}}
        >>> config = ssl_mask.load_config(settings, preset="laptop")
        >>> study = ssl_mask.train_factors(config, quiet=True)  # folds=5: a study of folds per factor
        >>> list(study.record().parts)
        ['mask', 'gender', 'age']
        >>> predictions = ssl_mask.predict([study.path], write=False, quiet=True)
    """
    if resume is None:
        for own in (config, *(factor_config(config, name) for name in config.factors)):
            refuse_missing(own.train.trackers)
    accelerator = devices.make_accelerator(config.train.precision)
    console = Console(quiet=quiet or not accelerator.is_main_process)
    asked = None if folds is None else FoldsSettings(folds=folds, repeats=repeats, refit=refit)
    with nothing_written("this study"):
        if resume is None and dry_run:
            rows = devices.broadcast(accelerator, lambda: checked_factors(config, asked, console))
            two = partial(two_steps, accelerator=accelerator, console=Console(quiet=True))
            estimate_factors(config, rows.schema.sizes, asked, two, console)
            return None
        if dry_run:
            raise InputError("--dry-run is of a new study.", hint="Leave out --resume.")
        study = devices.broadcast(accelerator, lambda: _open(config, asked, verb, resume, console, refit=refit))
    run_factors(study, Trainer(train, accelerator, console, quiet))
    return study


def _open(
    config: RunConfig, folds: FoldsSettings | None, verb: str, resume: str | Path | None, console: Console, *,
    refit: bool,
) -> FactorStudy:  # fmt: skip
    if resume is not None:
        return with_refit(FactorStudy(resumed_study(resume, config.runs, verb)), asked=refit)
    rows = checked_factors(config, folds, console)

    def build(folder: Path, _: str) -> None:
        create_factors(folder, verb, config, folds, rows)

    return FactorStudy(Study(create_folder(config, "study", build)))


def with_refit(factors: FactorStudy, *, asked: bool) -> FactorStudy:
    """A study that is continued, which may get models on all labels although it did not begin with them."""
    own = factors.settings()
    if asked and own.folds is not None:
        factors.study.change_settings(folds={**own.folds.to_json(), "refit": True})
        for name in own.parts:
            Study(factors.folder(name)).change_settings(refit=True)
    return factors


def create_factors(
    path: Path, verb: str, config: RunConfig, folds: FoldsSettings | None, rows: Manifest
) -> FactorStudy:
    """A fresh study of factor models in a folder; no image is read yet.

    Args:
        verb: `sslmask <verb> --resume` continues it.
        folds: of each factor's study of folds; None: a single run per factor.
        rows: as `checked_factors` returns them.
    """
    parts = folders_of(list(rows.schema.sizes))
    settings = FactorsSettings(parts=parts, folds=folds, labels_sha256=labels_digest(rows))
    if folds is not None:
        for name, folder in parts.items():
            create_folds(path / folder, verb, factor_config(config, name), folds)
    return FactorStudy(create_study(path, verb, "factors", config, settings.to_json()))


def run_factors(factors: FactorStudy, trainer: Trainer) -> None:
    """Train what is missing of a study, and join the factors.

    Raises:
        DataError: the labels are not those that the study began with.
        MismatchError: a study that is finished, but whose parts were changed.
        SslMaskError: what a training raises. Interrupted: says how to go on.
    """
    accelerator, console = trainer.accelerator, trainer.console
    decide = partial(devices.broadcast, accelerator)
    config, asked = validate(factors.study.record().config), factors.settings()
    with at_work(factors.study, accelerator):
        rows = decide(lambda: unchanged_rows(factors, config))
        console.say(f"Study  {factors.path}: models of {len(asked.parts)} factors ({', '.join(asked.parts)})")
        if decide(lambda: factors.finished):
            decide(factors.refuse_changed_parts)
        else:
            _train_parts(factors, config, trainer)
            decide(lambda: join(factors, config, rows))
        if asked.folds is not None and asked.folds.refit:
            for folder in asked.parts.values():
                train_refit(FoldStudy(Study(factors.path / folder)), trainer)
    if accelerator.is_main_process:
        tell(factors, console)


def _train_parts(factors: FactorStudy, config: RunConfig, trainer: Trainer) -> None:
    """Train what is missing, one factor after the other."""
    asked = factors.settings()
    for name, folder in asked.parts.items():
        if asked.folds is None:
            member = factors.study.member(factor_config(config, name), folder)
            train_member(factors.study, member, trainer)
        else:
            trainer.console.say(f"\nFactor {name}", style="bold")
            run_folds(FoldStudy(Study(factors.path / folder)), trainer)
