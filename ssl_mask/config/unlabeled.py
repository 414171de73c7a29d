"""What is done with unlabeled images: pseudo-labels in rounds, and the leakage guard."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from ssl_mask.config.base import Settings


class PseudoConfig(Settings):
    rounds: PositiveInt = 3
    """Rounds of pseudo-labels after round 0, which trains on labels only."""
    rule: Literal["precision", "threshold", "top_k", "percentile"] = "precision"
    """Which predictions are believed. `precision`: those whose like are right often enough on validation."""
    masks: Literal["joint", "factors"] = "factors"
    """Whether an image is believed as a whole, or each factor (head) by its own confidence."""
    target_precision: float = Field(default=0.95, gt=0, lt=1)
    """Share that should be right of what is believed of a class (rule `precision`)."""
    threshold: float = Field(default=0.9, ge=0, le=1)
    """Calibrated confidence from which on a prediction is believed (rule `threshold`)."""
    top_k: PositiveInt = 50
    """Believe this many of each predicted class (rule `top_k`)."""
    percentile_step: float = Field(default=0.2, gt=0, le=1)
    """Believe this share of each predicted class in round 1, twice in round 2, … (rule `percentile`)."""
    cap: PositiveFloat | None = None
    """No class gets more than this times the median class's number of pseudo-labels. Not set: no cap."""
    labels: Literal["hard", "soft"] = "hard"
    """Train on the predicted class, or on the predicted probabilities."""
    weight: NonNegativeFloat = 1.0
    """Weight of a pseudo-labeled image against a labeled one (λ)."""
    weighting: Literal["confidence", "constant"] = "confidence"
    """`confidence`: λ times the confidence; `constant`: λ."""
    mu: PositiveFloat = 1.0
    """Pseudo-labeled images a step, as a multiple of `train.batch_size`; they come on top of the labeled ones."""
    warm_start: bool = False
    """Start each round from the weights of the last one, not from the pretrained backbone."""
    start_from: str | None = None
    """A finished run that serves as round 0."""
    group_consistency: bool = False
    """A group with labeled photos lends its unlabeled ones the factors that never vary within a group."""
    from_predictions: Path | None = None
    """Select round 1 from the shards that `sslmask predict --shard` wrote into this folder."""

    @model_validator(mode="after")
    def _one_round_from_stored_predictions(self) -> PseudoConfig:
        if self.from_predictions is not None and self.rounds > 1:
            raise ValueError("stored predictions are of one model and serve one round: set rounds to 1")
        if self.from_predictions is not None and self.start_from is None:
            raise ValueError("stored predictions are of a finished run: name it (--start-from RUN)")
        if self.from_predictions is not None and self.group_consistency:
            raise ValueError("stored predictions know no groups: turn group_consistency off")
        return self


class GuardConfig(Settings):
    mode: Literal["on", "off"] = "on"
    """`off`: nothing is compared, and every score and prediction downstream says `not-checked`."""
    protected: tuple[str, ...] = ()
    """Test images beside the data set's own: folders, globs, CSVs with an image column. Never trained on."""
    drop_overlap: bool = False
    """Leave out what overlaps validation or test images instead of refusing it."""
    transductive: bool = False
    """Declare that the unlabeled images may be the test images. Everything downstream is marked."""
    reason: str | None = None
    """Who declares it, and why. Needed for `transductive`."""
    allowed_by: str | None = None
    """The rule (of the competition, of the task) that allows it. Needed for `transductive`."""
    cards: Path = Path("data_cards")
    """Folder for a data card a pool, beside those in the run; of the working folder."""
    allow: Path | None = None
    """CSV of pairs that may stand on both sides: `first`, `second`, `reason`."""

    @model_validator(mode="after")
    def _declared_in_words(self) -> GuardConfig:
        if self.transductive and not (self.reason and self.allowed_by):
            raise ValueError('transductive needs words: --reason "who and why" --allowed-by "which rule allows it"')
        return self
