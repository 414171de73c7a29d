"""Mixed images: mixup (Zhang et al. 2018, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899).

As in the papers, the images of a batch are mixed with the same images in another order, by one λ ~ Beta(α, α). The loss
is λ times that towards the label of the one plus (1 − λ) times that towards the label of the other, so that a margin,
smoothing, class weights and weights of pseudo-labels are those of each label. A batch of labeled and pseudo-labeled
images is mixed as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_mask.types import Labeled


class Mixed(NamedTuple):
    """Images to train on, and what they are trained towards."""

    images: Tensor
    """(n, size, size, 3) uint8 RGB."""
    parts: tuple[tuple[float, Labeled], ...]
    """Share in the loss and labels of these n images; the shares sum to 1."""


@dataclass(frozen=True)
class Mixing:
    """Mixes batches at random, with torch's generator: with both α above 0, each batch by one of the two."""

    mixup: float = 0.0
    """α of mixup, 0: off."""
    cutmix: float = 0.0
    """α of CutMix, 0: off."""

    def __call__(self, labeled: Labeled) -> Mixed:
        """Mix a batch; where both are off, it stays as it is, and no random number is drawn."""
        if self.mixup == self.cutmix == 0:
            return Mixed(labeled.images, ((1.0, labeled),))
        cuts = self.cutmix > 0 and (self.mixup == 0 or torch.rand(()).item() < 0.5)
        alpha = torch.tensor(self.cutmix if cuts else self.mixup)
        share = torch.distributions.Beta(alpha, alpha).sample().item()
        other = labeled.at(torch.randperm(len(labeled.images)).to(labeled.images.device))
        if cuts:
            size = labeled.images.shape[1]
            row, column = torch.randint(size, (2,)).tolist()
            images, share = cutmix(labeled.images, other.images, share, (row, column))
        else:
            images = mixup(labeled.images, other.images, share)
        return Mixed(images, ((share, labeled), (1.0 - share, other)))


def mixup(first: Tensor, second: Tensor, share: float) -> Tensor:
    """share · first + (1 − share) · second of (n, size, size, 3) uint8 images, rounded."""
    return torch.lerp(second.float(), first.float(), share).round().to(first.dtype)


def cutmix(first: Tensor, second: Tensor, share: float, centre: tuple[int, int]) -> tuple[Tensor, float]:
    """`first` with a square of `second`, which covers 1 − share of the image, less what is beyond its edge.

    Args:
        first: (n, size, size, 3) images.
        second: of the same shape.
        share: in [0, 1].
        centre: row and column of the middle of the square, in pixels.

    Returns:
        new images, and the share of `first` in them.
    """
    size = first.shape[1]
    half = int(size * (1.0 - share) ** 0.5) // 2
    rows, columns = (slice(max(c - half, 0), min(c + half, size)) for c in centre)
    images = first.clone()
    images[:, rows, columns] = second[:, rows, columns]
    covered = (rows.stop - rows.start) * (columns.stop - columns.start)
    return images, 1.0 - covered / size**2
