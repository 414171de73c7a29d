"""Images in, calibrated probabilities or embeddings out.

Whatever predicts (submissions, shards, pseudo-labels) takes a `Predictor` and knows nothing else of what is behind it:
a trained run (`run_predictor.py`), the mean of several (`mean_predictor.py`), the product of factor models
(`product_predictor.py`), a gallery (`gallery_predictor.py`) or a run with its neighbours (`neighbour_predictor.py`);
`load.py` makes what a user names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import LabelSchema
from ssl_mask.guard.provenance import SourceGallery, SourceRun

OnBad = Literal["fail", "skip"]
"""An unreadable image raises ImageError, or gets a row of NaN."""


@dataclass(frozen=True)
class EmbeddedImages:
    """Images and what a predictor sees in them, in the order asked."""

    manifest: Manifest
    """The rows asked for, with digests; an image that could not be opened has none."""
    vectors: NDArray[np.float32]
    """(n, d) of length 1, so that a dot product is a cosine; a row of NaN where the image is unreadable."""
    unreadable: Mapping[int, str]
    """Position of each unreadable image, and why."""


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
    def sources(self) -> tuple[SourceRun | SourceGallery, ...]:
        """The runs whose weights predict, and galleries: what they have seen decides how far a score can be trusted.

        A run is first.
        """

    def probs(self, rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail") -> PredictedImages:
        """Calibrated probabilities of the joint classes, in the order of `rows`.

        Args:
            rows: images to open; digests need not be known.
            tta: average over the plain and the mirrored view.

        Raises:
            ImageError: an unreadable image, with `on_bad` fail.
        """

    def embed(self, rows: Manifest, *, mirrored: bool = False, on_bad: OnBad = "fail") -> EmbeddedImages:
        """Embeddings of the images, or of their mirror images. They are kept in the cache folder, and have the same
        bits whether they come from there or not; the other arguments are as those of `probs`."""


@dataclass(frozen=True)
class Compute:
    """Where and in which portions a predictor computes."""

    accelerator: Accelerator
    console: Console
    batch_size: int = 64
    workers: int | Literal["auto"] = "auto"
    """Processes that decode; none where the cache of decoded images is used."""
