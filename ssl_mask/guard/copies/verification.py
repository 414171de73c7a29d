"""Are two grey pictures one photo, the other perhaps cut, turned a bit, mirrored, recoloured, inverted or drawn upon?

Hashes and descriptors only propose pairs: aligned faces of different persons look alike to them. The answer is made on
pixels, from coarse to fine. A search at 24 pixels finds where one picture lies in the other; ECC (Evangelidis &
Psarakis 2008) refines the place to an affine map, at 64 pixels and, where that looks promising, at 128. The score is a
low quantile, over blocks of an eighth of a side, of the zero-mean normalised cross-correlation: light and contrast do
not matter, and whatever covers less than two fifths of the blocks (a logo) does not either. For pictures that agree as
they lie it is the median: there half suffices. A search lays equal masks on different faces upon each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.guard.copies.pdq import undo, variant

SIDE = 128
UPRIGHT = (0, 4)
"""The variants (see `pdq.variant`) that are always tried: as it is, and mirrored."""

_COARSE, _PAD, _MARGIN = 24, 2, 1
_ANGLES = (-6, -3, 3, 6)
_SCALES = (1.0, 0.94, 0.87, 0.80)
_HOPELESS = 0.8
"""Score at 64 pixels. The lowest of 750 altered copies of faces was 0.98; of 400 pairs of different persons that hash
and HOG propose, 98 % are below 0.8."""
_INVERTED = 0.6
"""Correlation at 24 pixels below which nothing is taken for a negative; those of copies are above 0.8."""
_SHARE = 0.4
_FEWEST_BLOCKS = 12

Picture = NDArray[np.float32]
Warp = NDArray[np.float64]
"""(3, 3) affine map from pixels of the outer picture to pixels of the inner one, at 128 pixels a side."""


class View(NamedTuple):
    """A picture made ready to be compared with many others."""

    fine: Picture
    """(128, 128), slightly blurred."""
    half: Picture
    """(64, 64), slightly blurred."""
    patches: dict[int, Picture]
    """Size to (places, size²): what lies at each place of the picture, of mean 0 and length 1."""
    templates: dict[tuple[int, int], Picture]
    """(size, margin) to (angles, size, size): the picture turned, cut and shrunk, of mean 0 and length 1."""

    def negative(self) -> View:
        """With light and dark exchanged; where it was found already, `patches` and `templates` are not needed."""
        return self._replace(fine=255 - self.fine, half=255 - self.half, patches={}, templates={})


class _Pose(NamedTuple):
    """`variant(inner, number)` laid onto the outer picture by a map."""

    outer: View
    inner: View
    number: int
    warp: Warp


class Place(NamedTuple):
    """Where `variant(inner, number)`, turned by `angle` degrees and cut by `margin`, lies; lengths in coarse pixels."""

    correlation: float
    number: int
    angle: int
    margin: int
    size: int
    x: int
    y: int


def view(thumb: NDArray[np.uint8]) -> View:
    """Everything that is needed of a (128, 128) grey picture, whatever it is compared with."""
    half = cv2.resize(thumb, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
    small = cv2.resize(thumb, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA).astype(np.float32)
    templates = _templates(small)
    padded = np.pad(small, _PAD, mode="edge")
    patches = {size: _patches(padded, size) for size in {size for size, _ in templates}}
    return View(_blurred(thumb, 1.0), _blurred(half, 0.7), patches, templates)


def similarity(first: View, second: View, variants: Sequence[int] = UPRIGHT) -> float:
    """The score, at most 1: the better of `variants` of the second in the first, and of the first in the second.

    Where the negative of the second fits better at first sight, it is compared too.
    """
    back = [undo(number) for number in variants]
    (there, inverted), (here, turned) = find(first, second, variants), find(second, first, back)
    score = _better(first, second, there, here, variants)
    if max(inverted.correlation, turned.correlation) > max(there.correlation, here.correlation, _INVERTED):
        score = max(score, _better(first, second.negative(), inverted, turned, variants))
    return score


def _better(first: View, second: View, there: Place, here: Place, variants: Sequence[int]) -> float:
    """The best score from two places: of the second in the first, and of the first in the second."""
    places = sorted(((there, first, second), (here, second, first)), key=lambda p: p[0].correlation, reverse=True)
    poses = [_Pose(outer, inner, place.number, _map(place)) for place, outer, inner in places]
    # What covers a part may draw the search away, and copies that show the whole picture need none.
    whole, number = max((_agreement(first.half, variant(second.half, n), share=0.5), n) for n in variants)
    poses.append(_Pose(first, second, number, np.eye(3)))

    likeliest, score = _at_half(poses[0])
    if max(score, whole) < _HOPELESS:
        return max(score, whole)
    tries = [(likeliest, score), *map(_at_half, poses[1:])]
    scores = [_at_full(pose) if score >= _HOPELESS else score for pose, score in tries]
    return max(*scores, _agreement(first.fine, variant(second.fine, number), share=0.5))


def _at_half(pose: _Pose) -> tuple[_Pose, float]:
    """The pose refined at 64 pixels, and its score there."""
    outer, inner, number, warp = pose
    warp, score = _refine(outer.half, variant(inner.half, number), warp, steps=8)
    return _Pose(outer, inner, number, warp), score


def _at_full(pose: _Pose) -> float:
    return _refine(pose.outer.fine, variant(pose.inner.fine, pose.number), pose.warp, steps=40)[1]


def find(outer: View, inner: View, variants: Sequence[int]) -> tuple[Place, Place]:
    """The place with the highest correlation, and that of the negative of `inner`."""
    best = [Place(-2, 0, 0, 0, 0, 0, 0)] * 2
    for (size, margin), templates in inner.templates.items():
        poses = np.stack([_seen_as(templates, number) for number in variants]).reshape(-1, size * size)
        found = poses @ outer.patches[size].T
        for which, top, value in ((0, int(found.argmax()), found.max()), (1, int(found.argmin()), -found.min())):
            if value > best[which].correlation:
                pose, place = divmod(top, found.shape[1])
                number, angle = variants[pose // len(templates)], _ANGLES[pose % len(templates)] if margin else 0
                y, x = divmod(place, _COARSE + 2 * _PAD - size + 1)
                turned = -angle if number >= 4 else angle  # a mirror reverses it
                best[which] = Place(float(value), number, turned, margin, size, x - _PAD, y - _PAD)
    return best[0], best[1]


def _templates(small: Picture) -> dict[tuple[int, int], Picture]:
    templates = {}
    for margin, angles in ((0, (0,)), (_MARGIN, _ANGLES)):
        inside = slice(margin, _COARSE - margin)
        turned = [_turn(small, angle)[inside, inside] for angle in angles]
        for scale in _SCALES:
            size = round((_COARSE - 2 * margin) * scale)
            scaled = np.stack([cv2.resize(t, (size, size), interpolation=cv2.INTER_AREA) for t in turned])
            templates[size, margin] = _unit(scaled.reshape(len(angles), -1)).reshape(scaled.shape)
    return templates


def _patches(padded: Picture, size: int) -> Picture:
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    return _unit(windows.reshape(-1, size * size))


def _seen_as(templates: Picture, number: int) -> Picture:
    """`variant` for a stack: cheaper than to turn, cut and shrink a variant of the picture."""
    turned = np.rot90(templates, number % 4, axes=(1, 2))
    return turned[:, :, ::-1] if number >= 4 else turned


def _map(place: Place) -> Warp:
    centre = (SIDE - 1) / 2
    turn = np.vstack([cv2.getRotationMatrix2D((centre, centre), place.angle, 1.0), [0, 0, 1]])
    scale, unit = place.size / (_COARSE - 2 * place.margin), SIDE / _COARSE
    x, y = (place.x - place.margin * scale) * unit, (place.y - place.margin * scale) * unit
    move = np.array([[scale, 0, x], [0, scale, y], [0, 0, 1]])
    result: Warp = np.linalg.inv(move @ turn)
    return result


def _refine(outer: Picture, inner: Picture, warp: Warp, *, steps: int) -> tuple[Warp, float]:
    """The better of the map and of what ECC makes of it, and its score."""
    scale = _rescaling(len(outer))
    start = (scale @ warp @ np.linalg.inv(scale))[:2].astype(np.float32)
    best, score = start, _score(outer, inner, start)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-4)
    with suppress(cv2.error):  # it did not converge
        _, found = cv2.findTransformECC(outer, inner, start.copy(), cv2.MOTION_AFFINE, stop, None, 3)
        large, small = np.linalg.svd(found[:, :2], compute_uv=False)
        # ECC maximises the correlation of everything, also of what covers a part: it may end further off.
        if large < 1.6 and small > 0.6 and large / small < 1.25 and (better := _score(outer, inner, found)) > score:
            best, score = found, better
    return np.linalg.inv(scale) @ np.vstack([best, [0, 0, 1]]) @ scale, score


def _score(outer: Picture, inner: Picture, warp: NDArray[np.float32]) -> float:
    size, flags = outer.shape, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    covered = cv2.warpAffine(np.ones_like(inner), warp, size, flags=flags)
    return _agreement(outer, np.asarray(cv2.warpAffine(inner, warp, size, flags=flags)), np.asarray(covered))


def _rescaling(side: int) -> Warp:
    """Pixel centres of a picture of 128 pixels to those of the same picture with `side` pixels."""
    factor = side / SIDE
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])


def _agreement(a: Picture, b: Picture, covered: Picture | None = None, *, share: float = _SHARE) -> float:
    """The correlation that a `share` of the blocks stay below; 0 when too few are covered and not flat to tell."""
    mean_a, mean_b = _block_means(a), _block_means(b)
    variance_a, variance_b = _block_means(a * a) - mean_a**2, _block_means(b * b) - mean_b**2
    usable = (variance_a > 9) & (variance_b > 4)
    if covered is not None:
        usable &= _block_means(covered) > 0.999
    if usable.sum() < _FEWEST_BLOCKS:
        return 0.0
    covariance = (_block_means(a * b) - mean_a * mean_b)[usable]
    place = int(share * len(covariance))
    return float(np.partition(covariance / np.sqrt(variance_a[usable] * variance_b[usable]), place)[place])


def _block_means(image: Picture) -> Picture:
    """Means of the blocks of an eighth of a side, at every sixteenth."""
    block = len(image) // 8
    every = slice(block // 2, len(image) - block // 2, block // 2)
    return np.asarray(cv2.boxFilter(image, cv2.CV_32F, (block, block))[every, every])


def _blurred(image: NDArray[np.uint8], sigma: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma))


def _turn(image: Picture, angle: int) -> Picture:
    if angle == 0:
        return image
    centre = (len(image) - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), angle, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, image.shape, borderMode=cv2.BORDER_REPLICATE))


def _unit(rows: NDArray[Any]) -> Picture:
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", centred, centred))[:, None]
    return np.asarray(centred / np.maximum(length, 1e-6))
