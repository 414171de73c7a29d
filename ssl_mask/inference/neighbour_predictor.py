"""`sslmask predict --neighbours auto`: a network and the nearest of its own training images predict together.

How many persons (groups) vote, how, and with which weight is chosen for each factor where it can be judged: on images
that the network was not trained on. A factor that neighbours do not help is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.predictions import PredictedImages, PredictionTable, read_validation
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError, InputError
from ssl_mask.evaluation.neighbours import COUNTS, Choice, Neighbourhood, Voting, choose, fused, votes_of
from ssl_mask.guard.provenance import SourceRun
from ssl_mask.inference.labeled import images_of_run, refuse_changed
from ssl_mask.inference.nearest import Search, exact_search, group_numbers, nearest_groups
from ssl_mask.inference.predictor import Compute, EmbeddedImages, OnBad
from ssl_mask.inference.run_predictor import RunPredictor, load_run_predictor
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.predicted import NeighboursRecord
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source


@dataclass(frozen=True)
class TrainingImages:
    """The training images of a run, as its network sees them."""

    search: Search
    groups: NDArray[np.int64]
    """(n,)"""
    labels: NDArray[np.int64]
    """(n, factors)"""


@dataclass(frozen=True)
class NeighbourPredictor:
    """A run that asks its training images."""

    head: RunPredictor
    near: TrainingImages
    votings: Mapping[str, Voting]
    """Of each factor that neighbours help; the others are left as they are."""

    @property
    def name(self) -> str:
        return self.head.name

    @property
    def schema(self) -> LabelSchema:
        return self.head.schema

    @property
    def submission(self) -> Submission:
        return self.head.submission

    @property
    def prior(self) -> NDArray[np.float64]:
        return self.head.prior

    @property
    def sources(self) -> tuple[SourceRun, ...]:
        """Of the run alone: what is asked is what it was trained on."""
        return self.head.sources

    def probs(self, rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail") -> PredictedImages:
        own = self.head.probs(rows, tta=tta, on_bad=on_bad)
        views = [self.embed(rows, mirrored=mirrored, on_bad=on_bad).vectors for mirrored in ((False, True)[: 1 + tta])]
        there = np.isfinite(views[0]).all(axis=1) & np.isfinite(own.probs).all(axis=1)
        each = [self._votes(view[there]) for view in views]
        votes = {name: np.mean([view[name] for view in each], axis=0) for name in self.votings}
        probs = own.probs.copy()
        probs[there] = fused(own.probs[there], votes, self.votings, self.schema)
        return PredictedImages(own.manifest, probs, own.unreadable)

    def embed(self, rows: Manifest, *, mirrored: bool = False, on_bad: OnBad = "fail") -> EmbeddedImages:
        return self.head.embed(rows, mirrored=mirrored, on_bad=on_bad)

    def _votes(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        most = max(voting.k for voting in self.votings.values())
        near = nearest_groups(self.near.search, self.near.groups, vectors, most)
        return votes_of(near.cosine, self.near.labels[near.rows], self.schema, self.votings)


def with_neighbours(head: RunPredictor, votings: Mapping[str, Voting]) -> RunPredictor | NeighbourPredictor:
    """A run that asks its neighbours on these factors; the run itself where it has none of them.

    Raises:
        DataError: its manifest is damaged. ImageError: a training image cannot be read. MismatchError: it has changed.
    """
    own = {name: votings[name] for name in head.schema.sizes if name in votings}
    return NeighbourPredictor(head, training_images(head), own) if own else head


def training_images(head: RunPredictor) -> TrainingImages:
    """The training images of a run. Raises as `with_neighbours`."""
    rows = images_of_run(head.source.run, "train")
    seen = head.embed(rows)
    refuse_changed(rows, seen.manifest)
    groups = group_numbers(rows.groups.tolist() if rows.grouped else [""] * len(rows))
    return TrainingImages(exact_search(seen.vectors, head.compute.accelerator.device), groups, rows.labels)


def choose_neighbours(source: Source, compute: Compute, console: Console, *, cache: str = "auto") -> dict[str, Choice]:
    """The choice of each factor of a run or a study, told.

    Raises:
        InputError: a gallery, which votes already. DataError: there are no images that the runs were not trained on.
    """
    if source.kind == "gallery":
        raise InputError(f"{source.path} is a gallery: its neighbours vote already.", hint="Leave out --neighbours.")
    if source.kind == "factors":
        each = [choose_neighbours(part, compute, Console(quiet=True), cache=cache) for part in source.parts]
        found = {
            factor: choice
            for factor, one in zip(source.schema.sizes, each, strict=True)
            for choice in one.values()
        }  # fmt: skip
    else:
        near = [neighbourhood_of(load_run_predictor(run, compute, cache=cache)) for run in source.members]
        found = choose(Neighbourhood.joined(near), source.schema)
    for factor, choice in found.items():
        console.say(f"Neighbours of {source.name}, {factor}: {choice_sentence(choice)}")
    return found


def neighbourhood_of(head: RunPredictor) -> Neighbourhood:
    """The validation images of a run among its training images.

    Raises:
        DataError: it has no validation images, or images of the data set are not there any more.
    """
    run = head.source.run
    table, rows = _validation(run), images_of_run(run, "val")
    at = {row.path: i for i, row in enumerate(rows.rows)}
    root = Path(run.data().root)
    wanted = [at.get(str((root / path).absolute()), -1) for path in table.path.tolist()]
    if -1 in wanted:
        raise DataError(f"{table.path[wanted.index(-1)]} is not in {run.manifest}.", hint="Train again.")
    rows = rows.with_rows(rows.rows[i] for i in wanted)
    seen = head.embed(rows)
    refuse_changed(rows, seen.manifest)
    train = training_images(head)
    near = nearest_groups(train.search, train.groups, seen.vectors, max(COUNTS))
    group = table.group if rows.grouped else table.path
    return Neighbourhood(near.cosine, train.labels[near.rows], table.probs, rows.labels, group, table.fold)


def _validation(run: RunDir) -> PredictionTable:
    if not run.validation.is_file():
        raise DataError(
            f"{run.path} has no predictions of labeled images that it was not trained on.",
            hint="Leave out --neighbours, or predict with the study of folds.",
        )
    return read_validation(run.validation)


def kept(choices: Mapping[str, Choice]) -> dict[str, Voting]:
    """The settings that help."""
    return {factor: choice.voting for factor, choice in choices.items() if choice.kept}


def choice_record(choice: Choice) -> NeighboursRecord:
    """For predictions.provenance.json."""
    return NeighboursRecord(
        **choice.voting._asdict(), kept=choice.kept, macro_f1_head=choice.head,
        gain=IntervalRecord(**choice.gain._asdict()),
    )  # fmt: skip


def choice_sentence(choice: Choice) -> str:
    """What was chosen and what it is worth, or that the network predicts alone, in one line."""
    gain = f"{choice.gain.value:+.3f} (95 % {choice.gain.low:+.3f} to {choice.gain.high:+.3f})"
    measured = f"macro-F1 {gain} on {choice.images} images, with settings from the other folds"
    if not choice.kept:
        return f"the network predicts alone; with neighbours {measured}"
    k, temperature, weight = choice.voting
    return f"the {k} nearest groups count {weight:.1f} (temperature {temperature}); {measured}"
