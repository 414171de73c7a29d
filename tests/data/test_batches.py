"""The order in which rows are drawn: a function of (seed, step, rank) only."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_mask.data.batches import Stream, draw_weights


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
        assert [d for part in parts for d in part] == whole.batch(step)


def test_samplers_draw_as_they_say() -> None:
    joint = np.asarray([0] * 90 + [1] * 10)
    for sampler, share in (("balanced", 0.5), ("weighted", 0.25)):  # sqrt(10) / (sqrt(10) + sqrt(90)) = 1/4
        weights = draw_weights(joint, sampler)
        assert weights is not None
        assert weights[joint == 1].sum() == pytest.approx(share)
        stream = Stream(100, 500, 0, weights=weights)
        drawn = np.mean([d.row >= 90 for step in range(8) for d in stream.batch(step)])
        assert drawn == pytest.approx(share, abs=0.03)
