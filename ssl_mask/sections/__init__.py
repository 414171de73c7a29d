"""The sections of a configuration: frozen, unknown keys refused, every field explained. No logic but validation."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, NonNegativeInt, model_validator

from ssl_mask.sections.base import Section as Section
from ssl_mask.sections.data import AugmentConfig as AugmentConfig
from ssl_mask.sections.data import DataConfig as DataConfig
from ssl_mask.sections.model import LossConfig as LossConfig
from ssl_mask.sections.model import ModelConfig as ModelConfig
from ssl_mask.sections.training import AlgorithmConfig as AlgorithmConfig
from ssl_mask.sections.training import OptimConfig as OptimConfig
from ssl_mask.sections.training import TrainConfig as TrainConfig
from ssl_mask.sections.unlabeled import GuardConfig as GuardConfig
from ssl_mask.sections.unlabeled import PseudoConfig as PseudoConfig


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
    pseudo: PseudoConfig = Field(default_factory=PseudoConfig)
    guard: GuardConfig = Field(default_factory=GuardConfig)

    @model_validator(mode="after")
    def _averaged_teacher_exists(self) -> RunConfig:
        if self.algorithm.name != "supervised" and self.algorithm.teacher == "ema" and self.train.ema_decay == 0:
            raise ValueError("algorithm.teacher ema needs averaged weights: set train.ema_decay above 0")
        return self
