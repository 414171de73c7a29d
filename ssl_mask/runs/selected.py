"""selection.json as a typed record: what one round of pseudo-labels selected, by whom, above which thresholds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ssl_mask.runs.base import Count, NotNegative, Record, Share


class ClassSelection(Record):
    """What was selected of one predicted class."""

    predicted: Count
    selected: Count
    threshold: Share | None
    """None: no confidence is enough."""
    source: str
    """Where the threshold comes from."""
    support: Count
    """Validation images that are predicted of the class at or above its threshold."""


class HeadSelectionRecord(Record):
    """What was selected by one head, per class."""

    selected: Count
    val_share: Share
    """Share of validation that the thresholds would select."""
    val_precision: Share | None
    """How much of that is right; None of nothing."""
    classes: dict[str, ClassSelection]


class ReliabilityRecord(Record):
    """Per bin of confidence; None in an empty one."""

    images: tuple[Count, ...]
    confidence: tuple[NotNegative | None, ...]
    accuracy: tuple[Share | None, ...]


class TeacherRecord(Record):
    """A run that predicted a pool, as it was then."""

    run: str
    """Its path."""
    checkpoint_sha256: str


class SelectionRecord(Record):
    """Thresholds and counts of one round's selection, and what the thresholds are worth on validation."""

    round: Count
    teachers: tuple[TeacherRecord, ...] = Field(min_length=1)
    """The runs that predicted the pool; the mean of their probabilities counts."""
    labels_sha256: str
    """Of pseudo_labels.csv."""
    rule: Literal["precision", "threshold", "top_k", "percentile"]
    masks: Literal["joint", "factors"]
    pool: Count
    """Images that could be selected."""
    selected: Count
    whole: Count
    """Images of which every factor is selected."""
    highest_confidence: NotNegative | None
    heads: dict[str, HeadSelectionRecord]
    flipped: Count
    agreement: Share | None
    validation: Count
    """Images."""
    validation_groups: Count
    calibration_error: NotNegative
    reliability: ReliabilityRecord
    pool_hash: str
    seal: str = ""
    """In the file: see `ssl_mask.runs.seal`."""
