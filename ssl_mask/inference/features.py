"""Features of a frozen backbone: pooled activations of every image, computed once and kept in the cache folder.

The bits are the same whether they come from the cache or not: all forward passes are float32 batches of one size (some
kernels round otherwise in another size), and all that the bits depend on is part of the folder's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ssl_mask.config import RunConfig
from ssl_mask.data import features as store
from ssl_mask.data.batches import image_batches
from ssl_mask.data.features import Values
from ssl_mask.data.image_set import ImageSet, cache_folder
from ssl_mask.inference.logits import reading_workers
from ssl_mask.inference.predictor import Compute
from ssl_mask.models.classifier import Classifier
from ssl_mask.models.lean_timm import timm
from ssl_mask.models.lora import merged
from ssl_mask.runs.seal import tensors_digest

View = Literal["plain", "mirrored"]
BATCH = 32
PER_SEGMENT = 1024
"""Images between two writes: what a kill can lose."""


@dataclass(frozen=True)
class FrozenBackbone:
    """A network as it is now; its weights must not change while this is used."""

    model: Classifier
    compute: Compute
    folder: Path | None
    """Where features are kept; None: nowhere."""

    def features(self, images: ImageSet, view: View = "plain") -> Values:
        """(n, d) pooled features of every image, or of its mirror image, in order. Raises StorageError.

        Of several processes each computes what it does not find; let one go first.
        """
        folder = None if self.folder is None else self.folder.with_name(f"{self.folder.name}-{view}")
        digests = [row.digest for row in images.manifest.rows]
        known = {} if folder is None else store.recall(folder, digests)
        missing = images.at(list({d: i for i, d in enumerate(digests) if d not in known}.values()))
        with self.compute.console.progress(f"Features of {view} images", len(missing)) as advance:
            for first in range(0, len(missing), PER_SEGMENT):
                part = missing.at(range(first, min(first + PER_SEGMENT, len(missing))))
                values = self._compute(part, view, lambda done, first=first: advance(first + done))  # type: ignore[misc]
                computed = dict(zip((row.digest for row in part.manifest.rows), values, strict=True))
                if folder is not None:
                    store.add(folder, computed)
                known |= computed
        values = np.empty((len(digests), self.model.pooled_size), np.float32)
        for row, digest in enumerate(digests):
            values[row] = known[digest]
        return values

    @torch.inference_mode()
    def _compute(self, images: ImageSet, view: View, on_progress: Callable[[int], None]) -> Values:
        """(n, d) features of these images, at least one."""
        device, count = self.compute.accelerator.device, len(images)
        rows = [min(i, count - 1) for i in range(-(-count // BATCH) * BATCH)]
        workers = reading_workers(images.images, self.compute.workers, self.compute.accelerator)
        batches = image_batches(images.images, rows, batch_size=BATCH, workers=workers)
        self.model.eval()
        values: list[Values] = []
        with closing(batches), torch.autocast(device.type, enabled=False):
            for batch in batches:
                seen = batch if view == "plain" else batch.flip(2)
                values.append(self.model.pool(seen.to(device)).cpu().numpy())
                on_progress(min(len(values) * BATCH, count))
        return np.concatenate(values)[:count]


def frozen_backbone(model: Classifier, config: RunConfig, size: int, images: int, compute: Compute) -> FrozenBackbone:
    """The backbone of a model that is on its device, with its weights of now.

    Args:
        size: width and height of the images in pixels.
        images: about so many are to be looked at; on a disk that is nearly full they are not kept.
    """
    cache = cache_folder(config.data, images, size)
    if cache is None:
        return FrozenBackbone(model, compute, None)
    parts = ("backbone.", "gem.", "mean", "std")
    weights = {name: w for name, w in model.state_dict().items() if name.startswith(parts)}
    facts = [
        tensors_digest(merged(weights)), config.model.backbone, config.model.pooling, size, config.data.resize,
        config.data.depth, BATCH, torch.__version__, timm.__version__, _device(compute.accelerator.device),
    ]  # fmt: skip
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    return FrozenBackbone(model, compute, cache / "features" / name)


def _device(device: torch.device) -> str:
    """What rounds: another processor may do it otherwise."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"
