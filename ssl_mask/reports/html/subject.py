"""What a page is about: a run or a study, its honest predictions, and where its images are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.config import DataConfig
from ssl_mask.data.predictions import PredictionTable, read_validation
from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.folds import head_scores, joint_probs, pool
from ssl_mask.reports.html.album import Picture
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.folds import FoldStudy
from ssl_mask.runs.rounds import RoundStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source
from ssl_mask.runs.study import Study


@dataclass(frozen=True)
class Subject:
    """A run or a study that can be looked at."""

    source: Source
    schema: LabelSchema
    table: PredictionTable | None
    """Predictions of images by models that were not trained on them; None: the run was trained on all labels."""
    root: Path
    """What the paths of the table are relative to."""

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def runs(self) -> tuple[RunDir, ...]:
        """The runs whose weights predict."""
        return self.source.members

    @property
    def reading(self) -> DataConfig:
        """How its data set is read, from where its images are now."""
        return self.runs[0].config().data.model_copy(update={"root": self.root})

    @property
    def grouped(self) -> bool:
        """Whether the data name groups (persons)."""
        if self.source.kind == "gallery" and self.table is not None:
            return bool((self.table.group != self.table.path).all())
        return self.runs[0].data().grouped

    @property
    def folds(self) -> FoldStudy | None:
        """The study of folds whose out-of-fold predictions these are."""
        if self.source.kind == "folds":
            return FoldStudy(Study(self.source.path))
        return RoundStudy(Study(self.source.path)).best if self.source.kind == "rounds" else None

    @property
    def images(self) -> str:
        """What the images of the table are called."""
        pooled = self.table is not None and len(np.unique(self.table.fold[self.table.fold >= 0])) > 1
        return "out-of-fold images" if pooled else "validation images"


def subject_of(source: Source, data: Path | None = None) -> Subject:
    """Read a run or a study.

    Args:
        data: the folder of the data set, where it is not where it was trained.

    Raises:
        DataError, ModelError: a file of it is missing or damaged; names the file.
    """
    about, schema = source.members[0].data(), source.schema
    table = None
    paths = source.tables if source.kind != "run" or about.val_images else ()
    if paths:
        tables = [read_validation(path, schema) for path in paths]
        table = tables[0] if len(tables) == 1 else pool([[t] for t in tables])
    return Subject(source, schema, table, Path(about.root) if data is None else data)


def rows_of(table: PredictionTable, chosen: Sequence[int] | NDArray[Any]) -> PredictionTable:
    """Some rows of a table, in this order."""
    at = np.asarray(chosen)
    kept = {f.name: getattr(table, f.name)[at] for f in fields(table) if f.name not in {"classes", "more"}}
    return replace(table, **kept, more={name: column[at] for name, column in table.more.items()})


def picture_of(subject: Subject, row: int, note: str = "") -> Picture:
    """An image of the table."""
    table = subject.table
    assert table is not None
    path, true, predicted = str(table.path[row]), int(table.true[row]), int(table.predicted[row])
    return Picture(
        path, subject.root / path, str(table.sha256[row]), str(table.group[row]) if subject.grouped else "",
        true, predicted, float(table.probs[row, predicted]), float(table.probs[row, true]), note,
    )  # fmt: skip


def true_probs(table: PredictionTable) -> NDArray[np.float64]:
    """(n,) the probability of the true class."""
    return table.probs[np.arange(len(table)), table.true].astype(np.float64)


def raw_probs(subject: Subject) -> NDArray[np.float32] | None:
    """(n, joint classes) probabilities at temperature 1; None where they cannot be found from the calibrated ones."""
    kind, table, folds = subject.source.kind, subject.table, subject.folds
    if table is None or kind not in {"run", "folds", "rounds"} or (folds is not None and folds.settings().repeats > 1):
        return None
    about = read_metadata(subject.runs[0].best)
    temperatures: Mapping[str, float] = about.temperatures if folds is None else folds.record().temperatures
    return joint_probs(head_scores(table.probs, temperatures, subject.schema, about.target), {}, subject.schema)
