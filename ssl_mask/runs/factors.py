"""A study of factor models: each factor has models of its own, all on one split; together they predict joint classes.

runs/study-002/            sslmask train --folds 5 --config factors_laptop
├── study.json
├── mask/, gender/, age/   a study of folds each; without --folds a run each
├── oof.parquet            predictions of the joint classes of labeled images, by models that have not seen their group
├── oof.json               written last: scores, the joint prior, and what the parts were then
├── study_card.md
└── predictions/<pool>/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError, MismatchError
from ssl_mask.runs.base import Count, NotNegative, Positive, Record, Share, read_record
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.folds import FoldsSettings, FoldStudy
from ssl_mask.runs.records import LeakageStatus, as_schema, as_submission
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seal import file_digest
from ssl_mask.runs.study import OofStudy, Study

_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TAKEN = {"predictions", "plots"}


class FactorsSettings(Record):
    """What a study of factor models is made of, as study.json keeps it."""

    parts: dict[str, str]
    """Factor -> folder, in the order of the label schema."""
    folds: FoldsSettings | None = None
    """Of each factor's study of folds; None: a single run per factor."""
    labels_sha256: str
    """Of the labeled rows of the data set; no image is read for it."""


class PartRecord(Record):
    """The models of one factor, as they were when the study was joined."""

    macro_f1: IntervalRecord
    """Of this factor alone, interval by group."""
    accuracy: Share
    nll: NotNegative
    checkpoints: dict[str, str]
    """Path of each run that predicts, below the study -> SHA-256 of its weights."""
    table_sha256: str
    """Of its predictions of labeled images."""


class PriorRecord(Record):
    """The correction of the product by how often classes of the factors go together."""

    ratio: tuple[Positive, ...]
    """Of each joint class: its probability is multiplied by it."""
    used: bool
    macro_f1: IntervalRecord
    """Corrected less plain, each fold corrected by the labels of the others; used if the interval is above zero."""
    nll_plain: NotNegative
    nll_corrected: NotNegative


class FactorsRecord(Record):
    """oof.json."""

    label_schema: Annotated[LabelSchema, BeforeValidator(as_schema), PlainSerializer(LabelSchema.to_json)] = Field(
        alias="schema"
    )
    submission: Annotated[Submission, BeforeValidator(as_submission), PlainSerializer(Submission._asdict)]
    parts: dict[str, PartRecord]
    """By factor."""
    prior: PriorRecord | None = None
    """None: not asked for (`factor_prior`)."""
    counts: tuple[Count, ...]
    """Labeled images of each joint class."""
    images: Count
    groups: Count
    grouped: bool
    macro_f1: IntervalRecord
    """Of the joint classes, pooled over all predictions, interval by group."""
    accuracy: IntervalRecord
    nll: NotNegative
    ece: NotNegative
    cpu_seconds: NotNegative
    leakage: LeakageStatus
    """The worst of the runs."""
    leakage_reason: str
    oof_sha256: str
    """Of oof.parquet."""

    @model_validator(mode="after")
    def _fits_the_schema(self) -> FactorsRecord:
        schema, ratio = self.label_schema, self.prior.ratio if self.prior is not None else self.counts
        if list(self.parts) != list(schema.sizes):
            raise ValueError("the parts are not the factors of the schema")
        if not len(self.counts) == len(ratio) == len(schema.joint_classes):
            raise ValueError("the prior does not fit the classes")
        return self


def folders_of(factors: Sequence[str]) -> dict[str, str]:
    """Factor -> folder of its models: its own name where that can be one."""
    own = [name.lower() for name in factors]
    return {
        name: name
        if _FOLDER.fullmatch(name) and own.count(name.lower()) == 1 and name.lower() not in _TAKEN
        else f"factor-{i}"
        for i, name in enumerate(factors)
    }


@dataclass(frozen=True)
class FactorStudy(OofStudy):
    """A study whose parts predict one factor each."""

    def settings(self) -> FactorsSettings:
        """Raises DataError when study.json is missing or damaged."""
        return self.study.settings_as(FactorsSettings)

    def folder(self, factor: str) -> Path:
        """Of the study or the run of a factor."""
        return self.path / self.settings().parts[factor]

    def runs(self, factor: str) -> tuple[RunDir, ...]:
        """The runs that predict a factor together, whether they are there or not."""
        folder = self.folder(factor)
        return (RunDir(folder),) if self.settings().folds is None else FoldStudy(Study(folder)).members()

    def table(self, factor: str) -> Path:
        """Predictions of a factor of labeled images: out-of-fold, or of the validation of a run."""
        folder = self.folder(factor)
        return RunDir(folder).validation if self.settings().folds is None else FoldStudy(Study(folder)).oof

    def record(self) -> FactorsRecord:
        """The content of oof.json. Raises DataError when it is missing or damaged."""
        return read_record(self.record_file, FactorsRecord, hint=f"Go on: {self.study.how_to_go_on}")

    def checkpoints(self, factor: str) -> dict[str, str]:
        """Path of each run that predicts a factor, below the study -> SHA-256 of its weights."""
        return {run.path.relative_to(self.path).as_posix(): file_digest(run.best) for run in self.runs(factor)}

    def refuse_changed_parts(self) -> None:
        """Check that the models are those whose predictions were joined and scored.

        Raises:
            DataError: a part has no weights or no predictions any more. MismatchError: it has others.
        """
        for factor, then in self.record().parts.items():
            files = [self.table(factor), *(run.best for run in self.runs(factor))]
            if missing := [file for file in files if not file.is_file()]:
                raise DataError(f"{missing[0]} is missing: without it {factor!r} cannot be predicted.",
                                hint="Restore it, or begin a new study.")  # fmt: skip
            if self.checkpoints(factor) != then.checkpoints or file_digest(files[0]) != then.table_sha256:
                raise MismatchError(
                    f"The models of {factor!r} in {self.folder(factor)} are not those that {self.path} was joined of.",
                    hint=f"Restore them, or delete {self.record_file} and join them anew: {self.study.how_to_go_on}",
                )
