"""The nearest vectors by cosine, exactly: one matrix product after the other.

FAISS's exact index was measured and is no gain: it took 2 to 10 times as long, and a copy of the table
(`tests/benchmarks/neighbours.py speed`).

Rows may belong to groups (persons). A group is as near as its nearest row, so that seven photos of a person are one
neighbour and not seven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

_CELLS = 1 << 24  # cosines in memory at once


class Nearest(NamedTuple):
    """Neighbours of some queries, the nearest first; of equal cosines the lower row number is first."""

    cosine: NDArray[np.float32]
    """(q, m); -inf where there are fewer."""
    rows: Rows
    """(q, m) positions in the table; -1 where there are fewer."""


Search = Callable[[Vectors, int], Nearest]
"""(q, d) vectors of length 1, and how many neighbours of each; at most as many as the table has rows."""


def exact_search(vectors: Vectors, device: torch.device | str = "cpu") -> Search:
    """A search in (n, d) vectors of length 1, n > 0, by all cosines, in blocks of queries."""
    table = torch.from_numpy(np.ascontiguousarray(vectors)).to(device)
    block = max(1, _CELLS // len(vectors))

    def search(queries: Vectors, count: int) -> Nearest:
        most = min(count, len(table))
        found = [
            torch.topk(torch.from_numpy(queries[first : first + block]).to(device) @ table.T, most, dim=1)
            for first in range(0, len(queries), block)
        ]
        empty = np.empty((0, most))
        cosine = np.concatenate([f.values.cpu().numpy() for f in found]) if found else empty
        rows = np.concatenate([f.indices.cpu().numpy() for f in found]) if found else empty
        return _in_order(cosine, rows)

    return search


def nearest_groups(
    search: Search, group_of: Sequence[int] | Rows, queries: Vectors, count: int, *, without: Rows | None = None
) -> Nearest:
    """The nearest row of each of the `count` nearest groups.

    Rows are looked at from the nearest on, twice as many each time, until enough groups are among them. So the result
    is exact, however large the groups are.

    Args:
        group_of: (n,) number ≥ 0 of each row's group.
        queries: (q, d) vectors of length 1.
        without: (q,) a group that does not count for a query, such as its own; -1: none.

    Returns:
        (q, count) cosines and rows, with -inf and -1 where there are fewer groups.
    """
    numbers, total = np.asarray(group_of, np.int64), len(group_of)
    cosine = np.full((len(queries), count), -np.inf, np.float32)
    rows = np.full((len(queries), count), -1, np.int64)
    left, depth = np.arange(len(queries)), min(total, 4 * count)
    while len(left):
        found = search(queries[left], depth)
        groups = numbers[found.rows]
        first = _first_of_group(groups)
        if without is not None:
            first &= groups != without[left][:, None]
        rank = np.cumsum(first, axis=1)
        done = (rank[:, -1] >= count) | (depth == total)
        query, column = np.nonzero(first & (rank <= count) & done[:, None])
        place = left[query], rank[query, column] - 1
        cosine[place], rows[place] = found.cosine[query, column], found.rows[query, column]
        left, depth = left[~done], min(total, 2 * depth)
    return Nearest(cosine, rows)


def group_distances(
    queries: Vectors, vectors: Vectors, group_of: Rows, counts: Sequence[int], *, device: torch.device | str = "cpu",
    without: Rows | None = None,
) -> dict[int, NDArray[np.float32]]:  # fmt: skip
    """k -> (q,) 1 − cosine to the k-th nearest group, of each count; where there are fewer, to the last.

    Args:
        queries: (q, d) vectors of length 1.
        vectors: (n, d) likewise, of at least one group; of at least two with `without`.
        without: (q,) a group that does not count for a query, such as its own.
    """
    most = min(max(counts), len(np.unique(group_of)) - (without is not None))
    near = nearest_groups(exact_search(vectors, device), group_of, queries, most, without=without)
    return {k: 1 - near.cosine[:, min(k, most) - 1] for k in counts}


def group_numbers(groups: Sequence[str]) -> Rows:
    """(n,) a number a group. A row whose group is not known ("") is a group of its own."""
    numbers: dict[str, int] = {}
    return np.asarray([numbers.setdefault(g or f"\0{i}", len(numbers)) for i, g in enumerate(groups)], np.int64)


def _first_of_group(groups: Rows) -> NDArray[np.bool_]:
    """(q, m) whether no earlier column of the row has the same group."""
    order = np.argsort(groups, axis=1, kind="stable")
    ordered = np.take_along_axis(groups, order, axis=1)
    new = np.ones(groups.shape, np.bool_)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty(groups.shape, np.bool_)
    np.put_along_axis(first, order, new, axis=1)
    return first


def _in_order(cosine: NDArray[Any], rows: NDArray[Any]) -> Nearest:
    order = np.lexsort((rows, -cosine), axis=1)
    return Nearest(
        np.take_along_axis(cosine, order, axis=1).astype(np.float32),
        np.take_along_axis(rows, order, axis=1).astype(np.int64),
    )
