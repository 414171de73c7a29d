"""BlazeFace: where the faces in a picture are.

Bazarevsky et al. 2019, https://arxiv.org/abs/1907.05047. The short-range model of MediaPipe looks at a square of 128
pixels and says for each of 896 anchors how sure it is of a face, and where: an offset of the centre from that of the
anchor's cell, a size, and six points of the face.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 128
"""Of the square that the model looks at, in pixels."""
LAYERS = ((16, 2), (8, 6))
"""(cells a side, anchors a cell) of the two layers, in the order of the model's output."""
SAME_FACE = 0.3
"""Boxes whose intersection over union is larger belong to one face (MediaPipe's value)."""
MARGIN = 0.25
"""What is put around a picture in which no face is found, on each side, as a share of its longer side."""

_LARGEST_LOGIT = 80.0  # exp of more does not fit into a float32

Boxes = NDArray[np.float32]
"""(n, 4) left, top, right, bottom."""


class Face(NamedTuple):
    """A box around a face, from the chin to the brows, in pixels of the picture; it may reach beyond the picture."""

    left: float
    top: float
    right: float
    bottom: float
    confidence: float
    """In (0, 1)."""
    points: tuple[tuple[float, float], ...] = ()
    """x and y of the eye, the other eye, the tip of the nose, the middle of the mouth, the ear and the other ear: first
    that on the left of an upright picture. They may lie beyond the picture."""

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


class FaceDetector:
    """Finds faces. One picture at a time, in one thread.

    Args:
        model: the content of the .tflite file.

    Raises:
        InputError: LiteRT is not installed. ModelError: it cannot load the model.
    """

    def __init__(self, model: bytes) -> None:
        from ssl_mask.data.prepare.weights import interpreter

        self._model = interpreter(model)
        self._input = self._model.get_input_details()[0]["index"]
        sizes = {int(output["shape"][-1]): output["index"] for output in self._model.get_output_details()}
        self._regressors, self._logits = sizes[16], sizes[1]

    def __call__(self, picture: NDArray[np.uint8], min_confidence: float) -> list[Face]:
        """The faces in a picture, the surest first.

        A face that fills the picture is often not found as it is. So where there is none, the picture is looked at
        again with a margin around it.

        Args:
            picture: (H, W, 3) uint8 RGB.
            min_confidence: in (0, 1).
        """
        return self._look(picture, 0.0, min_confidence) or self._look(picture, MARGIN, min_confidence)

    def _look(self, picture: NDArray[np.uint8], margin: float, min_confidence: float) -> list[Face]:
        square, scale, left, top = letterbox(picture, margin)
        self._model.set_tensor(self._input, (square.astype(np.float32) / 127.5 - 1)[None])
        self._model.invoke()
        regressors = self._read(self._regressors)
        boxes, scores = decode(regressors, self._read(self._logits))
        sure = scores >= min_confidence
        places, scores = merged(np.concatenate([boxes, points(regressors)], axis=1)[sure], scores[sure])
        pixels = (places.reshape(-1, 8, 2) * SIDE / scale - np.array([left, top], np.float32)).tolist()
        return [Face(first[0], first[1], last[0], last[1], score, tuple((x, y) for x, y in six))
                for (first, last, *six), score in zip(pixels, scores.tolist(), strict=True)]  # fmt: skip

    def _read(self, index: int) -> NDArray[np.float32]:
        found: Any = self._model.get_tensor(index)[0]
        return np.asarray(found, np.float32)


def letterbox(picture: NDArray[np.uint8], margin: float) -> tuple[NDArray[np.uint8], float, float, float]:
    """A picture in the middle of a black square of `SIDE` pixels, whole.

    Args:
        picture: (H, W, 3).
        margin: around it, on each side, as a share of its longer side.

    Returns:
        (SIDE, SIDE, 3); pixels of the square for one of the picture; and how far left of and above the picture the
        square begins, in pixels of the picture.
    """
    height, width = picture.shape[:2]
    scale = SIDE / (max(height, width) * (1 + 2 * margin))
    small = max(1, round(height * scale)), max(1, round(width * scale))
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    top, left = (SIDE - small[0]) // 2, (SIDE - small[1]) // 2
    resized = cv2.resize(picture, small[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    square[top : top + small[0], left : left + small[1]] = resized
    return square, scale, left / scale, top / scale


def anchors() -> NDArray[np.float32]:
    """(896, 2) x and y of the anchors' centres, in [0, 1] of the square: row by row, layer by layer."""
    found = []
    for cells, each in LAYERS:
        y, x = np.divmod(np.arange(cells * cells), cells)
        found.append(np.repeat((np.stack([x, y], axis=1) + 0.5) / cells, each, axis=0))
    return np.concatenate(found).astype(np.float32)


def decode(regressors: NDArray[np.float32], logits: NDArray[np.float32]) -> tuple[Boxes, NDArray[np.float32]]:
    """What the model says, as boxes and confidences.

    Args:
        regressors: (896, 16) offset of the centre, width and height in pixels of the square; then six points.
        logits: (896, 1).

    Returns:
        (896, 4) boxes in [0, 1] of the square, and (896,) confidences in (0, 1).
    """
    centre = regressors[:, :2] / SIDE + ANCHORS
    half = regressors[:, 2:4] / (2 * SIDE)
    scores = 1 / (1 + np.exp(-np.clip(logits[:, 0], -_LARGEST_LOGIT, _LARGEST_LOGIT)))
    return np.concatenate([centre - half, centre + half], axis=1), scores.astype(np.float32)


def points(regressors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(896, 16) as above -> (896, 12) x and y of the six points in [0, 1] of the square, which may be left."""
    found = regressors[:, 4:].reshape(-1, 6, 2) / SIDE + ANCHORS[:, None]
    return found.reshape(-1, 12).astype(np.float32)


def merged(boxes: Boxes, scores: NDArray[np.float32]) -> tuple[Boxes, NDArray[np.float32]]:
    """One box a face: the mean of the boxes that overlap its surest one, weighted by their confidence, which is also
    the confidence of the surest (MediaPipe's weighted non-maximum suppression).

    Args:
        boxes: (n, 4 or more); what follows the box is averaged in the same way.

    Returns:
        (faces, as many) boxes and (faces,) confidences, the surest first.
    """
    found: list[NDArray[np.float32]] = []
    sure: list[float] = []
    rest = np.argsort(-scores, kind="stable")
    while len(rest):
        same = overlap(boxes[rest[0], :4], boxes[rest, :4]) > SAME_FACE
        same[0] = True  # a box without an area overlaps nothing, not even itself
        found.append(np.average(boxes[rest[same]], axis=0, weights=scores[rest[same]]).astype(np.float32))
        sure.append(float(scores[rest[0]]))
        rest = rest[~same]
    return np.array(found, np.float32).reshape(-1, boxes.shape[1]), np.array(sure, np.float32)


def overlap(box: NDArray[np.float32], others: Boxes) -> NDArray[np.float32]:
    """(n,) intersection over union of a box with each of the others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(np.clip(others[:, 2:] - others[:, :2], 0, None), axis=1)
    union = areas + np.prod(np.clip(box[2:] - box[:2], 0, None)) - shared
    return np.asarray(shared / np.maximum(union, 1e-12), np.float32)


ANCHORS = anchors()
