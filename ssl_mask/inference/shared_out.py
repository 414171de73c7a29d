"""A predictor whose images are shared out to the processes of a cluster, part by part.

It says what one process of the same kind says, bit for bit: a part is as many whole batches as in one process, and all
processes compute with as many threads as this one. (Other processors, GPUs or versions may round otherwise.) Each part
is kept as a shard, so that a command that was stopped goes on where it was; a part that is written twice has the same
bytes twice.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_mask import cluster
from ssl_mask.console import Console
from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.predictions import PredictedImages
from ssl_mask.data.schema import LabelSchema
from ssl_mask.devices import make_accelerator
from ssl_mask.errors import MismatchError, ModelError
from ssl_mask.guard.provenance import SourceGallery, SourceRun
from ssl_mask.inference.predictor import Compute, EmbeddedImages, OnBad, Predictor
from ssl_mask.inference.shards import (
    is_done,
    read_shard,
    rows_hash,
    shard_metadata,
    shard_name,
    weights_digest,
    write_shard,
)
from ssl_mask.runs.environment import code_version

Load = partial[Predictor]
"""Called with a Compute it makes the predictor, in any process: `load_predictor` with all but that."""
Found = Sequence[PredictedImages | EmbeddedImages]

PARTS = 64
"""So many parts share the work well, and a kill loses little of it."""
FEWEST_BATCHES, MOST_BATCHES = 4, 64
"""Batches of a part: enough that a process is not mostly opening images, few enough that memory stays small."""

FOLDER = ".sslmask-parts"
"""Of what is done, beside what is made of it in the end; no name that a user's folder has, for it is removed then."""


class Recipe(NamedTuple):
    """All that another process needs to predict as this one."""

    load: Load
    weights: bytes
    """As `shards.weights_digest`."""
    batch_size: int
    workers: int | Literal["auto"]
    """Processes that decode, beside each."""
    precision: str
    threads: int
    key: str
    """Of all of it."""


class Part(NamedTuple):
    rows: Manifest
    shard: Path | None
    """Where it is kept; None: nowhere."""


@dataclass(frozen=True)
class SharedOutPredictor:
    """See above; made by `shared_out`."""

    predictor: Predictor
    """The same, in this process."""
    compute: Compute
    recipe: Recipe
    keep: Path | None
    """Folder of what is done; None: it is not kept."""

    @property
    def name(self) -> str:
        return self.predictor.name

    @property
    def schema(self) -> LabelSchema:
        return self.predictor.schema

    @property
    def submission(self) -> Submission:
        return self.predictor.submission

    @property
    def prior(self) -> NDArray[np.float64]:
        return self.predictor.prior

    @property
    def sources(self) -> tuple[SourceRun | SourceGallery, ...]:
        return self.predictor.sources

    def probs(self, rows: Manifest, *, tta: bool = False, on_bad: OnBad = "fail") -> PredictedImages:
        asked = hashlib.sha256(f"{self.recipe.key} {rows_hash(rows)} {tta} {on_bad}".encode()).hexdigest()
        folder = self.keep and self.keep / asked[:32]
        cuts = cut(len(rows), self.recipe.batch_size)
        parts = [
            Part(rows.with_rows(rows.rows[first:last]), folder and folder / shard_name(i, len(cuts)))
            for i, (first, last) in enumerate(cuts)
        ]
        found: dict[int, PredictedImages] = {}
        with self.compute.console.counting(f"Predicting with {self.name} on Ray") as tell:
            for i, part in enumerate(parts):
                metadata = shard_metadata(self.recipe.weights, part.rows, tta=tta)
                if part.shard is not None and is_done(part.shard, metadata):
                    found[i] = read_shard(part.shard, part.rows)
            todo = [i for i in range(len(parts)) if i not in found]
            work = partial(predict_part, self.recipe, tta=tta, on_bad=on_bad)
            done = cluster.spread(work, (parts[i] for i in todo), cpus=self.recipe.threads, gpu=True)
            for i, predicted in zip(todo, done, strict=True):
                found[i] = predicted
                tell(sum(len(p.manifest) for p in found.values()), len(rows))
        each = [found[i] for i in range(len(parts))]
        probs = np.concatenate([p.probs for p in each])
        return PredictedImages(_digests(rows, each), probs, _unreadable(cuts, each))

    def embed(self, rows: Manifest, *, mirrored: bool = False, on_bad: OnBad = "fail") -> EmbeddedImages:
        """What is done is kept in the cache folder alone, as in one process."""
        cuts = cut(len(rows), self.recipe.batch_size)
        each: list[EmbeddedImages] = []
        with self.compute.console.counting(f"Embedding with {self.name} on Ray") as tell:
            work = partial(_embed_part, self.recipe, mirrored=mirrored, on_bad=on_bad)
            parts = (Part(rows.with_rows(rows.rows[a:b]), None) for a, b in cuts)
            for seen in cluster.spread(work, parts, cpus=self.recipe.threads, gpu=True):
                each.append(seen)
                tell(sum(len(e.manifest) for e in each), len(rows))
        vectors = np.concatenate([e.vectors for e in each])
        return EmbeddedImages(_digests(rows, each), vectors, _unreadable(cuts, each))


def shared_out(predictor: Predictor, load: Load, compute: Compute, keep: Path | None = None) -> Predictor:
    """The predictor itself, or where a cluster is in use one whose images are shared out.

    Args:
        load: makes the predictor.
        keep: folder for the parts that are done, on the disk that all machines share.

    Raises:
        ModelError: a gallery, which compares each image with all of its own.
    """
    if not cluster.in_use():
        return predictor
    if any(isinstance(source, SourceGallery) for source in predictor.sources):
        raise ModelError(
            f"--engine ray shares out networks, and {predictor.name} is a gallery.", hint="Leave out --engine ray."
        )
    return SharedOutPredictor(predictor, compute, recipe_of(predictor, load, compute), keep)


def recipe_of(predictor: Predictor, load: Load, compute: Compute) -> Recipe:
    """What makes the same predictor in another process."""
    device, precision = compute.accelerator.device.type, compute.accelerator.mixed_precision
    if precision == "no":  # without a GPU here: the machines that have one do as they would alone
        precision = "auto" if device == "cpu" else "fp32"
    recipe = Recipe(load, weights_digest(predictor), compute.batch_size, compute.workers, precision,
                    torch.get_num_threads(), "")  # fmt: skip
    facts = [load.args, load.keywords, *recipe[1:], code_version()]
    return recipe._replace(key=hashlib.sha256(repr(facts).encode()).hexdigest())


def cut(count: int, batch_size: int) -> list[tuple[int, int]]:
    """First and behind the last of each part of `count` images, in order.

    Each has at least a batch where there are as many images, so that its batches are whole; the last one takes what is
    left over. It depends on nothing else: parts that are kept fit to whatever cluster goes on with them.
    """
    batches = min(max(count // PARTS // batch_size, FEWEST_BATCHES), MOST_BATCHES)
    size = batches * batch_size
    firsts = range(0, max(count - batch_size + 1, 1), size)
    return list(zip(firsts, [*firsts[1:], count], strict=True))


def _digests(rows: Manifest, parts: Found) -> Manifest:
    """The rows with the digests of all parts."""
    return rows.with_rows(row for part in parts for row in part.manifest.rows)


def _unreadable(cuts: Sequence[tuple[int, int]], parts: Found) -> dict[int, str]:
    """Position among all rows of each unreadable image, and why."""
    found: dict[int, str] = {}
    for (first, _), part in zip(cuts, parts, strict=True):
        found |= {first + i: why for i, why in part.unreadable.items()}
    return found


# ---- in another process ----


def predict_part(recipe: Recipe, part: Part, *, tta: bool, on_bad: OnBad) -> PredictedImages:
    """Predict a part and keep it.

    Raises:
        MismatchError: this machine has other weights. ImageError: as `Predictor.probs`. StorageError: no room.
    """
    predicted = _ready(recipe).probs(part.rows, tta=tta, on_bad=on_bad)
    if part.shard is not None:
        write_shard(part.shard, predicted, shard_metadata(recipe.weights, part.rows, tta=tta))
    return predicted


def keep_part(recipe: Recipe, part: Part, *, tta: bool, on_bad: OnBad) -> int:
    """The same where only the file is wanted; returns how many images are unreadable."""
    return len(predict_part(recipe, part, tta=tta, on_bad=on_bad).unreadable)


def _embed_part(recipe: Recipe, part: Part, *, mirrored: bool, on_bad: OnBad) -> EmbeddedImages:
    return _ready(recipe).embed(part.rows, mirrored=mirrored, on_bad=on_bad)


_READY: dict[str, Predictor] = {}
"""The predictor that this process has loaded."""


def _ready(recipe: Recipe) -> Predictor:
    if recipe.key not in _READY:
        _READY.clear()
        torch.set_num_threads(recipe.threads)
        compute = Compute(
            make_accelerator(recipe.precision), Console(quiet=True), recipe.batch_size, recipe.workers
        )  # fmt: skip
        predictor = recipe.load(compute)
        if weights_digest(predictor) != recipe.weights:
            where = predictor.sources[0].run.path.absolute()
            raise MismatchError(f"{platform.node()} has other weights in {where} than this machine.",
                                hint="All machines must see the same files: use a shared disk.")  # fmt: skip
        _READY[recipe.key] = predictor
    return _READY[recipe.key]
