"""One photo, and all that a run says of it: its classes, the training photos that are nearest to it, whether the run
has seen it before, and how unusual it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.images import decode
from ssl_mask.data.manifest import Manifest, Row
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.evaluation.conformal import least_groups, p_values
from ssl_mask.evaluation.unknown import WHOLE, ScoreChoice, choose_score
from ssl_mask.guard.provenance import Provenance, SourceRun, provenance_of
from ssl_mask.guard.status import Mark, worst_mark
from ssl_mask.inference.gallery_predictor import GalleryPredictor
from ssl_mask.inference.gallery_unknown import GalleryModel
from ssl_mask.inference.labeled import images_of_model, refuse_changed
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.nearest import Search, exact_search, group_numbers, nearest_groups
from ssl_mask.inference.predictor import Compute, Predictor
from ssl_mask.inference.unknown_marks import Model, judge, new_scores, open_models
from ssl_mask.runs.sources import Source

RATE = 0.1
"""A photo that is stranger than all but this share of photos of known classes is unlike anything in training."""
NEIGHBOURS = 8


class Neighbour(NamedTuple):
    """A training photo."""

    cosine: float
    labels: tuple[str, ...]
    """Its class of each factor."""
    group: str
    """"" where it is not known."""
    path: str


@dataclass(frozen=True)
class PhotoAnswer:
    """What a run says of a photo."""

    picture: NDArray[np.uint8]
    """(H, W, 3) upright, in its own size."""
    factors: Mapping[str, Mapping[str, float]]
    """Factor -> class -> calibrated probability, the likeliest first."""
    joint: Mapping[str, float]
    """The same of the classes of all factors together."""
    near: tuple[Neighbour, ...]
    """The nearest training photo of each person (group), the nearest group first."""
    seen: Provenance
    """The photo against all that the run has seen."""
    p: float | None
    """Share of photos of known classes that are as unusual; None where nothing tells."""


@dataclass(frozen=True)
class TrainingPhotos:
    """What the nearest ones are searched in."""

    search: Search
    rows: Manifest
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class Usual:
    """How unusual photos of known classes are, to models that were not trained on them."""

    choice: ScoreChoice | None
    """None: nothing tells."""
    why: str = ""
    """Why not."""
    models: tuple[Model | GalleryModel, ...] = ()

    def p(self, rows: Manifest) -> float | None:
        """Of the only one of these rows, a readable photo."""
        if self.choice is None:
            return None
        return float(p_values(self.choice.judged, new_scores(self.models, {WHOLE: self.choice.score}, rows)[WHOLE])[0])


@dataclass(frozen=True)
class PhotoReader:
    """A run, a study or a gallery that answers for one photo after the other."""

    source: Source
    predictor: Predictor
    train: TrainingPhotos
    usual: Usual
    compute: Compute

    @property
    def schema(self) -> LabelSchema:
        return self.predictor.schema

    @property
    def mark(self) -> Mark:
        """Leakage status of the runs that predict, worst first, with its reason."""
        runs = (source.metadata for source in self.predictor.sources if isinstance(source, SourceRun))
        return worst_mark(Mark(about.leakage, about.leakage_reason) for about in runs)

    def read(self, photo: Path) -> PhotoAnswer:
        """What is said of a photo.

        Raises:
            ImageError: it cannot be read.
        """
        reading = self.predictor.sources[0].reading
        picture = decode(photo, max_pixels=reading.max_pixels, depth=reading.depth)
        rows = one_photo(photo, self.predictor)
        seen = self.predictor.probs(rows)
        probs, schema = seen.probs[0], self.schema
        factors = {
            factor.name: _likeliest(factor.classes, own[0])
            for factor, own in zip(schema.factors, schema.marginals(probs[None]).values(), strict=True)
        }
        return PhotoAnswer(
            picture, factors, _likeliest(schema.joint_classes, probs), self._near(rows),
            provenance_of(self.predictor.sources, seen.manifest, self.compute.console), self.usual.p(rows),
        )  # fmt: skip

    def _near(self, rows: Manifest) -> tuple[Neighbour, ...]:
        vectors, known = self.predictor.embed(rows).vectors, self.train.rows
        found = nearest_groups(self.train.search, self.train.groups, vectors, NEIGHBOURS)
        names = known.schema.class_names(known.labels)
        return tuple(
            Neighbour(float(cosine), names[i], known.rows[i].group if known.grouped else "", known.rows[i].path)
            for cosine, i in zip(found.cosine[0].tolist(), found.rows[0].tolist(), strict=True)
            if i >= 0
        )


def open_reader(source: Source, compute: Compute) -> PhotoReader:
    """Load the networks, and look once at the photos that they were trained and validated on; told as it goes.

    Raises:
        ModelError: a checkpoint is missing or damaged. DataError, ImageError: a labeled photo is missing or cannot be
            read. MismatchError: one has changed since it was trained on.
    """
    predictor = load_predictor([source], compute)
    train = training_photos(source, predictor, compute)
    return PhotoReader(source, predictor, train, usual_photos(source, compute), compute)


def one_photo(photo: Path, predictor: Predictor) -> Manifest:
    """A table of one row. Whatever its name ends with, it is read as an image: a table is no photo."""
    row = Row(photo.name, "", "test", photo.name, None, id=photo.name)
    return Manifest(
        photo.parent, "images", predictor.schema, (row,), grouped=False, submission=predictor.submission
    )  # fmt: skip


def training_photos(source: Source, predictor: Predictor, compute: Compute) -> TrainingPhotos:
    """Those that any of the models was trained on, each once; of a gallery, its images. Raises as `open_reader`."""
    if isinstance(predictor, GalleryPredictor):
        table, labels = predictor.table, predictor.labels.tolist()
        rows = tuple(
            Row(path, group, "train", path, tuple(own))
            for path, group, own in zip(table.path.tolist(), table.group.tolist(), labels, strict=True)
        )
        known = Manifest(Path(), "images", predictor.schema, rows, grouped=True, submission=predictor.submission)
        vectors = table.vectors
    else:
        each = [images_of_model(model, "train") for model in source.models]
        once = {row.path: row for one in reversed(each) for row in one.rows}
        known = each[0].with_rows(once.values())
        seen = predictor.embed(known)
        refuse_changed(known, seen.manifest)
        vectors = seen.vectors
    groups = group_numbers(known.groups.tolist() if known.grouped else [""] * len(known))
    return TrainingPhotos(exact_search(vectors, compute.accelerator.device), known, groups)


def usual_photos(source: Source, compute: Compute) -> Usual:
    """What unusual is measured by, or why it cannot be. Raises as `open_reader`."""
    try:
        models = tuple(open_models(source, compute))
        choice = choose_score(judge(models)[WHOLE], RATE)
    except DataError as error:  # no images that the networks were not trained on, or of one group or class alone
        return Usual(None, error.problem)
    needed, groups = least_groups(RATE), choice.judged.groups
    if groups < needed:
        return Usual(
            None, f"{needed} persons (groups) that the networks were not trained on are needed; here are {groups}."
        )
    return Usual(choice, models=models)


def _likeliest(classes: tuple[str, ...], probs: NDArray[np.float32]) -> dict[str, float]:
    order = np.argsort(-probs, kind="stable").tolist()
    return {classes[i]: float(probs[i]) for i in order}
