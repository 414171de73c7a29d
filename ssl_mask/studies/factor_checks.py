"""What is looked at before factor models train: whether every factor can be trained, and whether the labels changed."""

from __future__ import annotations

import hashlib

from ssl_mask.config import RunConfig, factor_config
from ssl_mask.console import Console
from ssl_mask.data.load import read_all_labels
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import ConfigError, DataError, did_you_mean
from ssl_mask.runs.factors import FactorStudy
from ssl_mask.runs.folds import FoldsSettings
from ssl_mask.studies.fold_checks import checked_config
from ssl_mask.training.algorithm import refuse_unknown_names


def checked_factors(config: RunConfig, folds: FoldsSettings | None, console: Console) -> Manifest:
    """The rows of the data set, once every factor can be trained.

    Raises:
        ConfigError: a factor that the data set does not have, a single one, or settings that do not fit.
        DataError: a data set that cannot be split.
    """
    rows = read_all_labels(config.data)
    refuse_wrong_factors(config, rows.schema)
    for name in rows.schema.sizes:
        factor_config(config, name).refuse_auto_batch("a model per factor")
        try:
            refuse_unknown_names(factor_config(config, name), rows.of_factor(name).schema)
        except ConfigError as error:
            hint = "A setting that names classes or heads belongs to the factor that has them: factors.<factor>.…"
            raise ConfigError(f"The model of {name} has no such class or head. {error.problem}", hint=hint) from error
    if folds is None and config.factor_prior == "oof":
        raise ConfigError("factor_prior oof is decided on out-of-fold predictions.", hint="Add --folds 5.")
    if folds is not None:
        checked_config(config.model_copy(update={"factors": {}, "factor_prior": "off"}), folds, console)
    return rows


def refuse_wrong_factors(config: RunConfig, schema: LabelSchema) -> None:
    """Raises ConfigError when there is nothing to join, or a factor is named that the data set does not have."""
    known = list(schema.sizes)
    if len(known) == 1:
        raise ConfigError(
            f"factors asks for a model per factor, but {config.data.root} has one factor only: {known[0]}.",
            hint="Leave out `factors`, and set its settings for the run itself.",
        )
    for name in config.factors:
        if name not in known:
            raise ConfigError(f"factors.{name}: there is no such factor.", hint=did_you_mean(name, known))


def labels_digest(rows: Manifest) -> str:
    """SHA-256 of the labeled rows as the data set names them."""
    return hashlib.sha256(rows.where("train", "val").to_csv().encode(errors="surrogateescape")).hexdigest()


def unchanged_rows(factors: FactorStudy, config: RunConfig) -> Manifest:
    """The rows of the data set. Raises DataError when the labels are not those that the study began with."""
    rows = read_all_labels(config.data)
    if labels_digest(rows) != factors.settings().labels_sha256:
        raise DataError(
            f"The labels in {config.data.root.absolute()} are not those that {factors.path} began with: its factors "
            "would not share one split.",
            hint="Restore them, or begin a new study.",
        )
    return rows
