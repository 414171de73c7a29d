"""The whole configuration of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ssl_mask.config.base import Seed, Settings
from ssl_mask.config.data import AugmentConfig, DataConfig
from ssl_mask.config.model import LossConfig, ModelConfig
from ssl_mask.config.training import NUMBER, AlgorithmConfig, OptimConfig, TrainConfig
from ssl_mask.config.unlabeled import GuardConfig, PseudoConfig
from ssl_mask.errors import ConfigError

OwnSettings = Annotated[dict[str, Any], BeforeValidator(lambda given: {} if given is None else given)]
"""A tree of settings; `mask:` without anything is an empty one."""


class RunConfig(Settings):
    """The whole configuration of a run; made by `load_config`, saved as `config.yaml`."""

    preset: str = "auto"
    """Settings to start from: a file stem in `configs/`, a path, or `auto` (laptop on a CPU, gpu on a GPU)."""
    seed: Seed = 0
    """Random seed. The same seed on the same machine gives the same result."""
    runs: Path = Path("runs")
    """Folder that holds the runs."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    """Name of the run's folder. Not set: the verb and a number, such as train-001."""
    init_from: str | None = None
    """Start from the best weights of this run. Heads are taken over where the classes are the same."""
    data: DataConfig = Field(default_factory=DataConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    algorithm: AlgorithmConfig = Field(default_factory=AlgorithmConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    pseudo: PseudoConfig = Field(default_factory=PseudoConfig)
    guard: GuardConfig = Field(default_factory=GuardConfig)
    factors: dict[str, OwnSettings] = Field(default_factory=dict)
    """Train a model per factor: `factors: {<factor>: {<settings of its own>}}`. A factor that is not named has the
    common settings. Empty: one model with a head per factor."""
    factor_prior: Literal["off", "oof"] = "off"
    """Multiply the product of factor models by how often their classes go together among the labels (`oof`: where
    out-of-fold predictions show that it helps)."""

    @model_validator(mode="after")
    def _averaged_teacher_exists(self) -> RunConfig:
        if self.algorithm.name != "supervised" and self.algorithm.teacher == "ema" and self.train.ema_decay == 0:
            raise ValueError("algorithm.teacher ema needs averaged weights: set train.ema_decay above 0")
        return self

    @model_validator(mode="after")
    def _nothing_waits_for_validation(self) -> RunConfig:
        if self.data.validation == "none":
            calibrates = self.algorithm.name != "supervised" and self.algorithm.temperature == "calibrated"
            for key, asked in (
                ("algorithm.temperature calibrated (give a number)", calibrates),
                ("optim.schedule plateau", self.optim.schedule == "plateau"),
                ("train.patience", self.train.patience > 0),
            ):
                if asked:
                    raise ValueError(f"data.validation none evaluates nothing, but {key} needs validation scores")
        return self

    @model_validator(mode="after")
    def _neck_has_two_images(self) -> RunConfig:
        if self.model.neck != "none" and (problem := self.single_images(f"model.neck {self.model.neck}")):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _backbone_trains(self) -> RunConfig:
        if self.model.tuning == "probe" and self.algorithm.name != "supervised":
            raise ValueError(
                f"model.tuning probe trains on features of unchanged images, but algorithm.name {self.algorithm.name} "
                "needs augmented views: use tuning last-n or lora, or pseudo-labels (sslmask pseudo)"
            )
        if self.model.tuning == "probe" and self.train.batch_size == "auto":
            raise ValueError(
                "train.batch_size auto tries how many images fit in memory, but model.tuning probe trains on features, "
                "which always fit: give a number, such as 32"
            )
        if self.model.tuning == "probe" and self.optim.layer_decay != 1:
            raise ValueError(
                "optim.layer_decay gives the layers of the backbone learning rates, but with model.tuning probe none "
                "of them trains: use one"
            )
        return self

    @model_validator(mode="after")
    def _factors_have_models(self) -> RunConfig:
        if self.factors and self.data.target == "joint":
            raise ValueError("factors asks for a model per factor, data.target joint for one head over all: use one")
        if self.factors and self.data.factor is not None:
            raise ValueError("factors asks for a model per factor, data.factor for that of a single one: use one")
        if self.factor_prior != "off" and not self.factors:
            raise ValueError("factor_prior corrects the product of factor models, but factors names none")
        return self

    def refuse_no_validation(self, what: str) -> None:
        """Raises ConfigError where nothing is to be validated.

        Args:
            what: needs validation, for the message.
        """
        if self.data.validation == "none":
            raise ConfigError(f"{what} needs validation, but data.validation is none.", hint="Leave that setting out.")

    def refuse_factors(self, what: str) -> None:
        """Raises ConfigError where a model per factor is asked for.

        Args:
            what: trains other models, for the message.
        """
        if self.factors:
            hint = (
                "Leave `factors` out. Factor models are trained by sslmask train and uda; they can teach and predict."
            )
            raise ConfigError(f"{what} knows no model per factor, but the configuration has factors.", hint=hint)

    def refuse_auto_batch(self, what: str) -> None:
        """Raises ConfigError where the batch size is not a number.

        Args:
            what: trains several models, which must have one batch size, for the message.
        """
        if self.train.batch_size == "auto":
            raise ConfigError(f"train.batch_size auto is for a single run, not for {what}.", hint=NUMBER)

    def single_images(self, norm: str, processes: int = 1) -> str:
        """Why batch norm cannot train: some part of a step is a single image, which has no variance. Empty: it can.

        Args:
            norm: where the batch norm is.
            processes: that have statistics of their own.
        """
        asked, unit = self.train, self.train.accumulate * processes
        if not isinstance(asked.batch_size, int):
            return ""
        apart = " on each process" if processes > 1 else ""
        if asked.batch_size // unit == 1:
            left = f"train.batch_size {asked.batch_size} / accumulate {asked.accumulate} leaves 1 image a part{apart}"
            return f"{left}; batch norm ({norm}) needs 2"
        weak = self.algorithm.name != "supervised" and self.algorithm.weak_mode == "train"
        if weak and round(self.algorithm.mu * asked.batch_size / unit) <= 1:
            left = f"algorithm.mu {self.algorithm.mu:g} leaves 1 unlabeled image a part{apart}"
            return f"{left}; batch norm ({norm}) needs 2 with algorithm.weak_mode train"
        return ""
