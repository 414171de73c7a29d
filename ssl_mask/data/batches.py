"""Batches as a function of (seed, step, rank): to resume is to start at step k, with any number of workers."""

from __future__ import annotations

import platform
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from ssl_mask.data.augment import Augment
from ssl_mask.data.image_source import ImageSource
from ssl_mask.errors import SslMaskError
from ssl_mask.types import Batch, Labeled, Unlabeled

GRACE_SECONDS = 3.0


class Draw(NamedTuple):
    """One image of the endless stream: its place in the stream (unique; it seeds the augmentation) and its row."""

    place: int
    row: int


@dataclass(frozen=True)
class Stream:
    """The endless sequence of training rows, cut into global batches; each rank takes its part of every batch."""

    rows: int
    batch_size: int
    seed: int
    rank: int = 0
    ranks: int = 1
    weights: NDArray[np.float64] | None = None
    """(rows,) probabilities of being drawn, which sum to 1; None: every row once per epoch, in a new order."""

    def batch(self, step: int) -> list[Draw]:
        """This rank's part of global batch `step`."""
        first = step * self.batch_size
        # In turns, so that a part of the batch (`accumulate`) has the same images on any number of ranks.
        places = range(first + self.rank, first + self.batch_size, self.ranks)
        if self.weights is not None:
            drawn = np.random.default_rng((self.seed, 1, step)).choice(self.rows, self.batch_size, p=self.weights)
            return [Draw(p, int(drawn[p - first])) for p in places]
        return [Draw(p, int(_order(self.seed, p // self.rows, self.rows)[p % self.rows])) for p in places]


@lru_cache(maxsize=8)  # a batch can straddle two epochs, and a step draws from three streams
def _order(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """The permutation of one epoch."""
    return np.random.default_rng((seed, 0, epoch)).permutation(rows)


def draw_weights(joint: NDArray[np.int64], sampler: str) -> NDArray[np.float64] | None:
    """(n,) joint class of each row -> (n,) probabilities of being drawn, None for `shuffle` (each row once per epoch).

    Args:
        sampler: `balanced`: all classes equally often; `weighted`: in proportion to the square root of their counts; or
            `shuffle`."""
    if sampler == "shuffle":
        return None
    counts = np.bincount(joint)[joint].astype(np.float64)
    probs: NDArray[np.float64] = 1.0 / (counts if sampler == "balanced" else np.sqrt(counts))
    probs /= probs.sum()
    return probs


@dataclass(frozen=True)
class LabeledImages:
    """Augmented training images."""

    source: ImageSource
    labels: NDArray[np.int64]
    """(n, heads) class indices."""
    class_names: Sequence[Sequence[str]]
    """The class names of each row, for augmentations of certain classes only."""
    augment: Augment
    stream: Stream
    weights: NDArray[np.float32] | None = None
    """(n, heads) factors of the loss; None: all are 1."""
    targets: Mapping[str, NDArray[np.float32]] | None = None
    """(n, classes) probabilities per head, used instead of the labels; None: the labels are used."""
    key: tuple[int, ...] = ()
    """Part of every seed, so that two sets of labeled images get different random numbers."""

    def batch(self, step: int) -> Labeled:
        draws = self.stream.batch(step)
        key, names = (self.stream.seed, *self.key), self.class_names
        images = [self.augment(self.source.read(d.row), (*key, d.place), names[d.row]) for d in draws]
        rows = [d.row for d in draws]
        return Labeled(
            _stack(images),
            torch.from_numpy(self.labels[rows]),
            None if self.weights is None else torch.from_numpy(self.weights[rows]),
            None if self.targets is None else {k: torch.from_numpy(t[rows]) for k, t in self.targets.items()},
        )


@dataclass(frozen=True)
class PlainImages(Dataset[NDArray[Any]]):
    """Images without augmentation, for prediction."""

    source: ImageSource

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.source.read(row)

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class UnlabeledImages:
    """Two views of every unlabeled image. Weak views are made with the batch, strong ones when they are needed."""

    source: ImageSource
    weak: Augment
    strong: Augment
    stream: Stream
    strong_at_once: bool
    """Make all strong views with the batch. For worker processes, which work while the network trains."""

    def batch(self, step: int) -> Unlabeled:
        draws = self.stream.batch(step)
        weak = [self.weak(self.source.read(d.row), (self.stream.seed, WEAK, d.place)) for d in draws]
        views = _Views(self, draws)
        strong = _Made(views(torch.arange(len(draws)))) if self.strong_at_once else views
        return Unlabeled(_stack(weak), strong, torch.tensor([d.row for d in draws]))


WEAK, STRONG, PSEUDO = 1, 2, 3
"""Parts of the seed: the two views, pseudo-labeled images and labeled images all get different random numbers."""


@dataclass(frozen=True)
class _Views:
    """Makes strong views on demand. The same rows always give the same views, in any process and at any time."""

    images: UnlabeledImages
    draws: Sequence[Draw]

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        if len(rows) == 0:
            shape = self.images.source.read(0).shape
            return torch.empty((0, *shape), dtype=torch.uint8)
        chosen = [self.draws[i] for i in rows.tolist()]
        images = self.images
        return _stack([images.strong(images.source.read(d.row), (images.stream.seed, STRONG, d.place)) for d in chosen])


@dataclass(frozen=True)
class _Made:
    """Strong views that a worker has made already."""

    views: torch.Tensor

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return self.views[rows]


@dataclass(frozen=True)
class StepBatches(Dataset[Batch]):
    """Batch `step` of this rank. It is pickled into worker processes, where it imports nothing slow."""

    labeled: LabeledImages
    unlabeled: UnlabeledImages | None = None
    pseudo: LabeledImages | None = None
    """Added to the labeled images of a step, which are the same with and without them."""

    def __getitem__(self, step: int) -> Batch:
        labeled = self.labeled.batch(step)
        if self.pseudo is not None:
            labeled = labeled.joined(self.pseudo.batch(step))
        return Batch(labeled, self.unlabeled.batch(step) if self.unlabeled is not None else None)


def train_batches(
    batches: StepBatches, *, start: int, stop: int, workers: int, pin: bool = False
) -> Generator[Batch, None, None]:
    """Batches of the steps `start` … `stop` - 1 for this rank, on the CPU."""
    _one_thread_each()
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(start, stop),
        collate_fn=_as_it_is,
        pin_memory=pin,
        **worker_options(workers),
    )
    return _closing(iter(loader))


def _as_it_is(batch: Any) -> Any:
    return batch


def image_batches(
    source: ImageSource, rows: Sequence[int], *, batch_size: int, workers: int, pin: bool = False
) -> Generator[torch.Tensor, None, None]:
    """(≤ batch_size, size, size, 3) uint8 RGB tensors of these rows, in order; or (≤ batch_size, d) features."""
    cuts = [list(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]
    loader = DataLoader(
        PlainImages(source), batch_sampler=cuts, collate_fn=_stack, pin_memory=pin,
        generator=torch.Generator(),  # else it draws a number from that of the training
        **worker_options(workers),
    )  # fmt: skip
    return _closing(iter(loader))


def _closing(iterator: Iterator[Any]) -> Generator[Any, None, None]:
    """Closing this generator ends the worker processes at once, also while an exception holds on to it."""
    try:
        yield from iterator
    except SslMaskError as error:
        # torch puts the worker's whole traceback into the message; the user needs its last line only.
        raise type(error)(error.problem.rsplit(f"{type(error).__name__}: ", 1)[-1].strip(), hint=error.hint) from None
    finally:
        del iterator


def worker_options(workers: int) -> dict[str, Any]:
    """DataLoader options. Workers are forked on Linux: 0.1 s, against 13 s with spawn. They never use a GPU."""
    if workers == 0:
        return {"num_workers": 0}
    context = "fork" if platform.system() == "Linux" else None
    return {
        "num_workers": workers,
        "multiprocessing_context": context,
        "prefetch_factor": 4,
        "worker_init_fn": _one_thread,
    }


def _one_thread(_: int) -> None:
    import os
    import signal
    import threading

    _one_thread_each()
    # Ctrl-C and a scheduler's SIGTERM reach the whole process group, but the parent still needs its workers to finish
    # the step and save. SIGTERM must not be ignored for ever: Python also uses it to end leftover workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: threading.Timer(GRACE_SECONDS, os._exit, (0,)).start())


def _one_thread_each() -> None:
    """Turn OpenCV's own threads off: on images this small they double the CPU time and compete with torch's threads."""
    import cv2

    cv2.setNumThreads(0)


def _stack(images: list[NDArray[Any]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images))
