"""Sketches of pictures: they tell a copy of a picture from other pictures, and nothing of what is seen on it.

A perceptual hash can be turned back into a picture, even by a linear map (tests/benchmarks/seen_privacy.py does it with
256 bits of PDQ). So no bit of one is kept. The signs of the low frequencies of a picture are dealt into many
overlapping samples of 80 (locality-sensitive hashing, Indyk & Motwani 1998), and of each sample a one-way digest is
kept. Who holds a copy finds the same digests; who does not must guess 80 signs at once.

What re-encoding, scaling, a change of tone or colour, blur, a mirror, a quarter turn or a negative leaves alike is
found. A crop, another turn, a border or a sign on the picture moves every sample: those need the picture itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.copies.fingerprints import Fingerprints
from ssl_mask.guard.copies.workers import spread

SAMPLES = 128
SIGNS = 80
"""In a sample, of 255. More are harder to guess and break sooner."""
BYTES = 6
"""Of each digest: of 10¹² comparisons of others less than one agrees by chance."""

_SIDE, _FREQUENCIES = 64, 16
_FLAT = 3
"""Standard deviation of the grey values below which a picture shows too little to be told from others."""
_UNSURE = 2
"""So many of the signs of a sample that are nearest to 0 are tried the other way round, one at a time."""
_MIRRORED = ((-1.0) ** np.arange(_FREQUENCIES)).astype(np.float32)
_QUERIES = 256  # a block: their digests take some megabytes
_PICTURES = 1024

Spectra = NDArray[np.float32]
"""(n, 16, 16) DCT coefficients of pictures, the mean first."""
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Sketches:
    """Of readable pictures, one a row."""

    digests: tuple[str, ...]
    """SHA-256 of the file's bytes as 64 hex digits."""
    pixels: tuple[str, ...]
    """SHA-256 of the decoded picture and its shape."""
    samples: NDArray[np.uint8]
    """(n, SAMPLES, BYTES) digests; zeros for a flat picture, which is like no other."""

    def __len__(self) -> int:
        return len(self.digests)

    def at(self, positions: Sequence[int]) -> Sketches:
        """Some of them, in a new order."""
        digests, pixels = (tuple(column[i] for i in positions) for column in (self.digests, self.pixels))
        return Sketches(digests, pixels, self.samples[np.asarray(positions, np.int64)])


def sketched(prints: Fingerprints, positions: Sequence[int] | None = None) -> Sketches:
    """Of the readable files, or of some of them: each content once, sorted by digest."""
    row_of = {prints.digests[row]: row for row in (range(len(prints)) if positions is None else positions)}
    digests = sorted(row_of.keys() - {""})
    rows = [row_of[digest] for digest in digests]
    samples = np.zeros((len(rows), SAMPLES, BYTES), np.uint8)
    for start in range(0, len(rows), _PICTURES):
        samples[start : start + _PICTURES] = samples_of(prints.thumbs[rows[start : start + _PICTURES]])
    return Sketches(tuple(digests), tuple(prints.pixels[row] for row in rows), samples)


def joined(*parts: Sketches) -> Sketches:
    """All pictures of several sets, each once, sorted by digest."""
    digests, pixels = ([name for part in parts for name in getattr(part, column)] for column in ("digests", "pixels"))
    row_of = {digest: row for row, digest in reversed([*enumerate(digests)])}  # the first of equal ones
    samples = np.concatenate([np.zeros((0, SAMPLES, BYTES), np.uint8), *(part.samples for part in parts)])
    return Sketches(tuple(digests), tuple(pixels), samples).at([row_of[digest] for digest in sorted(row_of)])


def samples_of(thumbs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, 128, 128) grey pictures to their (n, SAMPLES, BYTES) digests."""
    spectra, flat = spectra_of(thumbs)
    signs = spectra.reshape(len(thumbs), _FREQUENCIES**2) > 0
    found = [_digests(number, np.packbits(signs[:, chosen], axis=1)) for number, chosen in enumerate(CHOSEN)]
    samples = np.stack(found, axis=1).reshape(len(thumbs), SAMPLES, BYTES)
    samples[flat] = 0
    return samples


def alike(thumbs: NDArray[np.uint8], seen: NDArray[np.uint8], processes: int = 1) -> dict[tuple[int, int], float]:
    """Which pictures may show the same: (row of `thumbs`, row of `seen`) -> share of the samples that agree.

    Args:
        thumbs: (n, 128, 128) grey pictures.
        seen: (m, SAMPLES, BYTES), as `samples_of` returns them.
    """
    spectra, flat = spectra_of(thumbs)
    ours, theirs = np.flatnonzero(~flat), np.flatnonzero(seen.any(axis=(1, 2)))
    tasks = (_Task(number, spectra[ours], _numbers(seen[theirs, number])) for number in range(SAMPLES))
    codes = [np.empty(0, np.int64)]
    for row, column in spread(_equal, tasks, processes if len(ours) > _QUERIES else 1):
        codes.append(ours[row] * len(seen) + theirs[column])
    pairs, counts = np.unique(np.concatenate(codes), return_counts=True)
    first, second = np.divmod(pairs, max(1, len(seen)))
    shares = (counts / SAMPLES).tolist()
    return dict(zip(zip(first.tolist(), second.tolist(), strict=True), shares, strict=True))


def spectra_of(thumbs: NDArray[np.uint8]) -> tuple[Spectra, NDArray[np.bool_]]:
    """The DCT of pictures whose grey values are replaced by their ranks, and which are flat.

    Ranks do not change with brightness, contrast or gamma, but where values are cut off.
    """
    spectra = np.zeros((len(thumbs), _FREQUENCIES, _FREQUENCIES), np.float32)
    flat = np.zeros(len(thumbs), np.bool_)
    for row, thumb in enumerate(thumbs):
        small = np.asarray(cv2.resize(thumb, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))
        counts = np.bincount(small.ravel(), minlength=256)
        ranks = (np.cumsum(counts) - counts / 2).astype(np.float32)[small]
        spectra[row] = _DCT @ ranks @ _DCT.T
        flat[row] = small.std() < _FLAT
    return spectra, flat


class _Task(NamedTuple):
    number: int
    """Of the sample."""
    spectra: Spectra
    seen: NDArray[np.uint64]
    """(m,) its digests in all pictures that were seen."""


def _equal(task: _Task) -> Pairs:
    """Rows of the spectra and of what was seen whose digests of one sample are equal, each pair once."""
    order = np.argsort(task.seen, kind="stable")
    ordered = task.seen[order]
    width, codes = max(1, len(ordered)), [np.empty(0, np.int64)]
    for start in range(0, len(task.spectra), _QUERIES):
        asked = _asked(task.spectra[start : start + _QUERIES], task.number)
        low, high = (np.searchsorted(ordered, asked.ravel(), side) for side in ("left", "right"))
        for place in np.flatnonzero(high > low).tolist():
            met = order[low[place] : high[place]]
            codes.append((start + place // asked.shape[1]) * width + met)
    return np.divmod(np.unique(np.concatenate(codes)), width)


def _asked(spectra: Spectra, number: int) -> NDArray[np.uint64]:
    """(n, ways) digests of one sample: of each variant and its negative, with no or one unsure sign turned."""
    chosen, ways = CHOSEN[number], []
    for turned in _variants(spectra):
        values = turned.reshape(len(spectra), -1)[:, chosen]
        signs = np.packbits(values > 0, axis=1)[:, None]
        unsure = np.argpartition(np.abs(values), _UNSURE, axis=1)[:, :_UNSURE]
        tried = np.concatenate([signs, signs ^ _ONE[unsure]], axis=1)
        ways += [tried, ~tried]  # SIGNS fill whole bytes
    rows = np.concatenate(ways, axis=1)
    return _numbers(_digests(number, rows.reshape(-1, rows.shape[2]))).reshape(len(spectra), -1)


def _variants(spectra: Spectra) -> Iterator[Spectra]:
    """Those of `pdq.variant(picture, number)` for the numbers 0 to 7, in another order."""
    for _ in range(4):
        yield spectra
        yield spectra * _MIRRORED
        spectra = spectra.swapaxes(1, 2) * _MIRRORED[:, None]


def _digests(number: int, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, BYTES) one-way digests of (n, SIGNS / 8) packed signs of a sample."""
    size, name = rows.shape[1], number.to_bytes(2, "big")
    data = rows.tobytes()
    found = [blake2b(name + data[i : i + size], digest_size=BYTES).digest() for i in range(0, len(data), size)]
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, BYTES)


def _numbers(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, BYTES) digests as (n,) numbers."""
    padded = np.zeros((len(digests), 8), np.uint8)
    padded[:, :BYTES] = digests
    return padded.view(np.uint64)[:, 0]


def _dct() -> NDArray[np.float32]:
    points = 2 * np.arange(_SIDE) + 1
    return np.asarray(np.cos(np.pi / (2 * _SIDE) * np.arange(_FREQUENCIES)[:, None] * points), np.float32)


def _choices() -> NDArray[np.int64]:
    """(SAMPLES, SIGNS) places of the spectrum, the mean left out. By digests, so that they are the same everywhere."""
    found = []
    for number in range(SAMPLES):
        names = [blake2b(f"sample {number} place {place}".encode()).digest() for place in range(1, _FREQUENCIES**2)]
        found.append(sorted(range(len(names)), key=names.__getitem__)[:SIGNS])
    return np.array(found, np.int64) + 1


_DCT = _dct()
CHOSEN = _choices()
"""The places of the spectrum that each sample looks at."""
_ONE = np.packbits(np.eye(SIGNS, dtype=np.bool_), axis=1)
