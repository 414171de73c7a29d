"""Sketches find copies against a slow reference, and hold nothing but digests."""

from __future__ import annotations

from hashlib import blake2b

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.stats import rankdata
from textures import grey

from ssl_mask.guard.copies.pdq import variant
from ssl_mask.guard.copies.sketches import BYTES, SAMPLES, SIGNS, alike, samples_of

Thumb = NDArray[np.uint8]


def reference(thumb: Thumb) -> list[bytes]:
    """The digests of a picture, by scipy and one sign at a time."""
    small = cv2.resize(thumb, (64, 64), interpolation=cv2.INTER_AREA)
    spectrum = dctn(rankdata(small).reshape(64, 64))[:16, :16].ravel()
    found = []
    for sample in range(SAMPLES):
        order = sorted(range(1, 256), key=lambda place: blake2b(f"sample {sample} place {place}".encode()).digest())
        bits = "".join("1" if spectrum[place] > 0 else "0" for place in order[:SIGNS])
        packed = int(bits, 2).to_bytes(SIGNS // 8, "big")
        found.append(blake2b(sample.to_bytes(2, "big") + packed, digest_size=BYTES).digest())
    return found


def test_samples_are_those_of_the_reference() -> None:
    thumbs = np.stack([grey(seed) for seed in range(3)])
    for samples, thumb in zip(samples_of(thumbs), thumbs, strict=True):
        equal = [bytes(a) == b for a, b in zip(samples, reference(thumb), strict=True)]
        assert np.mean(equal) > 0.9  # a sign of a coefficient that is nearly 0 may differ


def jpeg(thumb: Thumb, quality: int) -> Thumb:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", thumb, [1, quality])[1], cv2.IMREAD_GRAYSCALE), np.uint8)


def gamma(thumb: Thumb, power: float) -> Thumb:
    return np.round(255 * (thumb / 255) ** power).astype(np.uint8)


def test_copies_are_found_and_others_are_not() -> None:
    seen = np.stack([grey(seed) for seed in range(40)])
    copies = [variant(seen[number], number) for number in range(8)]
    copies += [variant(255 - seen[8 + number], number) for number in range(8)]
    copies += [jpeg(seen[16], 50), gamma(seen[17], 0.6), gamma(seen[18], 1.6)]
    copies += [cv2.resize(cv2.resize(seen[19], (64, 64)), (128, 128)), cv2.GaussianBlur(seen[20], (0, 0), 1.0)]
    others = [grey(seed) for seed in range(100, 130)]
    found = alike(np.stack([*copies, *others]), samples_of(seen))
    assert sorted(found) == [(number, number) for number in range(21)]
    assert min(found.values()) >= 1 / SAMPLES and max(found.values()) <= 1
    assert all(found[number, number] > 0.5 for number in range(16))


def test_processes_do_not_change_what_is_found() -> None:
    seen = np.stack([grey(seed) for seed in range(6)])
    asked = np.stack([jpeg(seen[4], 60), seen[2], grey(50)])
    assert alike(asked, samples_of(seen), processes=2) == alike(asked, samples_of(seen))


def test_flat_pictures_are_like_no_other() -> None:
    flat = np.stack([np.full((128, 128), 200, np.uint8), np.full((128, 128), 90, np.uint8)])
    flat[1, 5, 5] = 91
    samples = samples_of(np.concatenate([flat, grey(1)[None]]))
    assert not samples[:2].any() and samples[2].any()
    assert list(alike(np.concatenate([flat, grey(1)[None]]), samples)) == [(2, 2)]


@pytest.mark.parametrize("counts", [(0, 3), (3, 0), (0, 0)])
def test_nothing_is_like_nothing(counts: tuple[int, int]) -> None:
    asked, seen = (np.zeros((n, 128, 128), np.uint8) + grey(1) for n in counts)
    assert alike(asked, samples_of(seen)) == {}


def test_a_sample_that_differs_in_one_sign_tells_nothing_of_the_others() -> None:
    """Else the stored bits would be signs, from which a picture can be made."""
    seen = grey(3)
    near = np.clip(seen.astype(int) + np.random.default_rng(0).normal(0, 6, seen.shape), 0, 255).astype(np.uint8)
    one, other = samples_of(np.stack([seen, near]))
    differ = (one != other).any(axis=1)
    assert 0.1 < differ.mean() < 0.95
    bits = np.unpackbits(one[differ] ^ other[differ])
    assert bits.mean() == pytest.approx(0.5, abs=0.06)
