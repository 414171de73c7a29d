"""The manifest: one row per image. Everything downstream reads this table and never a folder or a label file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.names import Split
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import ConfigError, did_you_mean
from ssl_mask.text import csv_text


class Row(NamedTuple):
    """One image. `labels` has one class index per factor; it is None where the labels are unknown."""

    path: str
    """Relative to the manifest's root, with forward slashes."""
    group: str
    """Groups (such as persons) are never split: all images of one are in the same split."""
    split: Split
    source: str
    """Where the row comes from, for error messages: `train/train.csv:17`."""
    labels: tuple[int, ...] | None
    train_labels: tuple[int, ...] | None = None
    """Labels to train on where they differ on purpose; validation always uses `labels`."""
    id: str = ""
    """The name the image has in a submission."""
    digest: str = ""
    """SHA-256 of the file's bytes."""


class Submission(NamedTuple):
    """How a submission is written: its columns, and class numbers or class names."""

    id_column: str
    answer_columns: tuple[str, ...]
    answers: Literal["joint index", "names"]


def csv_columns(factors: Iterable[str]) -> list[str]:
    """The header of a manifest's CSV."""
    names = list(factors)
    return ["path", "group", "split", "source", "id", "sha256", *names, *(f"train_{n}" for n in names)]


@dataclass(frozen=True)
class Manifest:
    """The rows of a data set, and what their labels mean."""

    root: Path
    layout: str
    schema: LabelSchema
    rows: tuple[Row, ...]
    grouped: bool
    """False when the source has no group column: then every image is its own group, and leaks can stay unseen."""
    submission: Submission
    message: str = ""
    """What was found, in a sentence."""
    notes: tuple[str, ...] = ()
    """Sentences to warn about, such as images that were found and are not read."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Path of each labeled image that `data.corrections` leaves out -> why. It is in no row."""

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, *splits: str) -> Manifest:
        """The rows of these splits, in order."""
        return self.with_rows(r for r in self.rows if r.split in splits)

    def with_rows(self, rows: Iterable[Row]) -> Manifest:
        return replace(self, rows=tuple(rows))

    def of_factor(self, name: str) -> Manifest:
        """The same rows with the labels of one factor; a submission has a column of its class names.

        Raises:
            ConfigError: no such factor.
        """
        names = list(self.schema.sizes)
        if name not in names:
            raise ConfigError(f"data.factor: there is no factor {name!r}.", hint=did_you_mean(name, names))
        at = names.index(name)

        def reduced(row: Row) -> Row:
            if row.labels is None:
                return row
            true, trained = row.labels[at : at + 1], (row.train_labels or row.labels)[at : at + 1]
            return row._replace(labels=true, train_labels=None if trained == true else trained)

        given = self.submission
        answer = given.answer_columns[at] if given.answers == "names" else name
        return replace(
            self,
            schema=LabelSchema((self.schema.factors[at],)),
            rows=tuple(map(reduced, self.rows)),
            submission=Submission(given.id_column, (answer,), "names"),
        )

    def with_digests(self, digests: Iterable[str]) -> Manifest:
        return self.with_rows(r._replace(digest=d) for r, d in zip(self.rows, digests, strict=True))

    @cached_property
    def files(self) -> list[Path]:
        return [self.root / r.path for r in self.rows]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(n, factors) true class indices; -1 where unknown."""
        unknown = (-1,) * len(self.schema.factors)
        table = [r.labels or unknown for r in self.rows]
        return np.asarray(table, dtype=np.int64).reshape(len(self.rows), len(unknown))

    @cached_property
    def train_labels(self) -> NDArray[np.int64]:
        """(n, factors) class indices to train on."""
        return self.with_rows(r._replace(labels=r.train_labels or r.labels) for r in self.rows).labels

    @cached_property
    def joint(self) -> NDArray[np.int64]:
        """(n,) true joint class."""
        return self.schema.join(self.labels)

    @cached_property
    def groups(self) -> NDArray[np.str_]:
        return np.asarray([r.group for r in self.rows], dtype=np.str_)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the rows (image digests, groups, splits, labels); the same in any order and any folder."""
        lines = sorted("\0".join([r.digest, r.group, r.split, str(r.labels), str(r.train_labels)]) for r in self.rows)
        text = "\n".join([str(self.schema.to_json()), *lines])
        return hashlib.sha256(text.encode()).hexdigest()

    def to_csv(self) -> str:
        """The table as CSV text, with class names instead of numbers."""
        header = csv_columns(f.name for f in self.schema.factors)
        rows = (
            [r.path, r.group, r.split, r.source, r.id, r.digest, *self._names(r.labels), *self._names(r.train_labels)]
            for r in self.rows
        )
        return csv_text([header, *rows])

    def _names(self, labels: tuple[int, ...] | None) -> list[str]:
        if labels is None:
            return [""] * len(self.schema.factors)
        return [f.classes[i] for f, i in zip(self.schema.factors, labels, strict=True)]
