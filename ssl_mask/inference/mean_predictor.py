"""The mean of several predictors: of the runs of a study, or of studies and runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import ModelError
from ssl_mask.guard.provenance import SourceGallery, SourceRun
from ssl_mask.inference.predictor import EmbeddedImages, OnBad, Predictor
from ssl_mask.inference.run_predictor import RunPredictor, predict_together


@dataclass(frozen=True)
class MeanPredictor:
    """The weighted mean of the calibrated probabilities of several predictors of one schema.

    They may have different image sizes and backbones, and be means themselves.

    Raises:
        ModelError: predictors of different classes.
    """

    name: str
    predictors: tuple[Predictor, ...]
    weights: tuple[float, ...] | None = None
    """Of each, above 0; None: all count equally."""

    def __post_init__(self) -> None:
        for other in self.predictors[1:]:
            if other.schema != self.schema:
                raise ModelError(
                    f"{other.name} was trained for other classes than {self.predictors[0].name}.",
                    hint="Averaging needs runs of one label schema.",
                )

    @property
    def schema(self) -> LabelSchema:
        return self.predictors[0].schema

    @property
    def submission(self) -> Submission:
        return self.predictors[0].submission

    @property
    def shares(self) -> NDArray[np.float64]:
        """(predictors,) what each one counts; they sum to 1."""
        weights = np.ones(len(self.predictors)) if self.weights is None else np.asarray(self.weights, np.float64)
        shares: NDArray[np.float64] = weights / weights.sum()
        return shares

    @property
    def prior(self) -> NDArray[np.float64]:
        return np.average([p.prior for p in self.predictors], axis=0, weights=self.shares)

    @property
    def sources(self) -> tuple[SourceRun | SourceGallery, ...]:
        return tuple(source for p in self.predictors for source in p.sources)

    def probs(self, rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail") -> PredictedImages:
        each = each_probs(self.predictors, rows, tta=tta, on_bad=on_bad)
        mean = sum(share * p.probs.astype(np.float64) for share, p in zip(self.shares, each, strict=True))
        unreadable = {position: why for p in each for position, why in p.unreadable.items()}
        return PredictedImages(each[0].manifest, np.asarray(mean, dtype=np.float32), unreadable)

    def embed(self, rows: Manifest, *, mirrored: bool = False, on_bad: OnBad = "fail") -> EmbeddedImages:
        """The embeddings side by side: a dot product is then the weighted mean of the cosines of the predictors."""
        each = [p.embed(rows, mirrored=mirrored, on_bad=on_bad) for p in self.predictors]
        return side_by_side(each, np.sqrt(self.shares))


def side_by_side(each: Sequence[EmbeddedImages], scales: NDArray[np.float64]) -> EmbeddedImages:
    """What several predictors see in the same images, as one vector; the squares of the scales sum to 1."""
    vectors = [e.vectors * np.float32(scale) for e, scale in zip(each, scales, strict=True)]
    unreadable = {position: why for e in each for position, why in e.unreadable.items()}
    return EmbeddedImages(each[0].manifest, np.concatenate(vectors, axis=1), unreadable)


def each_probs(
    predictors: Sequence[Predictor], rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail"
) -> list[PredictedImages]:
    """What each predictor says, in order; runs that read images alike, as those of a study, open each image once."""
    found: dict[int, PredictedImages] = {}
    for i, predictor in enumerate(predictors):
        if not isinstance(predictor, RunPredictor):
            found[i] = predictor.probs(rows, tta=tta, on_bad=on_bad)
        elif i not in found:
            alike = {j: p for j, p in enumerate(predictors) if isinstance(p, RunPredictor) and p.reads_as(predictor)}
            found |= zip(alike, predict_together([*alike.values()], rows, tta=tta, on_bad=on_bad), strict=True)
    return [found[i] for i in range(len(predictors))]
