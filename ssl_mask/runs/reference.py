"""reference.json, as a typed record: what a run is measured against."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from ssl_mask.runs.base import Count, NotNegative, Positive, Record, Share


class ReferenceRecord(Record):
    """The reference predictions of a run (reference.parquet), and how they were made."""

    kind: Literal["probe"] = "probe"
    """Logistic regression on features of the backbone as it was before the run trained it."""
    backbone: str
    features: PositiveInt
    """Per image."""
    strength: Positive
    """C of the regression, the inverse of its penalty."""
    train_images: Count
    """That it was fitted on."""
    of_images: Count
    """All training images; of more than the reference takes, a sample."""
    macro_f1: Share
    """On the validation images of the run."""
    accuracy: Share
    seconds: NotNegative
