"""What BlazeFace's numbers mean: anchors, boxes and faces against MediaPipe's recipe, written out in plain loops."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from faces_there import needs_faces, portrait
from numpy.typing import NDArray

from ssl_mask.data.prepare import weights
from ssl_mask.data.prepare.blazeface import ANCHORS, SIDE, Face, FaceDetector, decode, letterbox, merged


def slow_anchors() -> list[tuple[float, float]]:
    """ssd_anchors_calculator.cc with the strides 8, 16, 16, 16: layers of one stride share their cells."""
    found, strides, layer = [], (8, 16, 16, 16), 0
    while layer < len(strides):
        last, repeats = layer, 0
        while last < len(strides) and strides[last] == strides[layer]:
            last, repeats = last + 1, repeats + 2
        cells = SIDE // strides[layer]
        for y in range(cells):
            for x in range(cells):
                found += [((x + 0.5) / cells, (y + 0.5) / cells)] * repeats
        layer = last
    return found


def slow_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slow_faces(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> list[tuple[list[float], float]]:
    """non_max_suppression_calculator.cc, weighted."""
    rest, found = sorted(range(len(scores)), key=lambda i: -scores[i]), []
    while rest:
        best = rest[0]
        near = [i for i in rest if slow_iou(boxes[best], boxes[i]) > 0.3]
        total = sum(scores[i] for i in near)
        found.append(([sum(boxes[i][k] * scores[i] for i in near) / total for k in range(4)], scores[best]))
        rest = [i for i in rest if i not in near]
    return found


def test_anchors_are_those_of_the_recipe() -> None:
    assert np.allclose(ANCHORS, slow_anchors(), atol=1e-7) and ANCHORS.shape == (896, 2)


def test_decoding_is_that_of_the_recipe() -> None:
    rng = np.random.default_rng(0)
    regressors = rng.normal(0, 30, (896, 16)).astype(np.float32)
    logits = np.concatenate([rng.normal(0, 3, (894, 1)), [[-500.0], [500.0]]]).astype(np.float32)
    boxes, scores = decode(regressors, logits)
    for n in (0, 1, 511, 512, 700, 894, 895):
        x, y = slow_anchors()[n]
        cx, cy, w, h = (
            x + regressors[n, 0] / 128,
            y + regressors[n, 1] / 128,
            regressors[n, 2] / 128,
            regressors[n, 3] / 128,
        )
        assert boxes[n] == pytest.approx([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], abs=1e-5)
        assert scores[n] == pytest.approx(1 / (1 + math.exp(-max(-80.0, min(80.0, float(logits[n, 0]))))), abs=1e-6)


def test_boxes_are_merged_as_in_the_recipe() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        corner = rng.uniform(0, 1, (40, 2)).astype(np.float32)
        boxes = np.concatenate([corner, corner + rng.uniform(0.05, 0.6, (40, 2)).astype(np.float32)], axis=1)
        scores = rng.permutation(np.linspace(0.5, 1, 40)).astype(np.float32)
        found, sure = merged(boxes, scores)
        expected = slow_faces(boxes, scores)
        assert len(found) == len(expected) > 1
        assert np.allclose(found, [box for box, _ in expected], atol=1e-5)
        assert np.allclose(sure, [score for _, score in expected])


def test_nothing_and_boxes_without_an_area_are_no_trouble() -> None:
    found, sure = merged(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    assert found.shape == (0, 4) and sure.shape == (0,)
    found, _ = merged(np.array([[0.5, 0.5, 0.4, 0.4], [0, 0, 1, 1]], np.float32), np.array([0.9, 0.8], np.float32))
    assert len(found) == 2


@pytest.mark.parametrize(("height", "width"), [(100, 300), (300, 100), (64, 64), (1, 500)])
@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_the_square_maps_back_to_the_picture(height: int, width: int, margin: float) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[height // 2 :, width // 2 :] = 255
    square, scale, left, top = letterbox(picture, margin)
    assert square.shape == (SIDE, SIDE, 3)
    ys, xs = np.nonzero(square[:, :, 0] > 127)
    found = [
        xs.min() / scale - left,
        ys.min() / scale - top,
        (xs.max() + 1) / scale - left,
        (ys.max() + 1) / scale - top,
    ]
    assert found == pytest.approx([width // 2, height // 2, width, height], abs=1.5 / scale)


@needs_faces
def test_a_face_is_where_it_was_put() -> None:
    find = FaceDetector(weights.packaged(weights.FACES, "", ""))
    alone = portrait()
    (face,) = find(alone, 0.5)
    frame = np.full((400, 600, 3), 90, np.uint8)
    frame[150:310, 300:460] = alone
    (moved,) = find(frame, 0.5)
    assert moved[:4] == pytest.approx([face.left + 300, face.top + 150, face.right + 300, face.bottom + 150], abs=16)
    assert find(np.full((100, 100, 3), 90, np.uint8), 0.5) == []


@needs_faces
def test_a_face_that_fills_the_picture_is_found_with_a_margin() -> None:
    find = FaceDetector(weights.packaged(weights.FACES, "", ""))
    tight = portrait(tight=True)
    assert find._look(tight, 0.0, 0.85) == [] and len(find(tight, 0.85)) == 1


@needs_faces
def test_both_packages_have_the_same_weights() -> None:
    there = []
    for place in weights.FACES:
        try:
            there.append(FaceDetector(weights.packaged((place,), "", "")))
        except Exception:
            pytest.skip("only one of the packages is installed")
    pictures = [portrait(), cv2.flip(portrait(), 1)]
    first, second = ([find(p, 0.5) for p in pictures] for find in there)
    assert first == second and isinstance(first[0][0], Face)
