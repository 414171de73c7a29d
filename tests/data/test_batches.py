"""The order in which rows are drawn: a function of (seed, step, rank) only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ssl_mask.data.augment import Augmenter
from ssl_mask.data.batches import LabeledImages, StepBatches, Stream, UnlabeledImages, draw_weights, train_batches


@dataclass(frozen=True)
class InMemory:
    pictures: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, position: int) -> NDArray[np.uint8]:
        return self.pictures[position]  # type: ignore[no-any-return]


def test_every_row_comes_once_an_epoch_in_a_new_order() -> None:
    stream = Stream(rows=30, batch_size=10, seed=3)
    rows = [d.row for step in range(6) for d in stream.batch(step)]
    assert sorted(rows[:30]) == sorted(rows[30:]) == list(range(30))
    assert rows[:30] != rows[30:]
    assert [d.place for step in range(6) for d in stream.batch(step)] == list(range(60))


def test_a_batch_that_straddles_epochs_loses_nothing() -> None:
    stream = Stream(rows=7, batch_size=5, seed=0)
    rows = [d.row for step in range(7) for d in stream.batch(step)]
    assert all(sorted(rows[i : i + 7]) == list(range(7)) for i in range(0, 35, 7))


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
def test_ranks_share_the_global_batch(sampler: str) -> None:
    weights = draw_weights(np.arange(40) % 3, sampler)
    whole = Stream(40, 8, 1, weights=weights)
    for step in (11, 0, 5):
        parts = [Stream(40, 8, 1, rank, 4, weights).batch(step) for rank in range(4)]
        assert [d for turn in zip(*parts, strict=True) for d in turn] == whole.batch(step)


def test_samplers_draw_as_they_say() -> None:
    joint = np.asarray([0] * 90 + [1] * 10)
    for sampler, share in (("balanced", 0.5), ("weighted", 0.25)):  # sqrt(10) / (sqrt(10) + sqrt(90)) = 1/4
        weights = draw_weights(joint, sampler)
        assert weights is not None
        assert weights[joint == 1].sum() == pytest.approx(share)
        stream = Stream(100, 500, 0, weights=weights)
        drawn = np.mean([d.row >= 90 for step in range(8) for d in stream.batch(step)])
        assert drawn == pytest.approx(share, abs=0.03)


def batches_of(rows: int, *, at_once: bool, size: int = 16) -> StepBatches:
    source = InMemory(np.random.default_rng(0).integers(0, 256, (rows, size, size, 3), dtype=np.uint8))
    flip, strong = Augmenter("flip", size), Augmenter("strong", size)
    labeled = LabeledImages(source, np.arange(rows)[:, None], [()] * rows, flip, Stream(rows, 4, 7))
    pool = UnlabeledImages(source, flip, strong, Stream(rows, 6, 7), strong_at_once=at_once)
    return StepBatches(labeled, pool)


def test_strong_views_are_the_same_whenever_they_are_made() -> None:
    for step in (0, 3, 3):
        lazy, made = (batches_of(9, at_once=a)[step].unlabeled for a in (False, True))
        assert lazy is not None
        assert made is not None
        assert torch.equal(lazy.weak, made.weak)
        rows = torch.tensor([4, 0, 5])
        assert torch.equal(lazy.strong(rows), made.strong(rows))
        assert torch.equal(lazy.strong(rows[1:]), made.strong(torch.arange(6))[rows[1:]])
        assert lazy.strong(rows[:0]).shape == made.strong(rows[:0]).shape == (0, 16, 16, 3)


def test_strong_views_are_never_frozen_copies() -> None:
    """The same image gets another strong view whenever it is drawn."""
    batches = batches_of(2, at_once=False)
    views = [b.unlabeled.strong(torch.arange(6)) for b in (batches[0], batches[1]) if b.unlabeled is not None]
    assert len({v.numpy().tobytes() for view in views for v in view}) == 12


def test_several_worker_processes_make_the_same_batches() -> None:
    alone = list(train_batches(batches_of(9, at_once=False), start=2, stop=6, workers=0))
    shared = list(train_batches(batches_of(9, at_once=True), start=2, stop=6, workers=2))
    for first, second in zip(alone, shared, strict=True):
        assert torch.equal(first.labeled.images, second.labeled.images)
        assert first.unlabeled is not None
        assert second.unlabeled is not None
        assert torch.equal(first.unlabeled.weak, second.unlabeled.weak)
        everything = torch.arange(6)
        assert torch.equal(first.unlabeled.strong(everything), second.unlabeled.strong(everything))
