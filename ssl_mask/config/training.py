"""How it is trained: algorithm, optimizer, loop."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from ssl_mask.config.base import MOST, Settings
from ssl_mask.errors import ConfigError

NUMBER = (
    "Give a number, such as --set train.batch_size=32. On one GPU, sslmask train --dry-run --set train.batch_size=auto "
    "tells the largest that fits."
)
"""What to do where the batch size cannot be `auto`."""


class AlgorithmConfig(Settings):
    """What is minimised, and how unlabeled images count."""

    name: Literal["supervised", "uda", "fixmatch", "flexmatch", "freematch", "softmatch", "adamatch"] = "supervised"
    """`supervised` uses labels only; `uda`, `fixmatch`, `flexmatch`, `freematch`, `softmatch` and `adamatch` add a
    consistency loss on unlabeled images."""
    mu: PositiveFloat = 2.0
    """Unlabeled images per step, as a multiple of `train.batch_size` (μ)."""
    weight: NonNegativeFloat = 1.0
    """Weight of the consistency loss (λ)."""
    start: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training, from its start, during which the consistency loss is off."""
    ramp_up: float = Field(default=0.0, ge=0, le=1)
    """Share of the training over which its weight then rises linearly."""
    masks: Literal["joint", "factors"] = "joint"
    """`joint`: an image is selected as a whole; `factors`: per factor (head), by the confidence of that head."""
    threshold: float | dict[str, float] = 0.8
    """Confidence threshold τ of the targets, one for all or one per head (uda, fixmatch, flexmatch). adamatch: relative
    to the mean confidence on labeled images."""
    sharpen: PositiveFloat = 0.4
    """Sharpening temperature of the targets (uda)."""
    tsa: Literal["off", "linear", "log", "exp"] = "off"
    """Training signal annealing: labeled images that are predicted with a confidence above a rising threshold do not
    count (uda)."""
    momentum: float = Field(default=0.99, ge=0, lt=1)
    """Momentum of the running statistics (freematch, softmatch, adamatch, alignment)."""
    fairness: NonNegativeFloat = 0.01
    """Weight of the self-adaptive fairness loss (freematch)."""
    sigmas: PositiveFloat = 2.0
    """Width of the truncated Gaussian in standard deviations: greater is narrower (softmatch)."""
    alignment: Literal["none", "prior", "uniform"] = "none"
    """Distribution alignment (arXiv 1911.09785): move the mean prediction on unlabeled images to the shares of
    the classes among the labels (`prior`), or to equal shares (`uniform`)."""
    teacher: Literal["live", "ema"] = "live"
    """Whose predictions are the targets: the trained weights (`live`), or their average (`ema`: Mean Teacher, arXiv
    1703.01780). With `temperature` calibrated, the average gives targets from the first evaluation on."""
    temperature: Literal["calibrated"] | PositiveFloat | dict[str, PositiveFloat] = "calibrated"
    """Temperature that divides the logits before a confidence is read: `calibrated` on validation, or a number, one for
    all or one per head."""
    dense: bool = False
    """Strong views of all unlabeled images, not only of the selected ones: exact with batch norm, but slower."""
    weak_mode: Literal["eval", "train"] = "eval"
    """Forward pass of the weak views: `eval` (stored batch-norm statistics, no dropout) or `train`."""
    weak: str = "flip"
    """Augmentation preset of the weak view."""
    strong: str = "strong"
    """Augmentation preset of the strong view."""

    @model_validator(mode="after")
    def _teacher_is_left_alone(self) -> AlgorithmConfig:
        if self.teacher == "ema" and self.weak_mode == "train":
            raise ValueError("weak_mode train would change the averaged network's statistics; use it with teacher live")
        return self

    @model_validator(mode="after")
    def _aligned_once(self) -> AlgorithmConfig:
        if self.name == "adamatch" and self.alignment != "none":
            raise ValueError("adamatch aligns predictions to those on labeled images: leave alignment out")
        return self


class OptimConfig(Settings):
    """Optimizer and learning rate."""

    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """Optimizer; `sgd` uses Nesterov momentum."""
    lr: PositiveFloat = 1e-3
    """Peak learning rate of the neck and the heads."""
    backbone_lr_scale: PositiveFloat = 1.0
    """The backbone's learning rate is this times `lr`."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Each layer of the backbone learns this many times as fast as the one above it (Clark et al., arXiv 2003.10555);
    0.65 to 0.75 is usual for transformers. 1: all alike."""
    weight_decay: NonNegativeFloat = 0.05
    """Weight decay. Not applied to biases, norms and other vectors."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD (Nesterov)."""
    schedule: Literal["cosine", "one_cycle", "plateau", "constant"] = "cosine"
    """Learning rate after the warm-up; `plateau` divides it by 2 when the validation score stops improving."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps during which the learning rate rises to its peak."""
    final_lr_scale: float = Field(default=0.0, ge=0, le=1)
    """Last learning rate, as a share of the peak (cosine, one_cycle)."""
    plateau_patience: PositiveInt = 3
    """Evaluations without a better score before the learning rate is divided by 2 (plateau)."""
    clip_norm: PositiveFloat | None = None
    """Clip the global gradient norm to this."""
    agc: PositiveFloat | None = None
    """Adaptive gradient clipping factor (Brock et al., arXiv 2102.06171)."""

    @field_validator("backbone_lr_scale", mode="before")
    @classmethod
    def _freezing_is_a_tuning(cls, given: Any) -> Any:
        if given == 0:
            raise ValueError("the rate 0 would freeze the backbone; to train only the heads, set model.tuning=probe")
        return given


class TrainConfig(Settings):
    """Length, batches, evaluations and saving."""

    steps: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """Length of the training in optimizer steps. Set steps or epochs."""
    epochs: PositiveFloat | None = None
    """Length of the training in passes over the training images. Set epochs or steps."""
    stop_at: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """End after this many steps, while the learning rate falls as if all `steps` were done. Not set: do all."""
    batch_size: Annotated[int, Field(ge=1, le=2**20)] | Literal["auto"] = 32
    """Images per step, over all processes: the same training on one GPU or on eight. `auto`, for a single run on one
    GPU: the largest power of two from 8 to 256 whose steps fit in its memory, at most a quarter of the training images;
    the run keeps the number. 32 on a CPU."""
    accumulate: PositiveInt = 1
    """Split each step's batch into this many parts to save memory."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """`auto`: bf16 on GPUs that have it, fp16 on others, fp32 on a CPU."""
    sampler: Literal["shuffle", "weighted", "balanced"] = "shuffle"
    """`balanced` draws every class equally often; `weighted` by the square root of its inverse frequency."""
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the averaged weights (EMA); 0 turns them off. Trained and averaged weights are both evaluated."""
    eval_every: PositiveInt | None = None
    """Steps between evaluations. Not set: ten evaluations per run."""
    keep: Literal["best", "all"] = "best"
    """Keep the weights of the `best` evaluation, or those of `all` with what they predict of validation."""
    last_weights: Literal["live", "ema"] = "ema"
    """Weights that a run without validation keeps of its last step: the trained ones, or their average."""
    reference: Literal["probe", "off"] = "probe"
    """What the run is measured against: logistic regression on features of its backbone as it was before training
    (`probe`; seconds, only with a pretrained backbone), or nothing (`off`)."""
    patience: NonNegativeInt = 0
    """Stop after this many evaluations without a better score; 0 never stops early."""
    save_every: PositiveInt | None = None
    """Steps between saved states. Not set: at every evaluation."""
    log_every: PositiveInt = 10
    """Steps between lines in metrics.jsonl."""
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ()
    """Also tell these trackers what metrics.jsonl says, the settings, plots and the run card: `tensorboard`, `wandb`,
    `mlflow`, `trackio`, each an extra of the same name. One that fails is left out; the training goes on."""
    workers: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] = "auto"
    """Processes that read and augment images. Results do not depend on it."""
    compile: bool = False
    """Compile the backbone for training (`torch.compile`): the same results up to rounding; the first step then takes
    up to a minute."""

    @field_validator("trackers", mode="before")
    @classmethod
    def _one_tracker(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @field_validator("batch_size", mode="wrap")
    @classmethod
    def _number_or_auto(cls, given: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(given)
        except ValidationError:  # one for each of the two types, with keys that nobody has written
            raise ValueError(f"Input should be a whole number from 1 to {2**20}, or auto") from None

    @property
    def images_per_step(self) -> int:
        """`batch_size`, which is a number in every run.

        Raises:
            ConfigError: it is `auto` still.
        """
        if not isinstance(self.batch_size, int):
            raise ConfigError("train.batch_size is auto, but a number is needed here.", hint=NUMBER)
        return self.batch_size

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("set steps or epochs, not both")
        if isinstance(self.batch_size, int) and self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        return self
