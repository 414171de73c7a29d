"""The stopwatch against networks whose speed and memory are known, by a clock that only they move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_mask.inference import latency
from ssl_mask.inference.latency import Predict, begin_peak, speed_of, timed

SQUARE = np.zeros((8, 8, 3), np.uint8)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(latency, "perf_counter", made)
    return made


def network(clock: Clock, fixed: float, each: float, seen: list[int], *, megabytes: int = 0) -> Predict:
    """Takes `fixed + each · images` seconds."""
    weights = np.ones(megabytes << 17)

    def predict(squares: Sequence[NDArray[Any]]) -> Any:
        (images,) = squares
        assert images.shape[1:] == SQUARE.shape
        seen.append(len(images))
        clock.now += fixed + each * len(images)
        return weights

    return predict


def test_a_network_with_a_fixed_cost_is_faster_in_large_batches(clock: Clock) -> None:
    seen: list[int] = []
    found = speed_of(lambda: network(clock, 0.008, 0.0002, seen), [SQUARE], seconds=0.05, largest=32)
    assert found.batch == 32 and max(seen) == 32
    assert found.p50 == pytest.approx(8.2) and found.p95 == pytest.approx(8.2)
    assert found.images_per_second == pytest.approx(32 / (0.008 + 32 * 0.0002))


def test_a_network_that_takes_as_long_for_each_image_is_measured_with_one(clock: Clock) -> None:
    seen: list[int] = []
    found = speed_of(lambda: network(clock, 0.0, 0.01, seen), [SQUARE], seconds=0.05)
    assert found.batch == 1 and found.images_per_second == pytest.approx(100)
    assert max(seen) <= 16, "a batch that takes too long is the last"


def test_two_sizes_without_a_gain_do_not_end_the_search_but_three_do(clock: Clock) -> None:
    seen: list[int] = []
    costs = {1: 0.01, 2: 0.02, 4: 0.04, 8: 0.02, 16: 0.05, 32: 0.10, 64: 0.20, 128: 0.0001, 256: 0.0001}

    def predict(squares: Sequence[NDArray[Any]]) -> None:
        seen.append(len(squares[0]))
        clock.now += costs[len(squares[0])]

    found = speed_of(lambda: predict, [SQUARE], seconds=1.0)
    assert (found.batch, max(seen)) == (8, 64)
    assert found.images_per_second == pytest.approx(8 / 0.02)


def test_one_slow_call_does_not_change_what_is_the_best_batch(clock: Clock) -> None:
    calls: list[int] = []

    def predict(squares: Sequence[NDArray[Any]]) -> None:
        calls.append(len(squares[0]))
        slow = len(squares[0]) == 4 and calls.count(4) == 5
        clock.now += 5.0 if slow else 0.01

    found = speed_of(lambda: predict, [SQUARE], seconds=0.3, largest=4)
    assert found.batch == 4 and found.images_per_second == pytest.approx(400)


@pytest.mark.skipif(begin_peak() is None, reason="this system does not tell its memory")
def test_memory_is_what_the_network_adds(clock: Clock) -> None:
    some = [np.ones(30 << 17)]  # 30 MB that were there before
    small = [np.ones(4000) for _ in range(2000)]  # and 64 MB that are free now, in parts that malloc keeps
    del small
    found = speed_of(lambda: network(clock, 0.0, 0.001, [], megabytes=64), [SQUARE], seconds=0.01, largest=1)
    assert found.memory is not None and 60e6 < found.memory < 90e6
    assert len(some) == 1


def test_calls_that_warm_up_do_not_count(clock: Clock) -> None:
    calls: list[float] = []

    def call() -> None:
        calls.append(0.0)
        clock.now += 0.05 if len(calls) <= 2 else 0.001

    times = timed(call, 0.0, least=5)
    assert len(times) == 5 and len(calls) == 7 and max(times) < 0.05
