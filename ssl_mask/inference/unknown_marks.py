"""`sslmask predict --unknown 0.05`: images that are stranger than 95 of 100 images of known classes are marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import LabelSchema
from ssl_mask.evaluation.conformal import least_groups, p_values
from ssl_mask.evaluation.scores import HeadLogits
from ssl_mask.evaluation.unknown import (
    COUNTS,
    WHOLE,
    ScoreChoice,
    Strangeness,
    cells_of,
    choose_score,
    held_out_classes,
    logit_scores,
    neighbour,
    targets,
)
from ssl_mask.inference.gallery_predictor import gallery_predictor
from ssl_mask.inference.gallery_unknown import GalleryModel, gallery_models
from ssl_mask.inference.labeled import images_of_model, refuse_changed
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.mean_predictor import side_by_side
from ssl_mask.inference.nearest import group_distances, group_numbers
from ssl_mask.inference.predictor import Compute
from ssl_mask.inference.run_predictor import RunPredictor, load_run_predictor
from ssl_mask.inference.unseen import units, unseen_images
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.predicted import UnknownRecord
from ssl_mask.runs.sources import Source


@dataclass(frozen=True)
class Unknown:
    """How strange images are, and which are too strange for a known class."""

    rate: float
    """The share of images of known classes that may be marked."""
    p: Mapping[str, NDArray[np.float64]]
    """`unknown` (all factors together) and, of several factors, `unknown/<factor>` -> (n,) the share of images of
    known classes that are as strange; NaN of an unreadable image."""
    records: tuple[Mapping[str, UnknownRecord], ...]
    """Of each source, what was chosen; by the same names."""

    @property
    def marked(self) -> dict[str, NDArray[np.bool_]]:
        """(n,) whether an image is marked, by the same names."""
        return {column: p <= self.rate for column, p in self.p.items()}

    def to_json(self) -> dict[str, Any]:
        """The rate, and how many images are marked."""
        return {"rate": self.rate, "marked": {column: int(own.sum()) for column, own in self.marked.items()}}


@dataclass(frozen=True)
class Model:
    """A run, or the factor models of one fold, with the images that it was trained on."""

    source: Source
    networks: tuple[RunPredictor, ...]
    schema: LabelSchema

    def logits(self, rows: Manifest) -> HeadLogits:
        """(n, classes) calibrated logits of each head."""
        return {head: z for network in self.networks for head, z in network.logits(rows).items()}

    def vectors(self, rows: Manifest) -> NDArray[np.float32]:
        """(n, d) of length 1. Raises MismatchError when an image has changed since it was trained on."""
        each = [network.embed(rows) for network in self.networks]
        refuse_changed(rows, each[0].manifest)
        return side_by_side(each, np.full(len(each), len(each) ** -0.5)).vectors

    @cached_property
    def train(self) -> Manifest:
        return images_of_model(self.source, "train")

    @cached_property
    def train_vectors(self) -> NDArray[np.float32]:
        return self.vectors(self.train)

    @cached_property
    def train_groups(self) -> NDArray[np.int64]:
        return group_numbers(units(self.train).tolist())

    def distances(
        self, vectors: NDArray[np.float32], counts: Sequence[int] = COUNTS, kept: NDArray[np.bool_] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """1 − cosine to the k-th nearest training group. `kept` (training images,): those that count, at least one."""
        table, groups = self.train_vectors, self.train_groups
        if kept is not None:
            table, groups = table[kept], groups[kept]
        device = self.networks[0].compute.accelerator.device
        return {neighbour(k): far for k, far in group_distances(vectors, table, groups, counts, device=device).items()}

    def judged(self) -> dict[str, Strangeness]:
        """Of each target, what it says of the images that it was not trained on."""
        images, found = unseen_images(self.source), dict[str, Strangeness]()
        logits, vectors = self.logits(images), self.vectors(images)
        whole = self.distances(vectors)
        for target in targets(self.schema):
            cells, class_of = cells_of(logits, self.schema, target)
            true, trained = (_classes(rows, target) for rows in (images, self.train))
            without = {
                c: logit_scores(cells, class_of, c) | self.distances(vectors, kept=trained != c)
                for c in held_out_classes(true)
                if (trained != c).any()
            }
            found[target] = Strangeness(logit_scores(cells, class_of) | whole, without, true, units(images))
        return found

    def scored(self, rows: Manifest, wanted: Mapping[str, str]) -> dict[str, NDArray[np.floating[Any]]]:
        """(n,) one score of new images for each target. Looks only at what the scores need."""
        counts = [k for k in COUNTS if neighbour(k) in wanted.values()]
        near = self.distances(self.vectors(rows), counts) if counts else {}
        logits = self.logits(rows) if set(wanted.values()) - near.keys() else {}
        return {
            target: near[name] if name in near else logit_scores(*cells_of(logits, self.schema, target))[name]
            for target, name in wanted.items()
        }


def mark_unknown(
    sources: Sequence[Source], predicted: PredictedImages, compute: Compute, console: Console, *, rate: float,
    shares: Sequence[float], cache: str, max_pixels: int | None,
) -> Unknown:  # fmt: skip
    """Mark images that are predicted: with the factors together, and with several factors for each by itself.

    The plain view by the networks alone decides, whatever views and neighbours predict. Every model compares an image
    with those that it was not trained on; of several sources p is the weighted mean.

    Args:
        rate: share of images of known classes that may be marked, in (0, 1).
        shares: what each source counts; they sum to 1. Of one that counts nothing there is no record.

    Raises:
        DataError: there are no labeled images that the runs were not trained on, or all of them
            are of one group or class. ImageError: one cannot be read. MismatchError: it has changed.
    """
    readable = [i for i in range(len(predicted.manifest)) if i not in predicted.unreadable]
    rows = predicted.manifest.with_rows(predicted.manifest.rows[i] for i in readable)
    p = {t: np.full(len(predicted.manifest), np.nan) for t in targets(predicted.manifest.schema)}
    for own in p.values():
        own[readable] = 0
    records: list[Mapping[str, UnknownRecord]] = []
    for source, weight in zip(sources, shares, strict=True):
        if weight == 0:
            records.append({})
            continue
        models = open_models(source, compute, cache=cache, max_pixels=max_pixels)
        choices = {target: choose_score(own, rate) for target, own in judge(models).items()}
        for target, choice in choices.items():
            said = target or ", ".join(source.schema.sizes)
            console.say(f"Unknown of {source.name}, {said}: {choice_words(choice, rate)}")
        if readable:
            for target, new in new_scores(models, {t: c.score for t, c in choices.items()}, rows).items():
                p[target][readable] += weight * p_values(choices[target].judged, new)
        records.append({column(target): choice_record(choice) for target, choice in choices.items()})
    judged = {column(target): own for target, own in p.items()}
    unknown = Unknown(rate, {c: own for c, own in judged.items() if all(c in r for r in records if r)}, tuple(records))
    counts = ", ".join(f"{name.removeprefix('unknown/')} {marked.sum()}" for name, marked in unknown.marked.items())
    console.say(f"Marked {counts} of {len(readable)} images")
    return unknown


def column(target: str) -> str:
    """The name of a target in unknown.csv."""
    return f"unknown/{target}" if target else "unknown"


def open_models(
    source: Source, compute: Compute, *, cache: str = "auto", max_pixels: int | None = None
) -> Sequence[Model | GalleryModel]:
    """What judges alone: of a run or a study as `Source.models` names it.

    Raises:
        DataError: a gallery of images that its networks were trained on.
    """
    if source.kind == "gallery":
        embedder = load_predictor(source.parts, compute, cache=cache, max_pixels=max_pixels)
        return gallery_models(source, gallery_predictor(source, embedder, compute))
    return [open_model(model, compute, cache=cache, max_pixels=max_pixels) for model in source.models]


def open_model(source: Source, compute: Compute, *, cache: str = "auto", max_pixels: int | None = None) -> Model:
    """A run, or the factor models of one fold."""
    networks = [load_run_predictor(run, compute, cache=cache, max_pixels=max_pixels) for run in source.members]
    return Model(source, tuple(networks), source.schema)


def judge(models: Sequence[Model | GalleryModel]) -> dict[str, list[Strangeness]]:
    """Of each target, what each model says of the images that it was not trained on.

    A factor of which only one class was seen is no target: nothing tells that class.
    """
    seen: dict[str, list[Strangeness]] = {}
    for model in models:
        for target, one in model.judged().items():
            seen.setdefault(target, []).append(one)
    return {t: own for t, own in seen.items() if t == WHOLE or any(model.without for model in own)}


def _classes(rows: Manifest, target: str) -> NDArray[np.int64]:
    """(n,) class of a factor, or the joint class."""
    return rows.labels[:, list(rows.schema.sizes).index(target)] if target else rows.joint


def new_scores(
    models: Sequence[Model | GalleryModel], wanted: Mapping[str, str], rows: Manifest
) -> dict[str, NDArray[np.floating[Any]]]:
    """(models, n) one score of images, at least one, for each target."""
    each = [model.scored(rows, wanted) for model in models]
    return {target: np.stack([own[target] for own in each]) for target in wanted}


def choice_record(choice: ScoreChoice) -> UnknownRecord:
    """For predictions.provenance.json."""
    return UnknownRecord(
        score=choice.score, auroc=dict(choice.auroc), false_alarms=IntervalRecord(**choice.false_alarms._asdict()),
        images=len(choice.judged.score), groups=choice.judged.groups,
    )  # fmt: skip


def choice_words(choice: ScoreChoice, rate: float) -> str:
    """Which score was chosen, and how often it marks an image of a known class, in one line."""
    needed, groups = least_groups(rate), choice.judged.groups
    if groups < needed:
        return (
            f"no image can be marked: a rate of {rate:g} needs {needed} groups that the runs were not trained on, and "
            f"there are {groups}"
        )
    others = ", ".join(f"{name} {value:.3f}" for name, value in choice.auroc.items() if name != choice.score)
    alarms = choice.false_alarms
    return (
        f"by {choice.score}, AUROC {choice.auroc[choice.score]:.3f} with each class left out in turn ({others}); false "
        f"alarms {alarms.value:.3f} (95 % {alarms.low:.3f} to {alarms.high:.3f}) on {len(choice.judged.score)} images, "
        "with thresholds from other groups"
    )
