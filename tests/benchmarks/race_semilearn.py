"""semilearn's side of a race: `AlgorithmBase.train` with its own loop, data set class, sampler, augmentation and hooks.

Only evaluation and checkpoints are left out, which would be on its clock. It imports semilearn: run it in the
environment that `uda_cost.py` describes.
"""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import torch
from race import Curve, Photos, Race, accuracy
from resumable import Entry
from torch import Tensor, nn
from uda_cost import make_semilearn


class TheirKind(nn.Module):
    """Our network with semilearn's inputs (normalised, in PyTorch's usual memory layout) and outputs."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.net, self.head = model.backbone.to(memory_format=torch.contiguous_format), model.heads["label"]

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        features = self.net.forward_head(self.net.forward_features(pixels), pre_logits=True)
        return {"logits": self.head(features), "feat": features}


def their_curve(race: Race, photos: Photos, seed: int, settings: Entry) -> list[Any]:
    np.random.seed(seed)
    random.seed(seed)
    own = {k: v for k, v in settings.items() if k not in {"peer", "steps", "batch", "points"}}
    algorithm = make_semilearn(
        lambda **_: TheirKind(race.model(seed)), steps=settings["steps"], seed=seed, num_classes=race.classes,
        batch_size=settings["batch"], **own,
    )  # fmt: skip
    from semilearn.core.hooks import Hook

    weak, strong, plain = transforms(race, photos.pool.shape[1])
    algorithm.loader_dict = loaders(race, photos, algorithm.args, settings["steps"], weak, strong)
    for name in ("EvaluationHook", "CheckpointHook"):
        del algorithm.hooks_dict[name]
    images = torch.stack([plain(photo) for photo in photos.test[0]])

    def score() -> tuple[float, float]:
        networks = (algorithm.model, algorithm.ema_model)
        live, averaged = (accuracy(m, lambda cut, m=m: m(images[cut])["logits"], photos.test[1]) for m in networks)  # type: ignore[misc]
        return live, averaged

    curve = Curve(settings["steps"] // settings["points"], score)

    class Score(Hook):  # type: ignore[misc]
        def after_train_step(self, algorithm: Any) -> None:
            curve.step(algorithm.it + 1)

    algorithm.hooks_dict["Score"] = Score()
    curve.began = time.process_time()
    algorithm.train()
    return curve.points


def loaders(race: Race, photos: Photos, args: Any, steps: int, weak: Any, strong: Any) -> dict[str, Any]:
    from semilearn import BasicDataset, get_data_loader

    images, classes = photos.labeled
    labeled = BasicDataset(args.algorithm, images, classes, race.classes, weak, False, strong, False)
    pool = BasicDataset(args.algorithm, photos.pool, None, race.classes, weak, True, strong, False)
    sampled = {"data_sampler": "RandomSampler", "num_iters": steps, "num_epochs": 1, "num_workers": 0}
    return {
        "train_lb": get_data_loader(args, labeled, args.batch_size, **sampled),
        "train_ulb": get_data_loader(args, pool, args.batch_size * args.uratio, **sampled),
    }


def transforms(race: Race, size: int) -> list[Any]:
    """Weak, strong and none, as its CIFAR data set makes them; mirrored only if ours are too."""
    from semilearn.datasets.augmentation import RandAugment
    from torchvision import transforms as T

    model: Any = race.model(0)
    mean, std = ((each / 255).flatten().tolist() for each in (model.mean, model.std))
    tensor = [T.ToTensor(), T.Normalize(mean, std)]
    crop = [T.Resize(size), T.RandomCrop(size, padding=size // 8, padding_mode="reflect")]
    mirror = [T.RandomHorizontalFlip()] if race.flip else []
    return [T.Compose([*crop, *mirror, *then, *tensor]) for then in ([], [RandAugment(3, 5)])] + [T.Compose(tensor)]
