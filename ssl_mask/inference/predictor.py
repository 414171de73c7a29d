"""Images in, calibrated probabilities or embeddings out.

Whatever predicts (submissions, shards, pseudo-labels) takes a `Predictor` and knows nothing else of what is behind it:
a trained run (`run_predictor.py`) or the mean of several (`mean_predictor.py`); `load.py` makes what a user names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import LabelSchema
from ssl_mask.guard.provenance import SourceRun

OnBad = Literal["fail", "skip"]
"""An unreadable image raises ImageError, or gets a row of NaN."""


class Predictor(Protocol):
    """What can predict. It opens images by itself, at the size and in the way that it was trained with."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def schema(self) -> LabelSchema: ...

    @property
    def submission(self) -> Submission:
        """How answers are written."""

    @property
    def prior(self) -> NDArray[np.float64]:
        """(joint classes,) shares of the training images; they sum to 1."""

    @property
    def sources(self) -> tuple[SourceRun, ...]:
        """The runs whose weights predict: what they have seen decides how far a score can be trusted."""

    def probs(self, rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail") -> PredictedImages:
        """Calibrated probabilities of the joint classes, in the order of `rows`.

        Args:
            rows: images to open; digests need not be known.
            tta: average over the plain and the mirrored view.

        Raises:
            ImageError: an unreadable image, with `on_bad` fail.
        """

    def embed(self, rows: Manifest, *, on_bad: OnBad = "fail") -> NDArray[np.float32]:
        """(n, d) embeddings scaled to length 1, so that a dot product is a cosine; arguments as `probs`."""


@dataclass(frozen=True)
class Compute:
    """Where and in which portions a predictor computes."""

    accelerator: Accelerator
    console: Console
    batch_size: int = 64
    workers: int | Literal["auto"] = "auto"
    """Processes that decode; none where the cache of decoded images is used."""
