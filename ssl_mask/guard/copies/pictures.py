"""The different pictures of a pool: files that show the same pixels are looked at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.copies.candidates import Hits
from ssl_mask.guard.copies.fingerprints import Fingerprints

Positions = NDArray[np.int64]


class Pictures(NamedTuple):
    """Sorted by the digest of their pixels, so that the order of the files has no influence on anything."""

    digests: NDArray[np.uint8]
    """(pictures, 32)."""
    members: Positions
    """Positions of the first picture's files, then of the second's, …"""
    starts: Positions
    """(pictures,) where the files of each begin in `members`."""
    counts: Positions
    """(pictures,) how many files show it."""

    @property
    def positions(self) -> Positions:
        """(pictures,) one file of each."""
        return self.members[self.starts]

    def files(self, rows: NDArray[np.int64]) -> Positions:
        """The files that show some pictures, in their own order."""
        return np.sort(self.members[np.isin(self._shown, rows)])

    def shown_by(self, files: Positions) -> NDArray[np.int64]:
        """The pictures that some files show, each once."""
        found: NDArray[np.int64] = np.unique(self._shown[np.isin(self.members, files)])
        return found

    @property
    def _shown(self) -> NDArray[np.int64]:
        """(files,) which picture each of `members` shows."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


def pictures(prints: Fingerprints) -> Pictures:
    """Those of the readable files."""
    readable = np.array([position for position, digest in enumerate(prints.pixels) if digest], np.int64)
    names = np.array([prints.pixels[position] for position in readable], "S64")
    order = np.argsort(names, kind="stable")
    unique, starts, counts = np.unique(names[order], return_index=True, return_counts=True)
    digests = np.frombuffer(bytes.fromhex(b"".join(unique.tolist()).decode()), np.uint8).reshape(-1, 32)
    return Pictures(digests, readable[order], starts, counts)


def equal(first: Pictures, second: Pictures) -> Hits:
    """The pictures that are in both."""
    place = {bytes(digest): row for row, digest in enumerate(second.digests)}
    pairs = [(row, place[bytes(digest)]) for row, digest in enumerate(first.digests) if bytes(digest) in place]
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return Hits(rows[:, 0], rows[:, 1], np.ones(len(rows), np.uint8))


def files_of(
    hits: Hits, first: Pictures, second: Pictures, *, within: bool
) -> tuple[Positions, Positions, NDArray[np.int64]]:
    """Pairs of files (i,) and (j,) of the pictures in `hits`, and which row of `hits` each comes from.

    `within` one pool, a pair is given once, lower position first, and no file is paired with itself.
    """
    width = second.counts[hits.second]
    each = first.counts[hits.first] * width
    row = np.repeat(np.arange(len(each)), each)
    number = np.arange(len(row)) - np.repeat(np.cumsum(each) - each, each)  # 0, 1, … within a row
    i = first.members[first.starts[hits.first[row]] + number // width[row]]
    j = second.members[second.starts[hits.second[row]] + number % width[row]]
    if within:
        once = (i < j) | ((hits.first != hits.second)[row])
        i, j, row = np.minimum(i, j)[once], np.maximum(i, j)[once], row[once]
    return i, j, row
