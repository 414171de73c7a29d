"""The predictor of what a user names with `--run`: a run, a study, a gallery, or several of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ssl_mask.config import DataConfig
from ssl_mask.evaluation.neighbours import Voting
from ssl_mask.inference.gallery_predictor import gallery_predictor
from ssl_mask.inference.mean_predictor import MeanPredictor
from ssl_mask.inference.neighbour_predictor import with_neighbours
from ssl_mask.inference.predictor import Compute, Predictor
from ssl_mask.inference.product_predictor import ProductPredictor
from ssl_mask.inference.run_predictor import RunPredictor, load_run_predictor
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source, study_source


def load_predictor(
    sources: Sequence[Source], compute: Compute, *, weights: Sequence[float] | None = None, cache: str = "auto",
    max_pixels: int | None = None, reading: DataConfig | None = None,
    neighbours: Sequence[Mapping[str, Voting]] | None = None,
) -> Predictor:  # fmt: skip
    """The best weights of a run, the mean of the runs of a study, the product of factor models, or a mean of these.

    Args:
        weights: of each source; one of 0 is not loaded. None: each source counts equally, however many members it has,
            and its members equally within it.
        cache: of decoded images: `off`, a folder, or `auto`: as each run was configured.
        max_pixels: an image with more pixels is refused; None: as each run was configured.
        reading: how images are read, as `load_run_predictor`.
        neighbours: of each source, how the training images of its runs vote on each factor; None: they do not.

    Raises:
        ModelError: no checkpoint, a damaged one, or sources of different classes.
        MismatchError: factor models or a gallery that are not those whose predictions were joined, or that were built.
        DataError: an empty or damaged gallery.
    """

    def of(source: Source, votings: Mapping[str, Voting]) -> Predictor:
        if source.kind == "run":
            head = load_run_predictor(
                RunDir(source.path), compute, cache=cache, max_pixels=max_pixels, reading=reading
            )  # fmt: skip
            return with_neighbours(head, votings)
        if source.kind == "factors":
            return product_of(source, lambda part: of(part, votings))
        if source.kind == "gallery":
            return gallery_predictor(source, of(source.parts[0], {}), compute)
        return MeanPredictor(source.name, tuple(of(part, votings) for part in source.parts))

    each = zip(sources, weights or [1.0] * len(sources), neighbours or [{}] * len(sources), strict=True)
    counted = [(of(source, votings), weight) for source, weight, votings in each if weight > 0]
    if len(counted) == 1:
        return counted[0][0]
    name = "+".join(predictor.name for predictor, _ in counted)
    return MeanPredictor(name, tuple(p for p, _ in counted), tuple(w for _, w in counted) if weights else None)


def product_of(source: Source, load: Callable[[Source], Predictor]) -> ProductPredictor:
    """The factor models of a study together, exactly as they were scored; those of one fold without the joint prior.

    The prior comes from all labels, also from those that the models of one fold have not seen.

    Args:
        load: makes the predictor of one factor.

    Raises:
        DataError: the record of the study or a part is missing or damaged. MismatchError: the models are others now.
    """
    study = source.factor_study
    study.refuse_changed_parts()
    record = study.record()
    counts = np.asarray(record.counts, np.float64)
    whole = source.path != study.path or source == study_source(study.study)  # all folds, or models on all labels
    prior = record.prior if whole else None
    ratio = np.asarray(prior.ratio) if prior is not None and prior.used else None
    parts = {name: load(part) for name, part in zip(record.label_schema.sizes, source.parts, strict=True)}
    return ProductPredictor(source.name, record.label_schema, record.submission, parts, counts / counts.sum(), ratio)


def networks_of(predictor: Predictor) -> tuple[RunPredictor, ...]:
    """The networks that embed together, in the order in which their vectors stand side by side."""
    if isinstance(predictor, MeanPredictor):
        return tuple(network for part in predictor.predictors for network in networks_of(part))
    if isinstance(predictor, ProductPredictor):
        return tuple(network for name in predictor.schema.sizes for network in networks_of(predictor.parts[name]))
    if isinstance(predictor, RunPredictor):
        return (predictor,)
    raise TypeError(type(predictor).__name__)  # a gallery and its neighbours embed nothing themselves
