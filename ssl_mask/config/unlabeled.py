"""What is done with unlabeled images: pseudo-labels in rounds, and the leakage guard."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from ssl_mask.config.base import Settings


class PseudoConfig(Settings):
    """Rounds of pseudo-labels: what is selected, and how it is trained on."""

    rounds: PositiveInt = 3
    """Rounds of pseudo-labeling after round 0, which trains on labels only."""
    rule: Literal["precision", "threshold", "top_k", "percentile"] = "precision"
    """Selection rule: `precision` (a threshold per class, set on validation), `threshold`, `top_k` or `percentile`."""
    masks: Literal["joint", "factors"] = "factors"
    """`joint`: an image is selected as a whole; `factors`: per factor (head), by the confidence of that head."""
    target_precision: float = Field(default=0.95, gt=0, lt=1)
    """Share of the selected predictions of a class that should be right (rule `precision`)."""
    threshold: float = Field(default=0.9, ge=0, le=1)
    """Calibrated confidence from which on a prediction is selected (rule `threshold`)."""
    top_k: PositiveInt = 50
    """Select this many per predicted class (rule `top_k`)."""
    percentile_step: float = Field(default=0.2, gt=0, le=1)
    """Select this share of each predicted class in round 1, twice as much in round 2, … (rule `percentile`)."""
    cap: PositiveFloat | None = None
    """No class gets more pseudo-labels than this times the median over the classes. Not set: no limit."""
    labels: Literal["hard", "soft"] = "hard"
    """Pseudo-labels are the predicted class (`hard`) or the predicted probabilities (`soft`)."""
    weight: NonNegativeFloat = 1.0
    """Weight of a pseudo-labeled image relative to a labeled one (λ)."""
    weighting: Literal["confidence", "constant"] = "confidence"
    """Weight of each pseudo-label: λ times its confidence (`confidence`) or λ (`constant`)."""
    mu: PositiveFloat = 1.0
    """Pseudo-labeled images per step, as a multiple of `train.batch_size`, in addition to the labeled ones."""
    warm_start: bool = False
    """Start each round from the weights of the round before, not from the pretrained backbone."""
    teachers: tuple[str, ...] = ()
    """Finished runs or studies that predict the unlabeled images of round 1: the mean of those models that were not
    trained on the validation images of this run. May be repeated. One run alone serves as round 0. Not set: round 0
    trains on labels."""
    keep_teachers: bool = False
    """Let the teachers predict in later rounds too, beside the run of the round before."""
    agreement: float = Field(default=0.0, ge=0, le=1)
    """Share of the teachers that must predict the class of their mean; otherwise an image (or a factor of it) is not
    selected, and does not count where thresholds are set. 0: off."""
    group_consistency: bool = False
    """Unlabeled images of a labeled group (person) take over the factors that never vary within a group."""
    from_predictions: Path | None = None
    """Select from the predictions that `sslmask predict --shard` wrote into this folder. One round only."""

    @model_validator(mode="after")
    def _one_round_from_stored_predictions(self) -> PseudoConfig:
        if self.from_predictions is not None and self.rounds > 1:
            raise ValueError("stored predictions are of one model and serve one round: set rounds to 1")
        if self.from_predictions is not None and len(self.teachers) != 1:
            raise ValueError("stored predictions are of one finished run: name it (--teacher RUN)")
        if self.from_predictions is not None and self.agreement > 0:
            raise ValueError("stored predictions are of one model, which has nobody to agree with: set agreement to 0")
        if self.from_predictions is not None and self.group_consistency:
            raise ValueError("stored predictions know no groups: turn group_consistency off")
        return self


class GuardConfig(Settings):
    """The leakage guard."""

    mode: Literal["on", "off"] = "on"
    """Leakage guard. `off` compares nothing, and every later score and prediction says `not-checked`."""
    protected: tuple[str, ...] = ()
    """More test images: a folder, quoted glob or CSV with an image column. May be repeated. Never trained on."""
    drop_overlap: bool = False
    """Leave out images that overlap validation or test images, instead of stopping."""
    transductive: bool = False
    """Declare that unlabeled images may be test images. Every later score and prediction says so."""
    leaked: bool = False
    """Declare that this run may build on models that were trained with the labels of its validation or test images.
    Its scores say `leaked-declared`."""
    reason: str | None = None
    """Who declares it, and why. Needed with `transductive` and `leaked`."""
    allowed_by: str | None = None
    """Which rule of the competition or the task allows it. Needed with `transductive` and `leaked`."""
    cards: Path = Path("data_cards")
    """Folder for the data cards, one per pool of images; the run keeps a copy. Relative to the working folder."""
    allow: Path | None = None
    """CSV of pairs of images that are allowed to overlap, with the columns `first`, `second`, `reason`."""

    @model_validator(mode="after")
    def _declared_in_words(self) -> GuardConfig:
        for name in ("transductive", "leaked"):
            if getattr(self, name) and not (self.reason and self.allowed_by):
                raise ValueError(f'{name} needs --reason "who and why" and --allowed-by "which rule allows it"')
        return self
