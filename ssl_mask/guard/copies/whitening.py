"""Whitened HOGs (Hariharan et al. 2012): what all pictures share counts little, what tells them apart counts much.

A mirror permutes the 324 numbers of a HOG. Whitened with their mirror images, pictures have axes that a mirror either
leaves as they are (even) or turns round (odd). So if E and O are the parts of a scalar product on even and odd axes,
E + O compares two pictures as they are and E - O compares one with the mirror image of the other: the larger of both
is E + |O|, for the price of one product.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.copies.hog import mirrored

_LENGTH, _DIMENSIONS = 324, 256
_RIDGE = 0.03, 100
"""Of n images, 0.03 + (100 / n)² times the largest variance is added to each: else directions that only noise fills,
which are most of them in a small pool, would count as much as the others."""
_MIRROR = mirrored(np.arange(_LENGTH))


class Whitening(NamedTuple):
    centre: NDArray[np.float32]
    """(324,)."""
    axes: NDArray[np.float32]
    """(324, 256), of unit variance. The even ones come first; of either kind, the strongest."""
    even: int
    """How many of the axes are even."""
    variances: NDArray[np.float32]
    """(256,) of the descriptors, before whitening."""

    def project(self, hogs: NDArray[np.generic]) -> NDArray[np.float32]:
        """(..., 324) descriptors to (..., 256) of length 1."""
        white = hogs.astype(np.float32).reshape(-1, _LENGTH)
        white -= self.centre
        return unit(white @ self.axes).reshape(*hogs.shape[:-1], -1)

    def strongest(self, count: int) -> tuple[NDArray[np.int64], int]:
        """The places of those axes along which pictures differ most, and how many of them are even."""
        least = np.sort(self.variances)[::-1][:count].min(initial=np.inf)
        places = np.flatnonzero(self.variances >= least)
        return places, int((places < self.even).sum())


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., d) vectors to length 1, unless they are nearly 0."""
    squares = np.einsum("...d,...d->...", vectors, vectors)
    result: NDArray[np.float32] = vectors / np.maximum(np.sqrt(squares), 1e-6)[..., None]
    return result


def cosines(
    first: NDArray[np.float32], second: NDArray[np.float32], even: int, out: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(n, d) and (m, d) vectors of length 1 to (n, m) cosines: those of the better of the second and its mirror image.

    The first `even` places are of even axes, the others of odd ones. `out` is (2, n, m); its first part is the result.
    """
    odd = np.matmul(first[:, even:], second[:, even:].T, out=out[1])
    np.abs(odd, out=odd)
    result: NDArray[np.float32] = np.matmul(first[:, :even], second[:, :even].T, out=out[0])
    result += odd
    return result


def whitening(blocks: Iterable[NDArray[np.generic]]) -> Whitening:
    """Fitted on (n, 324) descriptors of full frames, given some at a time, and on those of their mirror images."""
    count, total, products = 0, np.zeros(_LENGTH), np.zeros((_LENGTH, _LENGTH))
    for block in blocks:
        frames = block.astype(np.float64)
        count, total, products = count + len(frames), total + frames.sum(axis=0), products + frames.T @ frames
    mean = (total + total[_MIRROR]) / (2 * max(1, count))
    covariance = (products + products[_MIRROR][:, _MIRROR]) / (2 * max(1, count)) - np.outer(mean, mean)
    variances, axes, even = _eigen(covariance)
    ridge = (_RIDGE[0] + (_RIDGE[1] / max(1, count)) ** 2) * variances.max()
    spread = np.sqrt(np.maximum(variances, 0) + ridge + 1e-12)
    return Whitening(mean.astype(np.float32), (axes / spread).astype(np.float32), even, variances.astype(np.float32))


def _eigen(covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """The largest variances, their axes, and how many of them are even: those come first."""
    lower = np.flatnonzero(np.arange(_LENGTH) < _MIRROR)  # no number of a HOG is its own mirror image
    parts = []
    for sign in (1, -1):
        basis = np.zeros((_LENGTH, len(lower)))
        basis[lower, np.arange(len(lower))] = np.sqrt(0.5)
        basis[_MIRROR[lower], np.arange(len(lower))] = sign * np.sqrt(0.5)
        variances, axes = np.linalg.eigh(basis.T @ covariance @ basis)
        parts.append((variances[::-1], basis @ axes[:, ::-1]))
    least = np.partition(np.concatenate([variances for variances, _ in parts]), -_DIMENSIONS)[-_DIMENSIONS]
    kept = [(variances[variances >= least], axes[:, variances >= least]) for variances, axes in parts]
    (even, even_axes), (odd, odd_axes) = kept
    return np.concatenate([even, odd]), np.concatenate([even_axes, odd_axes], axis=1), len(even)
