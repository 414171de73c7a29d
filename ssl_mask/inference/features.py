"""What a frozen network sees in images, computed once and kept in the cache folder: the pooled activations of its
backbone, or its embeddings.

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

from ssl_mask.config import DataConfig, ModelConfig, RunConfig
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
Layer = Literal["pooled", "embedding"]
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
    layer: Layer = "pooled"

    @property
    def width(self) -> int:
        return self.model.pooled_size if self.layer == "pooled" else self.model.embedding_size

    def features(self, images: ImageSet, view: View = "plain") -> Values:
        """(n, d) features of every image, or of its mirror image, in order. Raises StorageError.

        Of several processes each computes what it does not find; let one go first.
        """
        folder = None if self.folder is None else self.folder.with_name(f"{self.folder.name}-{view}")
        digests = [row.digest for row in images.manifest.rows]
        known = {} if folder is None else store.recall(folder, digests)
        missing = images.at(list({d: i for i, d in enumerate(digests) if d not in known}.values()))
        what = "Features" if self.layer == "pooled" else "Embeddings"
        with self.compute.console.progress(f"{what} of {view} images", len(missing)) as advance:
            for first in range(0, len(missing), PER_SEGMENT):
                part = missing.at(range(first, min(first + PER_SEGMENT, len(missing))))
                values = self._compute(part, view, lambda done, first=first: advance(first + done))  # type: ignore[misc]
                computed = dict(zip((row.digest for row in part.manifest.rows), values, strict=True))
                if folder is not None:
                    store.add(folder, computed)
                known |= computed
        values = np.empty((len(digests), self.width), np.float32)
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
        look = self.model.pool if self.layer == "pooled" else self.model.embed
        values: list[Values] = []
        with closing(batches), torch.autocast(device.type, enabled=False):
            for batch in batches:
                seen = batch if view == "plain" else batch.flip(2)
                values.append(look(seen.to(device)).cpu().numpy())
                on_progress(min(len(values) * BATCH, count))
        return np.concatenate(values)[:count]


def frozen_backbone(model: Classifier, config: RunConfig, size: int, images: int, compute: Compute) -> FrozenBackbone:
    """The backbone of a model that is on its device, with its weights of now.

    Args:
        size: width and height of the images in pixels.
        images: about so many are to be looked at; on a disk that is nearly full they are not kept.
    """
    cache = cache_folder(config.data, images, size)
    folder = cache and _folder(cache, model, "pooled", config.model, config.data, size, compute)
    return FrozenBackbone(model, compute, folder)


def frozen_embedding(
    model: Classifier, settings: ModelConfig, reading: DataConfig, size: int, images: int, compute: Compute
) -> FrozenBackbone:
    """The same up to the embedding: backbone and neck. Arguments as `frozen_backbone`."""
    cache = cache_folder(reading, images, size)
    folder = cache and _folder(cache, model, "embedding", settings, reading, size, compute)
    return FrozenBackbone(model, compute, folder, "embedding")


def _folder(
    cache: Path, model: Classifier, layer: Layer, settings: ModelConfig, reading: DataConfig, size: int,
    compute: Compute,
) -> Path:  # fmt: skip
    """Named after all that the bits depend on."""
    parts = ("backbone.", "gem.", "mean", "std", *(("neck.",) if layer == "embedding" else ()))
    weights = {name: w for name, w in model.state_dict().items() if name.startswith(parts)}
    facts = [
        tensors_digest(merged(weights)), settings.backbone, settings.pooling, size, reading.resize,
        reading.depth, BATCH, torch.__version__, timm.__version__, _device(compute.accelerator.device),
        *([settings.neck] if layer == "embedding" else []),
    ]  # fmt: skip
    return cache / "features" / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _device(device: torch.device) -> str:
    """What rounds: another processor may do it otherwise."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"
