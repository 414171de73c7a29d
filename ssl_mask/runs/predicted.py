"""predictions.provenance.json, as a typed record: what predicted which images, and what was found then.

It says what somebody claims. Whoever scores the predictions finds it anew where runs and images are still there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from ssl_mask.runs.base import Count, NotNegative, Positive, Record, Share, read_record
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.records import DeclarationRecord, LeakageStatus
from ssl_mask.runs.sources import SourceKind


class PredictedFile(Record):
    """The CSV that the record is about."""

    file: str
    sha256: str


class PredictedPool(Record):
    """The images."""

    name: str
    images: Count
    root: str
    grouped: bool
    """Whether they name their persons (groups)."""
    max_pixels: PositiveInt | None = None
    """Larger ones were refused; None: as each run was configured."""


class PredictedBy(Record):
    """One of the runs whose predictions were averaged, as it was then."""

    run: str
    """Its path."""
    checkpoint_sha256: str
    step: Count
    weights: Literal["live", "ema"]
    validation_macro_f1: Share | None
    """None: trained without validation."""
    trained_on: str
    code: str
    leakage: LeakageStatus
    declaration: DeclarationRecord | None
    ancestors: tuple[str, ...]


class NeighboursRecord(Record):
    """How the nearest labeled images of a factor vote beside the network, and what that is worth."""

    k: Annotated[int, Field(gt=0)]
    """Persons (groups) that vote."""
    temperature: Positive
    weight: Share
    """Of the votes against the network."""
    kept: bool
    """False: the network predicted alone."""
    macro_f1_head: Share
    """Of the factor, by the network alone."""
    gain: IntervalRecord
    """Macro-F1 of the factor with settings that were chosen on the other folds, less that of the network alone."""


class UnknownRecord(Record):
    """The score that marks unknown images, and what it is worth."""

    score: str
    auroc: dict[str, Share]
    """Of each score: images of a class against the others, averaged over classes whose logits and training images were
    left out in turn. The network was trained with them."""
    false_alarms: IntervalRecord
    """Share of images of known classes that are marked, with thresholds from other groups."""
    images: Count
    groups: Count


class SetsRecord(Record):
    """What sets of classes are worth on images that the runs were not trained on."""

    covered: IntervalRecord
    """Share of images whose set holds the true class, with sets that were chosen on other groups."""
    images: Count
    groups: Count


class UnknownAsked(Record):
    """That strange images were marked."""

    rate: Share
    """Of images of known classes that may be marked."""
    marked: dict[str, Count]
    """Column of unknown.csv -> images."""


class SetsAsked(Record):
    """That sets of classes were written."""

    coverage: Share
    mean_size: dict[str, NotNegative | None]
    """Of the sets of each factor; None: no image was readable."""


class PredictedSource(Record):
    """What was named with `--run`."""

    source: str
    """Path of the run, the study or the gallery."""
    kind: SourceKind
    weight: Share
    """What its predictions count; all weights sum to 1."""
    runs: tuple[PredictedBy, ...] = Field(min_length=1)
    """Its members."""
    gallery_sha256: str | None = None
    """Of the gallery.json of a gallery."""
    neighbours: dict[str, NeighboursRecord] | None = None
    """By factor; None: not asked for."""
    unknown: dict[str, UnknownRecord] | None = None
    """By column of unknown.csv; None: not asked for."""
    sets: dict[str, SetsRecord] | None = None
    """By factor; None: not asked for."""


class ChosenWeights(Record):
    """Weights that were chosen on honest predictions, and whether they are better than the plain mean."""

    weights: tuple[Share, ...]
    """Of each source."""
    kept: bool
    """False: the plain mean predicted."""
    macro_f1_mean: Share
    """Of the plain mean."""
    gain: IntervalRecord
    """Macro-F1 of weights that were chosen on the other folds, less that of the plain mean."""
    images: Count
    groups: Count
    chosen_on: str
    """Content digest of the images that chose: they are among what the runs have seen."""


class ExportedFile(Record):
    """The exported network that predicted in place of the runs that it was made from."""

    file: str
    """Its path."""
    sha256: str
    bits: Literal[8, 32]


class UnreadableFiles(Record):
    """What could not be predicted."""

    policy: Literal["fail", "skip", "fallback"]
    count: Count
    files: dict[str, str]


class LeakageThen(Record):
    """What was found when the images were predicted."""

    verdict: LeakageStatus
    pool_digest: str
    overlap: dict[str, str]
    review: dict[str, str] = Field(default_factory=dict)
    why: tuple[str, ...]


class PredictedRecord(Record):
    """The whole file."""

    predictions: PredictedFile
    pool: PredictedPool
    sources: tuple[PredictedSource, ...] = Field(min_length=1)
    weights: ChosenWeights | None
    """None: every source counts equally, as asked."""
    exported: ExportedFile | None = None
    """None: the runs predicted themselves."""
    unknown: UnknownAsked | None = None
    """None: not asked for."""
    sets: SetsAsked | None = None
    """None: not asked for."""
    tta: tuple[Literal["plain", "mirrored"], ...]
    code: str
    made: str
    unreadable: UnreadableFiles
    leakage: LeakageThen

    @model_validator(mode="after")
    def _one_counts(self) -> PredictedRecord:
        if not any(source.weight for source in self.sources):
            raise ValueError("no source counts")
        return self


def read_predicted(predictions: Path) -> PredictedRecord | None:
    """The record beside a CSV of predictions; None where there is none.

    Raises:
        DataError: damaged; names the key.
    """
    path = predictions.with_name("predictions.provenance.json")
    if not path.exists():
        return None
    return read_record(path, PredictedRecord, hint="Predict again: sslmask predict --run …")
