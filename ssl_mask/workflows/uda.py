"""`sslmask uda`: training on labeled and unlabeled images. The recipe is that of `train`; the algorithm differs."""

from __future__ import annotations

from typing import Any

from ssl_mask.config import RunConfig
from ssl_mask.runs.view import Run
from ssl_mask.workflows.train import train


def uda(config: RunConfig, **options: Any) -> Run | None:
    """Train on labeled and unlabeled images: `train` with `algorithm.name` uda, unless the configuration names another.

    For the settings of the preset, name it when the configuration is made:
    `load_config({"algorithm": {"name": "uda"}, "data": {"unlabeled": ["extra"]}})`.

    Examples:
        >>> import ssl_mask
        >>> data = {"root": "faces", "unlabeled": ["extra"]}
        >>> settings = {"data": data, "algorithm": {"name": "uda"}, "guard": {"drop_overlap": True}}
        >>> run = ssl_mask.uda(ssl_mask.load_config(settings, preset="uda_laptop"), quiet=True)
        >>> run.status.data.unlabeled.images > 0
        True
    """
    if config.algorithm.name == "supervised":
        config = config.model_copy(update={"algorithm": config.algorithm.model_copy(update={"name": "uda"})})
    return train(config, **options)
