"""The nearest vectors and groups against slow loops and FAISS."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_mask.inference import nearest
from ssl_mask.inference.nearest import exact_search, group_numbers, nearest_groups


def unit(rng: np.random.Generator, count: int, width: int = 6) -> NDArray[np.float32]:
    vectors = rng.normal(size=(count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def slow_cosines(query: NDArray[np.float32], table: NDArray[np.float32]) -> list[tuple[float, int]]:
    """(−cosine, row), the nearest first."""
    found = [
        (-math.fsum(float(a) * float(b) for a, b in zip(query, row, strict=True)), i) for i, row in enumerate(table)
    ]
    return sorted(found)


def slow_groups(
    query: NDArray[np.float32], table: NDArray[np.float32], groups: list[str], count: int, without: str | None
) -> list[int]:
    """The nearest row of each of the nearest groups."""
    rows: list[int] = []
    met: set[str] = set()
    for _, row in slow_cosines(query, table):
        group = groups[row] or f"alone {row}"
        if group not in met and group != without:
            met.add(group)
            rows.append(row)
    return rows[:count]


def test_the_nearest_rows_are_those_of_a_slow_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    table, queries = unit(rng, 40), unit(rng, 7)
    monkeypatch.setattr(nearest, "_CELLS", 90)  # two queries at a time
    found = exact_search(table)(queries, 5)
    assert (found.cosine.dtype, found.rows.dtype, found.rows.shape) == (np.float32, np.int64, (7, 5))
    for q, query in enumerate(queries):
        expected = slow_cosines(query, table)[:5]
        assert found.rows[q].tolist() == [row for _, row in expected]
        np.testing.assert_allclose(found.cosine[q], [-c for c, _ in expected], atol=1e-6)
    assert exact_search(table)(queries, 99).rows.shape == (7, 40)
    assert exact_search(table)(queries[:0], 3).rows.shape == (0, 3)


def test_of_equal_vectors_the_first_is_the_nearest() -> None:
    same = np.tile(unit(np.random.default_rng(1), 1), (5, 1))
    assert exact_search(same)(same[:2], 5).rows.tolist() == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize("largest", [1, 3, 30])
def test_each_group_counts_once_by_its_nearest_row(largest: int) -> None:
    """Also where one group has more rows than are looked at first, and where there are fewer groups than asked for."""
    rng = np.random.default_rng(largest)
    table, queries = unit(rng, 60), unit(rng, 9)
    groups = [f"g{i // largest}" if i < 50 else "" for i in range(60)]
    own = [groups[q] or f"alone {q}" for q in range(9)]
    numbers = group_numbers(groups)
    assert len(np.unique(numbers)) == math.ceil(50 / largest) + 10
    for count in (1, 4, 20):
        everywhere = nearest_groups(exact_search(table), numbers, queries, count)
        elsewhere = nearest_groups(exact_search(table), numbers, queries, count, without=numbers[:9])
        for q, query in enumerate(queries):
            for found, without in ((everywhere, None), (elsewhere, own[q])):
                expected = slow_groups(query, table, groups, count, without)
                assert [r for r in found.rows[q].tolist() if r >= 0] == expected
                assert np.isneginf(found.cosine[q, len(expected) :]).all()
                np.testing.assert_allclose(found.cosine[q, : len(expected)], table[expected] @ query, atol=1e-6)


def test_it_finds_what_faiss_finds() -> None:
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(2)
    table, queries = unit(rng, 500, 16), unit(rng, 20, 16)
    index = faiss.IndexFlatIP(16)
    index.add(table)
    cosine, rows = index.search(queries, 10)
    ours = exact_search(table)(queries, 10)
    assert (ours.rows == rows).all()
    np.testing.assert_allclose(ours.cosine, cosine, atol=1e-6)
