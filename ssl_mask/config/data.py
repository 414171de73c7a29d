"""What is trained on and how it is augmented."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from ssl_mask.config.base import Settings


class DataConfig(Settings):
    root: Path = Path()
    """Folder that holds the data set."""
    layout: str = "auto"
    """`auto`, `mask18`, `folder` or `table`. `auto` says what it recognised."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the layout, checked by its adapter (see the README's table)."""
    target: Literal["factors", "joint"] = "factors"
    """One head a factor, or one flat head over their product. The same thing where there is one factor."""
    folds: int = Field(default=5, ge=2)
    """Validation is one of this many parts; groups are never torn apart."""
    fold: NonNegativeInt = 0
    """Which part validates."""
    split_seed: NonNegativeInt = 0
    """Seed of the split. Apart from `seed`, so that several seeds share one split."""
    min_groups: PositiveInt = 2
    """Refuse a class with fewer groups (persons) than this: it cannot stand in both train and validation."""
    corrections: Path | None = None
    """CSV that replaces labels without touching the sources: `path` or `group`, then a column a factor."""
    labeled_groups: PositiveInt | None = None
    """Keep the labels of this many training groups only (stratified; fewer are a subset of more); the others' images
    join the unlabeled pool of `sslmask uda`. For learning curves. Not set: all."""
    unlabeled: tuple[str, ...] = ()
    """Where unlabeled images are: folders, globs, CSVs with an image column. No label is ever read from them."""
    pseudo_labels: Path | None = None
    """A pseudo_labels.csv to train on beside the labels; `sslmask pseudo` writes one a round."""
    on_bad: Literal["fail", "skip"] = "fail"
    """What to do about unreadable unlabeled images: stop, or leave them out (listed in the run)."""
    outside_root: Literal["refuse", "allow"] = "refuse"
    """What to do with an image whose real location is outside `root`."""
    max_pixels: PositiveInt = 50_000_000
    """An image with more pixels than this is refused before it is decoded."""
    resize: Literal["crop", "squash", "pad"] = "crop"
    """How an image that is not square becomes square."""
    cache: str = "auto"
    """`auto` (a per-user folder), `off`, or a folder: decoded images, keyed by content and size."""

    @model_validator(mode="after")
    def _fold_in_range(self) -> DataConfig:
        if self.fold >= self.folds:
            raise ValueError(f"fold must be below folds ({self.folds}), got {self.fold}")
        return self


class AugmentConfig(Settings):
    preset: str = "light"
    """`none`, `flip`, `light`, `competition` or `strong`; `sslmask augment` shows what each does."""
    grid_shuffle_classes: tuple[str, ...] = ()
    """Class names whose photos may be cut into a grid and shuffled (competition and strong only)."""

    flip: bool = True
    """Mirrored copies. False for digits, letters and whatever has a left and a right."""
