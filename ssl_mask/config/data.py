"""What is trained on and how it is augmented."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ssl_mask.config.base import Seed, Settings


class DataConfig(Settings):
    """The data set, its split, and how images are read."""

    root: Path = Path()
    """Folder that holds the data set."""
    layout: str = "auto"
    """Layout of the data set: `auto` (recognise it and say which), `mask18`, `folder` or `table`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the layout."""
    target: Literal["factors", "joint"] = "factors"
    """`factors`: one head per factor; `joint`: one head over all combinations. The same where there is one factor."""
    factor: str | None = None
    """Train on the labels of this factor alone; the split stays that of all factors. Not set: on all of them."""
    folds: int = Field(default=5, ge=2)
    """The labeled images are split into this many parts, one of which is for validation. Groups are never split."""
    fold: NonNegativeInt = 0
    """Which part is for validation, counted from 0."""
    split_seed: Seed = 0
    """Seed of the split. Independent of `seed`, so that runs with different seeds share one split."""
    given_split: Literal["keep", "ignore"] = "keep"
    """A validation split that the data set brings itself: `keep` it, or `ignore` it and split all labeled images into
    `folds`, as `--folds` needs it."""
    validation: Literal["fold", "none"] = "fold"
    """`fold`: one part is for validation; `none`: all labeled images are trained on, nothing is evaluated, and the
    weights of the last step are kept."""
    min_groups: PositiveInt = 2
    """Refuse a class with fewer groups (persons) than this: it cannot be in both training and validation."""
    corrections: Path | None = None
    """CSV that replaces labels, without changing the data set: `path` or `group`, then one column per factor; `yes` in
    a column `exclude` leaves images out. `sslmask review` writes one."""
    extra_labels: tuple[Path, ...] = ()
    """CSVs of images that were labeled later: `image`, one column per factor, and `group`, if known. They join the
    training images, and the split stays as it was; a row without labels is left out. `sslmask acquire` writes one."""
    labeled_groups: PositiveInt | None = None
    """Keep the labels of this many training groups only; the images of the others join the unlabeled images of
    `sslmask uda`. Stratified; a smaller number keeps a subset of a larger one. For learning curves. Not set: all."""
    unlabeled: tuple[str, ...] = ()
    """Unlabeled images: a folder, quoted glob or CSV with an image column. May be repeated. Labels are not read."""
    pseudo_labels: Path | None = None
    """A pseudo_labels.csv to train on in addition to the labels; `sslmask pseudo` writes one per round."""
    on_bad: Literal["fail", "skip"] = "fail"
    """An image that cannot be read: `fail` stops, `skip` leaves it out and lists it in the run."""
    outside_root: Literal["refuse", "allow"] = "refuse"
    """An image whose real location (that of a link's target) is outside `data.root` and the folders that
    `data.unlabeled` names: refuse it, or allow it. Pseudo-labeled images count where `data.unlabeled` is set."""
    max_pixels: PositiveInt = 50_000_000
    """An image with more pixels than this is refused before it is decoded."""
    depth: int = Field(default=16, ge=8, le=16)
    """Bits in use of 16-bit images, such as 12: their upper 8 are kept, and larger values become white."""
    resize: Literal["crop", "squash", "pad"] = "crop"
    """How an image becomes square: cut to the centre (`crop`), stretched (`squash`) or filled up (`pad`)."""
    cache: str = "auto"
    """Where decoded images are kept for the next time: `auto` (a folder per user), `off`, or a folder."""

    @field_validator("extra_labels", mode="before")
    @classmethod
    def _one_table(cls, given: Any) -> Any:
        return given if isinstance(given, list | tuple) else (given,)

    @model_validator(mode="after")
    def _fold_in_range(self) -> DataConfig:
        if self.fold >= self.folds:
            raise ValueError(f"fold must be below folds ({self.folds}), got {self.fold}")
        return self


PAPER = {"mixup": 0.2, "cutmix": 1.0}
"""α of the papers' trainings on ImageNet."""
Probability = Annotated[float, Field(ge=0, le=1)]


class AugmentConfig(Settings):
    """Augmentation of labeled images."""

    preset: str = "light"
    """Augmentation: `none`, `flip`, `light`, `competition` or `strong`; `sslmask augment` shows what each does."""
    transforms: tuple[dict[str, Any], ...] = ()
    """Transforms of albumentations in place of the preset, for labeled images: each a name with its arguments, such as
    `- HorizontalFlip: {p: 0.5}`; `OneOf`, `SomeOf` and `RandomOrder` have such a list in `transforms`."""
    grid_shuffle_classes: tuple[str, ...] | dict[str, Probability] = ()
    """Names of the classes whose images may be cut into a grid and shuffled, with probability 1/2, or a probability for
    each, such as `{male: 0.5, ">=60": 0.1}`; of several the largest (`competition` and `strong` only)."""
    grid_shuffle: int = Field(default=3, ge=2, le=32)
    """Cells a side of that grid."""
    cutout: NonNegativeInt = 0
    """Cover a square of this many pixels of the final image with mid-grey, centred anywhere in it (Cutout, arXiv
    1708.04552, in place of that of the preset): 16 of 32 for CIFAR-10 in the paper; 0: off."""
    flip: bool = True
    """Mirror images at random. False for digits, letters and everything where left and right differ."""
    mixup: NonNegativeFloat = 0.0
    """Mix labeled images with each other (mixup, arXiv 1710.09412): α of λ ~ Beta(α, α), or `paper` (0.2); 0: off.
    With pseudo-labeled images in a step, with these too."""
    cutmix: NonNegativeFloat = 0.0
    """Paste a part of one labeled image into another (CutMix, arXiv 1905.04899): α of λ ~ Beta(α, α), or `paper` (1);
    0: off. With `mixup` too, each step takes one of both at random."""

    @field_validator("mixup", "cutmix", mode="before")
    @classmethod
    def _alpha_of_the_paper(cls, given: Any, info: ValidationInfo) -> Any:
        return PAPER[str(info.field_name)] if given == "paper" else given

    @model_validator(mode="after")
    def _preset_has_effect(self) -> AugmentConfig:
        for key, instead in (("cutout", "CoarseDropout"), ("grid_shuffle_classes", "RandomGridShuffle")):
            if self.transforms and getattr(self, key):
                raise ValueError(f"transforms take the place of the preset and of {key}: write {instead} among them")
        return self
