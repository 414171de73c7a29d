"""Logits of a pool of images, on one or several processes, and the scores of a validation set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from ssl_mask.data.batches import image_batches
from ssl_mask.data.cache import ImageSource
from ssl_mask.errors import TrainingError
from ssl_mask.metrics import accuracy, macro_f1
from ssl_mask.models.joint import predicted_probs
from ssl_mask.selection.calibration import expected_calibration_error, fit_temperature

HeadLogits = dict[str, NDArray[np.float32]]


class Scores(NamedTuple):
    macro_f1: float
    accuracy: float
    heads: dict[str, float]
    """Accuracy of each head."""
    nll: float
    """Mean −log p of the true joint class, calibrated."""
    ece: float
    """Expected calibration error of the joint confidence, calibrated."""
    ece_raw: float
    """The same at temperature 1."""
    temperatures: dict[str, float]


def predict_logits(
    model: nn.Module,
    source: ImageSource,
    *,
    accelerator: Accelerator,
    batch_size: int,
    workers: int,
    flip: bool = False,
    on_images: Callable[[int], None] | None = None,
) -> list[HeadLogits]:
    """Margin-free logits of every image, in order: one dict for the plain view and one for the mirrored if `flip`.

    Each process takes every k-th image; all processes return the same full arrays, without the samples that an uneven
    split would duplicate.

    Args:
        source: at least one image.
        on_images: told how many more images are done (all processes together).
    """
    ranks, rank = accelerator.num_processes, accelerator.process_index
    share = -(-len(source) // ranks)
    rows = [min(i * ranks + rank, len(source) - 1) for i in range(share)]
    model.eval()
    views: list[list[dict[str, Tensor]]] = [[], []] if flip else [[]]
    pin = accelerator.device.type == "cuda"
    batches = image_batches(source, rows, batch_size=batch_size, workers=workers, pin=pin)
    with torch.inference_mode(), accelerator.autocast(), closing(batches):
        for images in batches:
            moved = images.to(accelerator.device, non_blocking=True)
            views[0].append(model(moved))
            if flip:
                views[1].append(model(moved.flip(2)))
            if on_images is not None:
                on_images(len(images) * ranks)
    return [_gather(view, accelerator, len(source)) for view in views]


def _gather(batches: list[dict[str, Tensor]], accelerator: Accelerator, count: int) -> HeadLogits:
    gathered: HeadLogits = {}
    for name in batches[0]:
        own = torch.cat([b[name].float() for b in batches])
        every = accelerator.gather(own).reshape(accelerator.num_processes, *own.shape)  # (ranks, share, classes)
        gathered[name] = every.transpose(0, 1).flatten(0, 1)[:count].cpu().numpy()
    return gathered


def mean_probs(views: Sequence[HeadLogits], temperatures: Mapping[str, float]) -> NDArray[np.float32]:
    """(n, joint classes) calibrated probabilities, averaged over views. Probabilities, not logits, are averaged."""
    total = sum(predicted_probs({k: torch.from_numpy(z) for k, z in v.items()}, temperatures) for v in views)
    return (total / len(views)).numpy()  # type: ignore[union-attr]


def score(logits: HeadLogits, head_labels: NDArray[np.int64], joint: NDArray[np.int64], classes: int) -> Scores:
    """Scores of one view's logits against true labels, with a temperature fitted a head.

    Args:
        head_labels: (n, heads).
        joint: (n,) true joint class.
        classes: number of joint classes; macro-F1 is over all of them.

    Raises:
        TrainingError: logits that are not finite.
    """
    if not all(np.isfinite(z).all() for z in logits.values()):
        raise TrainingError(
            "The validation logits are not finite: training has diverged.",
            hint="Lower optim.lr, or set optim.clip_norm=1. The last good state is kept.",
        )
    temperatures = {name: fit_temperature(z, head_labels[:, i]) for i, (name, z) in enumerate(logits.items())}
    probs, raw = mean_probs([logits], temperatures), mean_probs([logits], {})
    predicted: NDArray[Any] = probs.argmax(axis=1)
    return Scores(
        macro_f1=macro_f1(joint, predicted, classes),
        accuracy=accuracy(joint, predicted),
        heads={n: accuracy(head_labels[:, i], z.argmax(axis=1)) for i, (n, z) in enumerate(logits.items())},
        nll=float(-np.log(np.maximum(probs[np.arange(len(joint)), joint], 1e-12)).mean()),
        ece=expected_calibration_error(probs, joint),
        ece_raw=expected_calibration_error(raw, joint),
        temperatures=temperatures,
    )
