"""What a network says of a pool of images, on one or several processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ssl_mask import devices
from ssl_mask.data.batches import image_batches
from ssl_mask.data.features import FeatureRows
from ssl_mask.data.image_source import ChosenImages, DecodedImages, ImageSource
from ssl_mask.evaluation.scores import HeadLogits

Progress = Callable[[int, int], None]


def reading_workers(source: ImageSource, workers: int | str, accelerator: Accelerator) -> int:
    """Processes that read what is predicted: none for features, or where nothing is decoded on a CPU. It is quicker."""
    while isinstance(source, ChosenImages):
        source = source.source
    on_gpu = accelerator.device.type == "cuda" and not isinstance(source, FeatureRows)
    useful = on_gpu or isinstance(source, DecodedImages)
    return devices.settle_workers(workers, accelerator) if useful else 0


def predict_logits(
    model: nn.Module,
    source: ImageSource,
    *,
    accelerator: Accelerator,
    batch_size: int,
    workers: int,
    flip: bool = False,
    on_progress: Progress | None = None,
) -> list[HeadLogits]:
    """Margin-free logits of every image, in order: one dict for the plain view and one for the mirrored if `flip`.

    Each process takes every k-th image; all processes return the same full arrays, without the samples that an uneven
    split would duplicate.

    Args:
        source: at least one image.
        on_progress: told (done, total) images, of all processes together.
    """
    model.eval()
    ranks, rank = accelerator.num_processes, accelerator.process_index
    share = -(-len(source) // ranks)
    rows = [min(i * ranks + rank, len(source) - 1) for i in range(share)]
    views: list[list[dict[str, Tensor]]] = [[], []] if flip else [[]]
    done, total = 0, len(source)
    pin = accelerator.device.type == "cuda"
    batches = image_batches(source, rows, batch_size=batch_size, workers=workers, pin=pin)
    with torch.inference_mode(), accelerator.autocast(), closing(batches):
        for images in batches:
            moved = images.to(accelerator.device, non_blocking=True)
            views[0].append(model(moved))
            if flip:
                views[1].append(model(moved.flip(2)))
            done = min(done + len(images) * ranks, total)
            if on_progress is not None:
                on_progress(done, total)
    return [_gather(view, accelerator, total) for view in views]


def _gather(batches: list[dict[str, Tensor]], accelerator: Accelerator, count: int) -> HeadLogits:
    gathered: HeadLogits = {}
    for name in batches[0]:
        own = torch.cat([b[name].float() for b in batches])
        every = accelerator.gather(own).reshape(accelerator.num_processes, *own.shape)  # (ranks, share, classes)
        gathered[name] = every.transpose(0, 1).flatten(0, 1)[:count].cpu().numpy()
    return gathered
