"""A gallery as a predictor: the nearest persons (groups) vote, each with its nearest image, on each factor.

Nothing is trained, so a class needs no more than a few images in the gallery.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.embeddings import EmbeddingTable, read_embeddings
from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError, MismatchError
from ssl_mask.evaluation.neighbours import Voting, votes_of
from ssl_mask.guard.provenance import SourceGallery, SourceRun, checked_sources
from ssl_mask.inference.nearest import Nearest, Search, exact_search, group_numbers, nearest_groups
from ssl_mask.inference.predictor import Compute, EmbeddedImages, OnBad, Predictor
from ssl_mask.runs.gallery import GalleryDir, GalleryRecord
from ssl_mask.runs.seal import file_digest
from ssl_mask.runs.sources import Source

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class GalleryPredictor:
    """Labeled images, and the predictor that embeds them and what is to be predicted."""

    name: str
    embedder: Predictor
    table: EmbeddingTable
    schema: LabelSchema
    submission: Submission
    voting: Voting
    sources: tuple[SourceRun | SourceGallery, ...]
    device: torch.device

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(n, factors) class indices of the images in the gallery."""
        return self.table.class_indices(self.schema)

    @cached_property
    def prior(self) -> NDArray[np.float64]:
        """(joint classes,) shares of the images in the gallery."""
        counts = np.bincount(self.schema.join(self.labels), minlength=len(self.schema.joint_classes))
        shares: NDArray[np.float64] = counts / counts.sum()
        return shares

    def probs(self, rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail") -> PredictedImages:
        views = [self.embed(rows, on_bad=on_bad), *([self.embed(rows, mirrored=True, on_bad=on_bad)] if tta else [])]
        mean = np.mean([self._votes(view.vectors) for view in views], axis=0)
        return PredictedImages(views[0].manifest, mean.astype(np.float32), views[0].unreadable)

    def embed(self, rows: Manifest, *, mirrored: bool = False, on_bad: OnBad = "fail") -> EmbeddedImages:
        return self.embedder.embed(rows, mirrored=mirrored, on_bad=on_bad)

    def nearest(self, vectors: NDArray[np.float32], count: int) -> Nearest:
        """The nearest image of each of the nearest groups; arguments as `nearest_groups`."""
        return nearest_groups(self._search, self._groups, vectors, count)

    @cached_property
    def _search(self) -> Search:
        return exact_search(self.table.vectors, self.device)

    @cached_property
    def _groups(self) -> NDArray[np.int64]:
        return group_numbers(self.table.group.tolist())

    def _votes(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, joint classes) of (n, d) vectors; NaN where there is none."""
        probs = np.full((len(vectors), len(self.schema.joint_classes)), np.nan, np.float32)
        there = np.isfinite(vectors).all(axis=1)
        near = self.nearest(vectors[there], self.voting.k)
        probs[there] = voted(near, self.labels, self.schema, self.voting)
        return probs


def voted(near: Nearest, labels: NDArray[np.int64], schema: LabelSchema, voting: Voting) -> NDArray[np.float32]:
    """(q, joint classes) of neighbours: each factor is voted on by itself.

    Args:
        labels: (n, factors) of the rows that the neighbours are of.
    """
    return schema.product(votes_of(near.cosine, labels[near.rows], schema, dict.fromkeys(schema.sizes, voting)))


def gallery_predictor(source: Source, embedder: Predictor, compute: Compute) -> GalleryPredictor:
    """A gallery with what embeds.

    Raises:
        DataError: the gallery is empty or damaged. MismatchError: it was changed, or embedded by other weights.
    """
    record = source.gallery.record()
    refuse_other_weights(record, source)
    return GalleryPredictor(
        source.name, embedder, read_rows(source.gallery, record), record.label_schema, record.submission,
        Voting(record.k, record.temperature), checked_sources(source), compute.accelerator.device,
    )  # fmt: skip


def read_rows(gallery: GalleryDir, record: GalleryRecord) -> EmbeddingTable:
    """The images of a gallery.

    Raises:
        DataError: missing, damaged or empty. MismatchError: they are not those that gallery.json names.
    """
    path = gallery.rows(record)
    again = "Restore it from a copy, or build it anew: sslmask gallery build"
    if not path.is_file():
        raise DataError(f"There is no {path}.", hint=again)
    if file_digest(path) != record.rows_sha256:
        raise MismatchError(f"{path} has changed since it was written.", hint=again)
    table = read_embeddings(path)
    if not len(table):
        raise DataError(f"{gallery.path} holds no images.", hint="Add some: sslmask gallery add CLASS FOLDER")
    return table


def refuse_other_weights(record: GalleryRecord, source: Source) -> None:
    """Raises MismatchError where what embeds has other weights than when the gallery was embedded."""
    now = [file_digest(run.best) for run in source.members]
    if now != [member.checkpoint_sha256 for member in record.members]:
        raise MismatchError(
            f"{source.path} was embedded by other weights than {source.parts[0].path} has now.",
            hint="Restore them, or build the gallery anew: sslmask gallery build",
        )
