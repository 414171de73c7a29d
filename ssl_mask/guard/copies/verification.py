"""Are two grey pictures one photo, the other perhaps cut, turned a bit, mirrored, recoloured, inverted or drawn upon?

Hashes and descriptors only propose pairs: aligned faces of different persons look alike to them. The answer is made on
pixels, from coarse to fine. A search at 24 pixels (`coarse.py`) finds where one picture lies in the other. Where that
looks promising, ECC (Evangelidis & Psarakis 2008) refines the place to an affine map, at 64 pixels and at 128. The
score is a low quantile, over blocks of an eighth of a side, of the zero-mean normalised cross-correlation: light and
contrast do not matter, and whatever covers less than two fifths of the blocks (a logo) does not either. For pictures
that agree as they lie it is the median: there half suffices. A search lays equal masks on different faces upon each
other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.copies.coarse import COARSE, UPRIGHT, Coarse, Picture, Place, coarse, find
from ssl_mask.guard.copies.pdq import undo, variant

SIDE = 128

_HOPELESS = 0.8
"""Score at 64 pixels. The lowest of 750 altered copies of faces was 0.98; of 400 pairs of different persons that hash
and HOG propose, 98 % are below 0.8."""
_UNLIKE = 1.0
"""Correlation at 24 pixels plus the score at 64 where the search has put the picture, before ECC. The lowest of 990
copies with crops of up to 20 %, borders, logos, turns and as negatives was 1.46. A crop of 30 % is further in than the
search looks, yet ECC finds it: of 100 faces the lowest was 1.05, and at 1.2 six were lost. A third of the candidate
pairs of faces are below, and ECC takes most of a pair's time."""
_INVERTED = 0.6
"""Correlation at 24 pixels below which nothing is taken for a negative; those of copies are above 0.8."""
_BLURRED = 2.0
"""How many times sharper one picture must be than the other for a comparison at the sharpness of the blurred one."""
_BLURS = tuple(0.7 * 1.25**step for step in range(12))
"""Standard deviations in pixels of 128: up to 8, which leaves nothing of a face."""
_SHARE = 0.4
_FEWEST_BLOCKS = 12

Warp = NDArray[np.float64]
"""(3, 3) affine map from pixels of the outer picture to pixels of the inner one, at 128 pixels a side."""


class Blocks(NamedTuple):
    """A picture, and the mean and variance of each of its blocks of an eighth of a side, at every sixteenth."""

    image: Picture
    mean: Picture
    variance: Picture


class View(NamedTuple):
    """A picture made ready to be compared with many others; about 130 kB."""

    thumb: NDArray[np.uint8]
    """(128, 128)."""
    halves: dict[int, Blocks]
    """The variants that are always tried: (64, 64), slightly blurred."""
    coarse: Coarse
    sharpness: float
    """See `_sharpness`; the same of the negative."""
    inverted: bool = False
    """Whether `fine` and `halves` are those of the negative."""

    @property
    def fine(self) -> Picture:
        """(128, 128), slightly blurred; few pairs need it."""
        fine = _blurred(self.thumb, 1.0)
        return 255 - fine if self.inverted else fine

    def half(self, number: int) -> Blocks:
        """A variant at 64 pixels."""
        return self.halves[number] if number in self.halves else blocks(variant(self.halves[0].image, number))

    def negative(self) -> View:
        """With light and dark exchanged, but for `coarse`, which finds both."""
        halves = {number: blocks(255 - half.image) for number, half in self.halves.items()}
        return self._replace(halves=halves, inverted=True)


class _Pose(NamedTuple):
    """`variant(inner, number)` laid onto the outer picture by a map."""

    outer: View
    inner: View
    number: int
    warp: Warp

    @property
    def inner_half(self) -> Picture:
        return self.inner.half(self.number).image


def view(thumb: NDArray[np.uint8]) -> View:
    """Everything that is needed of a (128, 128) grey picture, whatever it is compared with."""
    half = _blurred(cv2.resize(thumb, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA), 0.7)
    halves = {number: blocks(variant(half, number)) for number in UPRIGHT}
    return View(thumb, halves, coarse(thumb), _sharpness(_blurred(thumb, 1.0)))


def similarity(first: View, second: View, variants: Sequence[int] = UPRIGHT) -> float:
    """The score, at most 1: the better of `variants` of the second in the first, and of the first in the second.

    Where the negative of the second fits better at first sight, it is compared too.
    """
    back = [undo(number) for number in variants]
    (there, inverted) = find(first.coarse, second.coarse, variants)
    (here, turned) = find(second.coarse, first.coarse, back)
    score = _better(first, second, there, here, variants)
    if max(inverted.correlation, turned.correlation) > max(there.correlation, here.correlation, _INVERTED):
        score = max(score, _better(first, second.negative(), inverted, turned, variants))
    if max(first.sharpness, second.sharpness) > _BLURRED * min(first.sharpness, second.sharpness):
        score = max(score, _equally_blurred(first, second, variants))
    return score


def _equally_blurred(first: View, second: View, variants: Sequence[int]) -> float:
    """The score of the whole pictures as they lie, the sharper one blurred until it is as blurred as the other.

    Blurred faces are more alike than sharp ones, so three quarters of the blocks must agree. Of 4,502 candidate pairs
    of different faces, both blurred, none is above 0.86; of 100 copies blurred by 3.75 % of the width, none below 0.99.
    """
    sharp, blurred = (first, second) if first.sharpness > second.sharpness else (second, first)
    fine = sharp.fine
    enough = bisect_left(_BLURS, True, key=lambda sigma: _sharpness(_blurred(fine, sigma)) <= blurred.sharpness)
    softer = _blurred(fine, _BLURS[min(enough, len(_BLURS) - 1)])
    one, other = (softer, blurred.fine) if sharp is first else (blurred.fine, softer)
    outer = blocks(one)
    return max(_agreement(outer, blocks(variant(other, number)), share=0.25) for number in variants)


def _better(first: View, second: View, there: Place, here: Place, variants: Sequence[int]) -> float:
    """The best score from two places: of the second in the first, and of the first in the second."""
    ways = sorted(((there, first, second), (here, second, first)), key=lambda way: way[0].correlation, reverse=True)
    best = _posed(*ways[0])
    # What covers a part may draw the search away, and copies that show the whole picture need none.
    whole, number = max((_agreement(first.half(0), second.half(n), share=0.5), n) for n in variants)
    at_first = max(_score(best.outer.half(0), best.inner_half, _at(best.warp, SIDE // 2)), whole)
    if at_first < _HOPELESS and at_first + ways[0][0].correlation < _UNLIKE:
        return at_first
    likeliest, score = _at_half(best)
    if max(score, whole) < _HOPELESS:
        return max(score, whole)
    others = _posed(*ways[1]), _Pose(first, second, number, np.eye(3))
    tries = [(likeliest, score), *map(_at_half, others)]
    scores = [_at_full(pose) if score >= _HOPELESS else score for pose, score in tries]
    return max(*scores, _agreement(blocks(first.fine), blocks(variant(second.fine, number)), share=0.5))


def _posed(place: Place, outer: View, inner: View) -> _Pose:
    return _Pose(outer, inner, place.number, _map(place))


def _at_half(pose: _Pose) -> tuple[_Pose, float]:
    """The pose refined at 64 pixels, and its score there."""
    warp, score = _refine(pose.outer.half(0), pose.inner_half, pose.warp, steps=8)
    return pose._replace(warp=warp), score


def _at_full(pose: _Pose) -> float:
    return _refine(blocks(pose.outer.fine), variant(pose.inner.fine, pose.number), pose.warp, steps=40)[1]


def _map(place: Place) -> Warp:
    centre = (SIDE - 1) / 2
    turn = np.vstack([cv2.getRotationMatrix2D((centre, centre), place.angle, 1.0), [0, 0, 1]])
    scale, unit = place.size / (COARSE - 2 * place.margin), SIDE / COARSE
    x, y = (place.x - place.margin * scale) * unit, (place.y - place.margin * scale) * unit
    move = np.array([[scale, 0, x], [0, scale, y], [0, 0, 1]])
    result: Warp = np.linalg.inv(move @ turn)
    return result


def _refine(outer: Blocks, inner: Picture, warp: Warp, *, steps: int) -> tuple[Warp, float]:
    """The better of the map and of what ECC makes of it, and its score."""
    start = _at(warp, len(inner))
    best, score = start, _score(outer, inner, start)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-4)
    with suppress(cv2.error):  # it did not converge
        _, found = cv2.findTransformECC(outer.image, inner, start.copy(), cv2.MOTION_AFFINE, stop, None, 3)
        large, small = np.linalg.svd(found[:, :2], compute_uv=False)
        # ECC maximises the correlation of everything, also of what covers a part: it may end further off.
        if large < 1.6 and small > 0.6 and large / small < 1.25 and (better := _score(outer, inner, found)) > score:
            best, score = found, better
    there, back = _rescaling(len(inner))
    return back @ np.vstack([best, [0, 0, 1]]) @ there, score


def _score(outer: Blocks, inner: Picture, warp: NDArray[np.float32]) -> float:
    size, flags = inner.shape, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    covered = cv2.warpAffine(np.ones_like(inner), warp, size, flags=flags)
    return _agreement(outer, blocks(np.asarray(cv2.warpAffine(inner, warp, size, flags=flags))), np.asarray(covered))


def _at(warp: Warp, side: int) -> NDArray[np.float32]:
    """(2, 3) the map between pictures of so many pixels a side."""
    there, back = _rescaling(side)
    return np.asarray((there @ warp @ back)[:2], np.float32)


@cache
def _rescaling(side: int) -> tuple[Warp, Warp]:
    """Pixel centres of a picture of 128 pixels to those of the same picture with `side` pixels, and back."""
    factor = side / SIDE
    there = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
    return there, np.linalg.inv(there)


def blocks(image: Picture) -> Blocks:
    mean = _block_means(image)
    return Blocks(image, mean, _block_means(image * image) - mean**2)


def _agreement(a: Blocks, b: Blocks, covered: Picture | None = None, *, share: float = _SHARE) -> float:
    """The correlation that a `share` of the blocks stay below; 0 when too few are covered and not flat to tell."""
    usable = (a.variance > 9) & (b.variance > 4)
    if covered is not None:
        usable &= _block_means(covered) > 0.999
    if usable.sum() < _FEWEST_BLOCKS:
        return 0.0
    covariance = (_block_means(a.image * b.image) - a.mean * b.mean)[usable]
    place = int(share * len(covariance))
    return float(np.partition(covariance / np.sqrt(a.variance[usable] * b.variance[usable]), place)[place])


def _block_means(image: Picture) -> Picture:
    """Means of the blocks of an eighth of a side, at every sixteenth."""
    block = len(image) // 8
    every = slice(block // 2, len(image) - block // 2, block // 2)
    return np.asarray(cv2.boxFilter(image, cv2.CV_32F, (block, block))[every, every])


def _sharpness(fine: Picture) -> float:
    """The strength of the finest details (root mean square of the Laplacian) relative to the contrast."""
    details = cv2.Laplacian(fine, cv2.CV_32F)[2:-2, 2:-2]
    return float(np.sqrt(np.mean(details * details)) / max(float(fine.std()), 1.0))


def _blurred(image: NDArray[Any], sigma: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma))
