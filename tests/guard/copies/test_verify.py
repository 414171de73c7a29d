"""The verifier on pictures whose relation is known, and its score against a slow loop."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from textures import grey

from ssl_mask.guard.copies import verification
from ssl_mask.guard.copies.coarse import coarse, find
from ssl_mask.guard.copies.pdq import variant
from ssl_mask.guard.copies.verification import View, similarity, view

Picture = NDArray[np.uint8]


def shrunk(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA), np.uint8)


def cut(top: float, left: float, side: float) -> Callable[[Picture], Picture]:
    def do(picture: Picture) -> Picture:
        n = len(picture)
        return picture[int(top * n) : int((top + side) * n), int(left * n) : int((left + side) * n)]

    return do


def turned(degrees: float) -> Callable[[Picture], Picture]:
    def do(picture: Picture) -> Picture:
        centre = ((len(picture) - 1) / 2,) * 2
        matrix = cv2.getRotationMatrix2D(centre, degrees, 1.0)
        return np.asarray(cv2.warpAffine(picture, matrix, picture.shape[::-1]), np.uint8)

    return do


def logo(picture: Picture) -> Picture:
    covered = picture.copy()
    covered[10:100, 30:110] = 250
    return covered


ALTERED: dict[str, Callable[[Picture], Picture]] = {
    "same": lambda p: p,
    "cut to 80 %": cut(0.2, 0.05, 0.8),
    "cut to 90 % and mirrored": lambda p: cut(0.0, 0.1, 0.9)(p)[:, ::-1],
    "turned by 5 degrees": turned(5),
    "turned by -5 degrees, mirrored": lambda p: turned(-5)(p)[:, ::-1],
    "half the contrast": lambda p: (p // 2 + 60).astype(np.uint8),
    "squashed": lambda p: np.asarray(cv2.resize(p, (200, 90)), np.uint8),
    "logo": logo,
    "border": lambda p: np.pad(p, 15, constant_values=255),
    "negative": lambda p: 255 - p,
    "negative, cut to 90 % and mirrored": lambda p: 255 - cut(0.05, 0.1, 0.9)(p)[:, ::-1],
    "blurred": lambda p: np.asarray(cv2.GaussianBlur(p, (0, 0), 2), np.uint8),
    "blurred a lot": lambda p: np.asarray(cv2.GaussianBlur(p, (0, 0), 0.0375 * len(p)), np.uint8),
    "blurred a lot and mirrored": lambda p: np.asarray(cv2.GaussianBlur(p, (0, 0), 0.0375 * len(p)), np.uint8)[:, ::-1],
}


@pytest.mark.parametrize("name", ALTERED)
@pytest.mark.parametrize("seed", [0, 1])
def test_altered_copies_score_high_from_both_sides(name: str, seed: int) -> None:
    original = grey(seed, 256, 256)
    a, b = view(shrunk(original)), view(shrunk(ALTERED[name](original)))
    assert similarity(a, b) > 0.97
    assert similarity(b, a) == pytest.approx(similarity(a, b), abs=1e-3)


@pytest.mark.parametrize("number", range(8))
def test_quarter_turns_are_found_when_they_are_asked_for(number: int) -> None:
    original = grey(2)
    a, b = view(original), view(variant(original, number))
    assert similarity(a, b, (0, 4)) > 0.97 if number in (0, 4) else similarity(a, b, (0, 4)) < 0.6
    # The second is `variant(first, number)`: so the first is the second turned back.
    assert similarity(b, a, [number]) > 0.99


@pytest.mark.parametrize("degrees", [-6, -3, 3, 6])
def test_the_search_finds_the_angle_also_in_a_mirror(degrees: int) -> None:
    original = grey(4, 256, 256)
    copy = turned(degrees)(original)
    upright, mirrored = (find(coarse(shrunk(original)), coarse(shrunk(p)))[0] for p in (copy, copy[:, ::-1]))
    assert (upright.number, upright.angle) == (0, -degrees)
    assert (mirrored.number, mirrored.angle) == (4, -degrees)


def test_different_pictures_score_low() -> None:
    views = [view(grey(seed)) for seed in range(12)]
    scores = [similarity(views[i], views[j]) for i in range(12) for j in range(i)]
    assert max(scores) < 0.7


def test_flat_pictures_and_few_blocks_score_nothing() -> None:
    flat, spot = np.full((128, 128), 77, np.uint8), np.full((128, 128), 77, np.uint8)
    spot[22:28, 22:28] = 200
    for first, second in ((flat, flat), (flat, grey(0)), (spot, spot)):
        assert similarity(view(first), view(second)) <= 0


def test_the_same_mask_on_different_faces_is_no_copy_but_a_face_with_another_mask_is_one() -> None:
    """A drawn mask covers 45 % of each picture; the search lays the masks upon each other."""
    faces = [grey(seed, 256, 256) for seed in (30, 31)]
    masks = [grey(seed, 256, 256)[:115] for seed in (32, 33)]

    def worn(face: int, mask: int, at: int = 141) -> View:
        picture = faces[face].copy()
        picture[at : at + 115] = masks[mask]
        return view(shrunk(picture))

    assert similarity(worn(0, 0), worn(1, 0, at=125)) < 0.8
    assert similarity(worn(0, 0), worn(0, 1)) > 0.94


def slow_score(a: NDArray[np.float32], b: NDArray[np.float32], share: float = 0.5) -> float:
    """Quantile over blocks of 16 x 16 pixels at every eighth, without any search."""
    correlations = []
    for top in range(0, 112, 8):
        for left in range(0, 112, 8):
            x, y = (v[top : top + 16, left : left + 16].ravel().astype(np.float64) for v in (a, b))
            if x.var() > 9 and y.var() > 4:
                correlations.append(np.corrcoef(x, y)[0, 1])
    return sorted(correlations)[int(share * len(correlations))]


def slow_details(fine: NDArray[np.float32]) -> float:
    inside = fine[1:-1, 1:-1]
    laplacian = fine[:-2, 1:-1] + fine[2:, 1:-1] + fine[1:-1, :-2] + fine[1:-1, 2:] - 4 * inside
    return float(np.sqrt((laplacian[1:-1, 1:-1] ** 2).mean()) / fine.std())


def slowly_blurred(sharp: View, blurred: View) -> float:
    """The score of the first blurred, in steps of a quarter, until it has no more details than the second."""
    for step in range(12):
        softer = cv2.GaussianBlur(sharp.fine, (0, 0), 0.7 * 1.25**step)
        if slow_details(softer) <= slow_details(blurred.fine):
            break
    return slow_score(softer, blurred.fine, 0.25)


def test_a_blurred_copy_is_compared_at_its_own_sharpness() -> None:
    for seed in range(3):
        original = grey(seed)
        copy = np.asarray(cv2.GaussianBlur(original, (0, 0), 6), np.uint8)
        a, b = view(original), view(copy)
        assert slow_score(a.fine, b.fine) < 0.9
        assert similarity(a, b) == pytest.approx(slowly_blurred(a, b), abs=2e-3)
        assert similarity(b, a) == pytest.approx(similarity(a, b), abs=1e-6)
        assert similarity(view(grey(seed + 10)), b) < 0.7


def test_the_score_of_pictures_that_lie_upon_each_other_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    for seed, noise in ((0, 30), (1, 45)):
        original = grey(seed)
        noisy = np.clip(original + rng.normal(0, noise, original.shape), 0, 255).astype(np.uint8)
        a, b = view(original), view(noisy)
        assert slow_score(a.fine, b.fine) < 0.995
        expected = slow_score(a.fine, b.fine)
        if slow_details(b.fine) > 2 * slow_details(a.fine):  # noise is sharp
            expected = max(expected, slowly_blurred(b, a))
        assert similarity(a, b) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", ALTERED)
def test_a_copy_has_the_score_that_it_has_where_all_are_refined(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = grey(6, 256, 256)
    pictures = [shrunk(original), shrunk(ALTERED[name](original))]
    score = similarity(*map(view, pictures))
    monkeypatch.setattr(verification, "_UNLIKE", -9.0)
    assert score == similarity(*map(view, pictures))


def test_cropped_pictures_are_found_that_lie_further_in_than_the_search_looks() -> None:
    found = 0
    for seed in range(20):
        original = grey(seed, 256, 256)
        found += similarity(view(shrunk(original)), view(shrunk(cut(0.15, 0.15, 0.7)(original)))) > 0.97
    assert found >= 14  # 1 where pairs have to be as alike as 1.2 before ECC


def test_pictures_that_are_unlike_where_the_search_has_put_them_are_not_refined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the score of the others, those for review included, does not come from that."""
    views, refined = [view(grey(seed)) for seed in range(8)], []
    refine = verification._refine
    monkeypatch.setattr(verification, "_refine", lambda *a, **k: refined.append(1) or refine(*a, **k))
    at_first = [similarity(views[i], views[j]) for i in range(8) for j in range(i)]
    assert refined == []
    monkeypatch.setattr(verification, "_UNLIKE", -9.0)
    scores = [similarity(views[i], views[j]) for i in range(8) for j in range(i)]
    assert len(refined) >= len(scores)
    assert all(first <= score < 0.8 for first, score in zip(at_first, scores, strict=True))
