"""What is not the person: MediaPipe's selfie segmentation, and what takes the background's place."""

from __future__ import annotations

import struct
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.prepare.weights import interpreter

Background = Literal["keep", "blur", "fill"]

SIDE = 256
"""Of the square that the model looks at, in pixels."""
BLUR = 1 / 16
"""Standard deviation of the blur, as a share of the picture's longer side: no contour stays."""
GREY = 128
"""What `fill` puts in the background's place."""
LOST = 0.5
"""Where the mean share of person inside of the face is smaller, the model has not found the person."""

# Of the pinned file (`weights.SELFIES`): where its number of operators and its result stand, how many operators come
# before the last layer, and the tensors that the layer takes.
_OPERATORS_AT, _OPERATORS = 216436, 244
_RESULT_AT, _FEATURES, _KERNEL, _BIAS = 227704, 245, 253, 281
_LARGEST_LOGIT = 80.0  # exp of more does not fit into a float32


class PersonFinder:
    """Says for each pixel how sure it is of a person. One picture at a time, in one thread.

    Args:
        model: the content of the .tflite file.

    Raises:
        InputError: LiteRT is not installed. ModelError: it cannot load the model.
    """

    def __init__(self, model: bytes) -> None:
        self._model = interpreter(without_last_layer(model), keep_all=True)
        self._input = self._model.get_input_details()[0]["index"]

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 RGB -> (H, W) in [0, 1], 1: a person."""
        height, width = picture.shape[:2]
        square = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA if height > SIDE else cv2.INTER_LINEAR)
        self._model.set_tensor(self._input, square.astype(np.float32)[None] / 255)
        self._model.invoke()
        features, kernel, bias = (
            np.asarray(self._model.get_tensor(i), np.float32) for i in (_FEATURES, _KERNEL, _BIAS)
        )
        found = last_layer(features[0], kernel[0], float(bias[0]))
        whole = np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        return whole.clip(0, 1)


def without_last_layer(model: bytes) -> bytes:
    """The model up to its last layer, which is an operator of MediaPipe's own that LiteRT does not have.

    Two numbers of the file are changed: how many operators there are, and which tensor is the result. The file is one
    that is pinned by its digest, so their places are known.
    """
    cut = bytearray(model)
    struct.pack_into("<I", cut, _OPERATORS_AT, _OPERATORS)
    struct.pack_into("<i", cut, _RESULT_AT, _FEATURES)
    return bytes(cut)


def last_layer(features: NDArray[np.float32], kernel: NDArray[np.float32], bias: float) -> NDArray[np.float32]:
    """Each cell becomes 2 x 2 pixels (a transposed convolution with stride 2), and each pixel a share in (0, 1).

    Args:
        features: (h, w, channels).
        kernel: (2, 2, channels).

    Returns:
        (2 h, 2 w).
    """
    height, width = features.shape[:2]
    cells = np.einsum("hwc,yxc->hywx", features, kernel) + bias  # y, x: the pixel inside of the cell
    logits = np.clip(cells.reshape(2 * height, 2 * width), -_LARGEST_LOGIT, _LARGEST_LOGIT)
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def with_background(
    picture: NDArray[np.uint8], person: NDArray[np.float32], background: Background
) -> NDArray[np.uint8]:
    """The person as before, the rest of the picture blurred or filled with grey; in between a mixture.

    Args:
        picture: (H, W, 3) uint8.
        person: (H, W) in [0, 1].
    """
    if background == "keep":
        return picture
    rest = np.full(picture.shape, GREY, np.float32)
    if background == "blur":
        rest = _blurred(picture, 1 - person)
    share = person[:, :, None]
    return np.rint(picture * share + rest * (1 - share)).astype(np.uint8)


def _blurred(picture: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """A blur of the background alone: without the weights, a halo of the person would stand around them."""
    sigma = BLUR * max(picture.shape[:2])
    weights = np.maximum(weights, 1e-3)[:, :, None]
    both = np.concatenate([picture * weights, weights], axis=2).astype(np.float32)
    soft = cv2.GaussianBlur(both, (0, 0), sigma)
    return np.asarray(soft[:, :, :3] / soft[:, :, 3:], np.float32)
