"""What is known of pairs, kept on disk: which pairs of two pools are candidates, and the scores of those verified;
and which pictures of a pool have parts.

All are found by digests of pixels, so they hold for the same pictures in other files. Every file is written once,
under another name until it is whole; every file may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.copies.candidates import Hits
from ssl_mask.guard.copies.store import load_table, save_table

_SCORE = np.dtype([("key", "<u8", (2,)), ("score", "<f4")])
_ROW = np.dtype([("row", "<i8")])
_HIT = np.dtype([("first", "<i4"), ("second", "<i4"), ("variants", "u1")])


def save_hits(path: Path, hits: Hits) -> None:
    """Raises StorageError when the disk refuses."""
    table = np.empty(len(hits.first), _HIT)
    for name, column in zip(_HIT.names or (), hits, strict=True):
        table[name] = column
    save_table(path, table)


def load_hits(path: Path) -> Hits | None:
    """None where there is nothing, or nothing whole."""
    try:
        table = load_table(path, _HIT)
    except (OSError, ValueError):
        return None
    return Hits(table["first"].astype(np.int64), table["second"].astype(np.int64), table["variants"].copy())


def save_rows(path: Path, rows: NDArray[np.int64]) -> None:
    """Raises StorageError when the disk refuses."""
    save_table(path, rows.astype("<i8").view(_ROW))


def load_rows(path: Path) -> NDArray[np.int64] | None:
    """None where there is nothing, or nothing whole."""
    try:
        return load_table(path, _ROW)["row"].astype(np.int64)
    except (OSError, ValueError):
        return None


def hits_name(pools: Sequence[NDArray[np.uint8]]) -> str:
    """The name of the file for pools of pictures with these (n, 32) digests, which are sorted."""
    digest = hashlib.sha256()
    for pool in pools:
        digest.update(f"{len(pool)} ".encode())
        digest.update(pool.tobytes())
    return f"{digest.hexdigest()}.npy"


class Scores:
    """The scores in a folder, in memory: 20 bytes a pair."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        parts = [np.empty(0, _SCORE)]
        for path in sorted(folder.glob("*.npy")) if folder else ():
            with suppress(OSError, ValueError):  # deleted or damaged is as good as absent
                parts.append(load_table(path, _SCORE))
        table = np.concatenate(parts)
        self._table = table[np.argsort(table["key"][:, 0], kind="stable")]

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.float32]:
        """(n, 2) keys to (n,) scores; NaN for a pair that is not known."""
        scores = np.full(len(keys), np.nan, np.float32)
        if len(self._table):
            place = np.searchsorted(self._table["key"][:, 0], keys[:, 0])
            found = self._table[np.minimum(place, len(self._table) - 1)]
            known = (found["key"] == keys).all(axis=1)
            scores[known] = found["score"][known]
        return scores

    def add(self, keys: NDArray[np.uint64], scores: NDArray[np.float32]) -> None:
        """Keeps them for later runs. Raises StorageError when the disk refuses."""
        if self._folder and len(keys):
            table = np.empty(len(keys), _SCORE)
            table["key"], table["score"] = keys, scores
            save_table(self._folder / f"{uuid.uuid4().hex}.npy", table)


def pair_keys(first: NDArray[np.uint8], second: NDArray[np.uint8], variants: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, 2) keys of pairs of (n, 32) digests. Digests are random already: mixing two of them needs no more hashing."""
    a, b = (np.ascontiguousarray(d).view(np.uint64)[:, :2] for d in (first, second))
    keys: NDArray[np.uint64] = a ^ (b * np.uint64(0x9E3779B97F4A7C15))  # odd, so that (a, b) is not (b, a)
    keys[:, 1] ^= variants
    return keys
