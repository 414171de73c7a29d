"""`sslmask predict --sets 0.9`: of each factor, the classes that hold the truth in 90 of 100 images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.console import Console
from ssl_mask.data.predictions import PredictedImages, predicted_class, read_validation
from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.conformal import Judged, held_out_p_values, least_groups, p_values, sets, share
from ssl_mask.evaluation.metrics import Interval
from ssl_mask.evaluation.neighbours import Voting
from ssl_mask.inference.labeled import refuse_changed
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.mean_predictor import each_probs
from ssl_mask.inference.predictor import Compute, Predictor
from ssl_mask.inference.unseen import no_unseen_images, spread, units, unseen_images
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.predicted import SetsRecord
from ssl_mask.runs.sources import Source


@dataclass(frozen=True)
class ClassSets:
    """Which classes may be the true one."""

    coverage: float
    """The share of images whose set is to hold the truth, of each factor by itself."""
    p: Mapping[str, NDArray[np.float64]]
    """Factor -> (n, classes) the share of true classes that are as improbable; NaN of an unreadable image."""
    answers: NDArray[np.int64]
    """(n, factors) the predicted classes, which are always in the sets; -1 of an unreadable image."""
    records: tuple[Mapping[str, SetsRecord], ...]
    """Of each source, by factor."""

    @property
    def held(self) -> dict[str, NDArray[np.bool_]]:
        """Factor -> (n, classes) whether a class is in the set; none is for an unreadable image."""
        return self.at(self.coverage)

    def at(self, coverage: float) -> dict[str, NDArray[np.bool_]]:
        """The sets of another coverage, in (0, 1)."""
        held = {factor: np.zeros(p.shape, np.bool_) for factor, p in self.p.items()}
        readable = self.answers[:, 0] >= 0
        for i, (factor, p) in enumerate(self.p.items()):
            held[factor][readable] = sets(p[readable], self.answers[readable, i], coverage)
        return held

    @property
    def mean_size(self) -> dict[str, float | None]:
        """Classes in the sets of each factor, on average over readable images; None where there are none."""
        sizes = {factor: held.sum(axis=1) for factor, held in self.held.items()}
        return {f: float(own[own > 0].mean()) if own.any() else None for f, own in sizes.items()}

    def to_json(self) -> dict[str, Any]:
        """The coverage that was asked for, and how large the sets are."""
        return {"coverage": self.coverage, "mean_size": self.mean_size}


def class_sets(
    sources: Sequence[Source], predicted: PredictedImages, compute: Compute, console: Console, *, coverage: float,
    shares: Sequence[float], votings: Sequence[Mapping[str, Voting]] | None, tta: bool, cache: str,
    max_pixels: int | None,
) -> ClassSets:  # fmt: skip
    """The sets of images that are predicted.

    The score of a class is 1 − its probability (Sadinle, Lei & Wasserman 2019). Every model that predicts judges the
    images like those that it was not trained on; of several sources p is the weighted mean.

    Args:
        predicted: by all sources together. The predicted class is always in its set.
        shares: what each source counts; they sum to 1. Of one that counts nothing there is no record.
        votings: of each source, the factors on which its training images vote; None: of none.

    Raises:
        DataError: there are no labeled images that the runs were not trained on, or all are of one group.
        ImageError: one of them cannot be read. MismatchError: it has changed.
    """
    manifest, schema = predicted.manifest, predicted.manifest.schema
    readable = [i for i in range(len(manifest)) if i not in predicted.unreadable]
    rows = manifest.with_rows(manifest.rows[i] for i in readable)
    p = {factor: np.full((len(manifest), size), np.nan) for factor, size in schema.sizes.items()}
    for own in p.values():
        own[readable] = 0
    records: list[Mapping[str, SetsRecord]] = []
    for source, weight, voting in zip(sources, shares, votings or [{}] * len(sources), strict=True):
        if weight == 0:
            records.append({})
            continue
        predictors = [
            load_predictor([model], compute, cache=cache, max_pixels=max_pixels, neighbours=[voting])
            for model in source.models
        ]
        judged = _judged(source.models, predictors, schema, tta=tta)
        records.append(_measured(judged, coverage, source, console))
        # A gallery votes on its own images in the plain view alone.
        new = each_probs(predictors, rows, tta=tta and source.kind != "gallery") if readable else []
        each = [schema.marginals(own.probs) for own in new]
        for factor in schema.sizes if readable else ():
            p[factor][readable] += weight * p_values(judged[factor], np.stack([1 - own[factor] for own in each]))
    answers = np.full((len(manifest), len(schema.sizes)), -1)
    answers[readable] = schema.part(predicted_class(predicted.probs[readable]))
    found = ClassSets(coverage, p, answers, tuple(records))
    sizes = ", ".join(f"{factor} {size:.2f}" for factor, size in found.mean_size.items() if size is not None)
    console.say(f"Classes in a set, on average: {sizes or 'no image was readable'}")
    return found


def _judged(
    models: Sequence[Source], predictors: Sequence[Predictor], schema: LabelSchema, *, tta: bool
) -> dict[str, Judged]:
    """1 − the probability of the true class of each factor, of images that each model was not trained on."""
    seen = [_unseen(model, predictor, tta=tta) for model, predictor in zip(models, predictors, strict=True)]
    marginals = [schema.marginals(probs) for probs, _, _ in seen]
    return {
        factor: Judged.joined(
            [
                1 - own[factor][np.arange(len(labels)), labels[:, i]]
                for own, (_, labels, _) in zip(marginals, seen, strict=True)
            ],
            [group for _, _, group in seen],
        )
        for i, factor in enumerate(schema.sizes)
    }


def _unseen(
    model: Source, predictor: Predictor, *, tta: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.str_]]:
    """(n, joint classes) probabilities, (n, factors) labels and (n,) groups."""
    if model.kind == "gallery":
        if not model.tables:
            raise no_unseen_images(model)
        table = read_validation(model.tables[0], predictor.schema)
        rows = spread(len(table))
        return table.probs[rows], predictor.schema.part(table.true[rows]), table.group[rows]
    images = unseen_images(model)
    seen = predictor.probs(images, tta=tta)
    refuse_changed(images, seen.manifest)
    return seen.probs, images.labels, units(images)


def _measured(judged: Mapping[str, Judged], coverage: float, source: Source, console: Console) -> dict[str, SetsRecord]:
    """How many true classes are held on other folds, told."""
    records = {}
    for factor, own in judged.items():
        covered = share(held_out_p_values(own) > np.round(1 - coverage, 12), own.group)
        record = SetsRecord(covered=IntervalRecord(**covered._asdict()), images=len(own.score), groups=own.groups)
        records[factor] = record
        console.say(f"Sets of {source.name}, {factor}: {covered_words(covered, coverage, record)}")
    return records


def covered_words(covered: Interval, coverage: float, record: SetsRecord) -> str:
    """What sets are worth on images that they were not chosen on, in one line."""
    needed = least_groups(1 - coverage)
    if record.groups < needed:
        return (
            f"every class is in every set: {coverage:g} needs {needed} groups that the runs were not trained on, "
            f"and there are {record.groups}"
        )
    return (
        f"{covered.value:.3f} (95 % {covered.low:.3f} to {covered.high:.3f}) of {record.images} images had their true "
        f"class in the set, which was chosen on other groups; {coverage:g} was asked for"
    )
