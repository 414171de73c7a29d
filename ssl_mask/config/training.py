"""How it is trained: algorithm, optimizer, loop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ssl_mask.config.base import Settings


class AlgorithmConfig(Settings):
    name: Literal["supervised", "uda", "fixmatch", "freematch", "softmatch"] = "supervised"
    """What is minimised. All but `supervised` add a consistency loss on unlabeled images."""
    mu: PositiveFloat = 2.0
    """Unlabeled images a step, as a multiple of `train.batch_size`."""
    weight: NonNegativeFloat = 1.0
    """Weight of the consistency loss (λ)."""
    start: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training during which the consistency loss is off."""
    ramp_up: float = Field(default=0.0, ge=0, le=1)
    """Share of the training over which its weight then rises linearly."""
    masks: Literal["joint", "factors"] = "joint"
    """Whether an image is believed as a whole, or each factor (head) by its own confidence."""
    threshold: float | dict[str, float] = 0.8
    """Confidence τ above which a target counts; or one a head (uda, fixmatch)."""
    sharpen: PositiveFloat = 0.4
    """Sharpening temperature of the targets (uda)."""
    tsa: Literal["off", "linear", "log", "exp"] = "off"
    """Training signal annealing: labeled images that are right beyond a rising bar do not count (uda)."""
    momentum: float = Field(default=0.99, ge=0, lt=1)
    """Of the running statistics (freematch, softmatch, alignment)."""
    fairness: NonNegativeFloat = 0.01
    """Weight of the self-adaptive fairness loss (freematch)."""
    sigmas: PositiveFloat = 2.0
    """Width of the truncated Gaussian in standard deviations: greater is narrower (softmatch)."""
    alignment: Literal["none", "prior", "uniform"] = "none"
    """Move the pool's mean prediction to the labeled classes' shares, or to equal shares (arXiv 1911.09785)."""
    teacher: Literal["live", "ema"] = "live"
    """Whose predictions are the targets: the trained weights, or their average (Mean Teacher, arXiv 1703.01780)."""
    temperature: Literal["calibrated"] | PositiveFloat = "calibrated"
    """Divides margin-free logits before any confidence is read: fitted on validation, or a fixed number."""
    dense: bool = False
    """Strong views of all unlabeled images, not only of those that count: exact with batch norm, and slower."""
    weak_mode: Literal["eval", "train"] = "eval"
    """How the weak pass runs: stored batch-norm statistics and no dropout, or those of the batch."""
    weak: str = "flip"
    """Augmentation preset of the weak view."""
    strong: str = "strong"
    """Augmentation preset of the strong view."""

    @model_validator(mode="after")
    def _teacher_is_left_alone(self) -> AlgorithmConfig:
        if self.teacher == "ema" and self.weak_mode == "train":
            raise ValueError("weak_mode train would change the averaged network's statistics; use it with teacher live")
        return self


class OptimConfig(Settings):
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """Rule of the weight update; `sgd` is with Nesterov momentum."""
    lr: PositiveFloat = 1e-3
    """Peak learning rate of neck and heads."""
    backbone_lr_scale: NonNegativeFloat = 1.0
    """The backbone's learning rate is this times `lr`; 0 freezes it."""
    weight_decay: NonNegativeFloat = 0.05
    """Not applied to biases, norms and other vectors."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD (Nesterov)."""
    schedule: Literal["cosine", "one_cycle", "plateau", "constant"] = "cosine"
    """How the rate goes on after the warm-up; `plateau` divides it when validation stops getting better."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the rate rises to its peak."""
    final_lr_scale: float = Field(default=0.0, ge=0, le=1)
    """The last rate as a share of the peak (cosine, one_cycle)."""
    plateau_patience: PositiveInt = 3
    """Evaluations without a better score before the rate is divided by 2 (plateau)."""
    clip_norm: PositiveFloat | None = None
    """Clip the global gradient norm to this."""
    agc: PositiveFloat | None = None
    """Adaptive gradient clipping factor (Brock et al., arXiv 2102.06171)."""


class TrainConfig(Settings):
    steps: PositiveInt | None = None
    """Optimizer steps. Set this or `epochs`."""
    epochs: PositiveFloat | None = None
    """Passes over the training images. Set this or `steps`."""
    batch_size: PositiveInt = 32
    """Images a step, over all processes: the same training on one GPU or on eight."""
    accumulate: PositiveInt = 1
    """Split each step's batch into this many parts to save memory."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """`auto`: bf16 on GPUs that have it, fp16 on others, fp32 on a CPU."""
    sampler: Literal["shuffle", "weighted", "balanced"] = "shuffle"
    """`balanced` draws every class equally often; `weighted` by the square root of its inverse frequency."""
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    """Average of the weights, with warm-up; 0 turns it off. Live and averaged weights are both scored."""
    eval_every: PositiveInt | None = None
    """Steps between evaluations. Not set: ten a run."""
    patience: NonNegativeInt = 0
    """Stop after this many evaluations without a better score; 0 never stops early."""
    save_every: PositiveInt | None = None
    """Steps between saved states. Not set: at every evaluation."""
    log_every: PositiveInt = 10
    """Steps between lines in metrics.jsonl."""
    workers: NonNegativeInt | Literal["auto"] = "auto"
    """Processes that read and augment. Results do not depend on it."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("set steps or epochs, not both")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        return self
