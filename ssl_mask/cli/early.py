"""What can be refused without torch is refused before torch is imported, which takes seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ssl_mask.config import RunConfig, resolve


def check_settings(layers: Iterable[Mapping[str, Any]], *, resumed: bool = False, recipe: str = "") -> RunConfig:
    """The configuration as it is on a machine without a GPU; it differs from the final one in the preset only.

    Args:
        resumed: a run is continued, with the configuration that it has.

    Raises:
        ConfigError: any wrong setting. DataError: the run to start from does not exist.
    """
    from ssl_mask.runs.run import find_run

    settings = resolve(layers, has_gpu=lambda: False, recipe=recipe)
    for run in (settings.init_from, settings.pseudo.start_from):
        if run is not None and not resumed:
            find_run(run, settings.runs)
    return settings


def check_folder(settings: RunConfig) -> None:
    """Raises DataError when there is no data set in the folder, ConfigError when its layout is unknown."""
    from ssl_mask.data.layouts import settle

    settle(settings.data.root, settings.data.layout, settings.data.options.keys())
