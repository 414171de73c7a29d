"""What the two views of an unlabeled photo cost: from the warm cache, and decoded and augmented anew.

    python tests/benchmarks/uda_data.py [--photos 24] [--blocks 9]

Photos are 640 x 480 JPEGs (smooth noise at quality 92), views are 224 px, in CPU time of one thread, in turns:

- cached: read from the cache, weak and strong view, as `sslmask uda` makes them
- half: the same with a strong view of every other photo only, which is what a mask rate of 0.5 asks for
- anew: the file decoded and resized for both views, augmented in the same way (`data.cache=off`)
- torchvision: the usual data set of semi-supervised code: PIL, resize, crop, flip, then RandAugment for the strong view
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ssl_mask.data.augment import Augmenter
from ssl_mask.data.batches import Stream, UnlabeledImages
from ssl_mask.data.cache import ImageCache
from ssl_mask.data.digests import digest_file
from ssl_mask.data.image_source import CachedImages, DecodedImages, ImageSource

SIZE, GOAL = 224, 0.15
LIMIT = 50_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--blocks", type=int, default=9)
    options = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = draw(Path(folder), options.photos)
        digests = [digest_file(p) for p in paths]
        cache = ImageCache(Path(folder) / "cache", SIZE, "crop")
        cache.fill(paths, digests, max_pixels=LIMIT, threads=1)
        cached = CachedImages(cache, digests)
        sides = {
            "cached": views_of(cached, share=1.0),
            "half": views_of(cached, share=0.5),
            "anew": views_of(DecodedImages(paths, SIZE, "crop", LIMIT), share=1.0),
            "torchvision": torchvision_views(paths),
        }
        show(measure(sides, options.blocks), options.photos)


def draw(folder: Path, count: int) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.jpg" for i in range(count)]
    for path in paths:
        coarse = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (640, 480)), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return paths


def views_of(source: ImageSource, share: float) -> Callable[[int], None]:
    """Batch k of weak views, and strong ones of a share of it."""
    count = len(source)
    images = UnlabeledImages(
        source, Augmenter("flip", SIZE), Augmenter("strong", SIZE), Stream(count, count, 0), strong_at_once=False
    )
    rows = torch.arange(count)[: round(count * share)]

    def make(step: int) -> None:
        images.batch(step).strong(rows)

    return make


def torchvision_views(paths: list[Path]) -> Callable[[int], None]:
    from PIL import Image
    from torchvision import transforms as T

    crop = [T.Resize(SIZE), T.RandomCrop(SIZE, padding=SIZE // 8, padding_mode="reflect"), T.RandomHorizontalFlip()]
    tensor = [T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    weak, strong = T.Compose([*crop, *tensor]), T.Compose([*crop, T.RandAugment(2, 9), *tensor])

    def make(step: int) -> None:
        torch.manual_seed(step)
        for path in paths:
            with Image.open(path) as file:
                photo = file.convert("RGB")
            weak(photo), strong(photo)

    return make


def measure(sides: dict[str, Callable[[int], None]], blocks: int) -> dict[str, list[float]]:
    """CPU seconds of each block, the sides in turns; a first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for block in range(blocks + 1):
        for name, make in sides.items():
            began = time.process_time()
            make(block)
            if block:
                seconds[name].append(time.process_time() - began)
    return seconds


def show(seconds: dict[str, list[float]], photos: int) -> None:
    table = Table("views", "ms a photo", "of anew", "of torchvision")
    for name, own in seconds.items():
        cells = [f"{1000 * statistics.median(own) / photos:.2f}"]
        for other in ("anew", "torchvision"):
            ratios = [a / b for a, b in zip(own, seconds[other], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            cells.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
        table.add_row(name, *cells)
    Console().print(table)
    Console().print(f"Goal: at most {GOAL} of anew.")


if __name__ == "__main__":
    main()
