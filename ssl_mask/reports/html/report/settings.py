"""The settings of a run that differ from the preset that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ssl_mask.config import RunConfig, load_config
from ssl_mask.errors import ConfigError

PLACES = {"preset", "runs", "name", "data.root", "guard.cards", "train.trackers"}
"""Where things are and who is told, which says nothing of how the run was made."""


class Difference(NamedTuple):
    key: str
    preset: str
    here: str


def differences(config: RunConfig) -> list[Difference] | None:
    """None where the preset is not there any more."""
    try:
        preset = load_config(preset=config.preset)
    except ConfigError:
        return None
    before, here = (dict(leaves(c.model_dump(mode="json"))) for c in (preset, config))
    keys = [key for key in here if key not in PLACES and before.get(key) != here[key]]
    return [Difference(key, said(before.get(key)), said(here[key])) for key in keys]


def leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of each setting of a tree."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def said(value: Any) -> str:
    """A value for people."""
    if value is None or value in ([], {}):
        return "not set"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
