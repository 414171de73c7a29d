"""The product of factor models: each predicts one factor, together they predict the joint classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.factors import corrected
from ssl_mask.guard.provenance import SourceGallery, SourceRun
from ssl_mask.inference.mean_predictor import side_by_side
from ssl_mask.inference.predictor import EmbeddedImages, OnBad, Predictor


@dataclass(frozen=True)
class ProductPredictor:
    """p(a, b, …) = p(a) · p(b) · …, where wanted times a number per joint class, with the sum 1 again."""

    name: str
    schema: LabelSchema
    submission: Submission
    parts: Mapping[str, Predictor]
    """A predictor of each factor of the schema."""
    prior: NDArray[np.float64]
    """(joint classes,) shares of the labeled images; they sum to 1."""
    ratio: NDArray[np.float64] | None = None
    """(joint classes,) as `evaluation.factors.dependence`; None: the plain product."""

    @property
    def sources(self) -> tuple[SourceRun | SourceGallery, ...]:
        return tuple(source for name in self.schema.sizes for source in self.parts[name].sources)

    def probs(self, rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail") -> PredictedImages:
        each = {name: self.parts[name].probs(rows, tta=tta, on_bad=on_bad) for name in self.schema.sizes}
        joint = self.schema.product({name: found.probs for name, found in each.items()})
        unreadable = {position: why for found in each.values() for position, why in found.unreadable.items()}
        first = next(iter(each.values())).manifest
        return PredictedImages(first, joint if self.ratio is None else corrected(joint, self.ratio), unreadable)

    def embed(self, rows: Manifest, *, mirrored: bool = False, on_bad: OnBad = "fail") -> EmbeddedImages:
        """The embeddings side by side: a dot product is then the mean cosine of the factors."""
        each = [self.parts[name].embed(rows, mirrored=mirrored, on_bad=on_bad) for name in self.schema.sizes]
        return side_by_side(each, np.full(len(each), len(each) ** -0.5))
