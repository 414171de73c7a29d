"""Nested mappings of settings: from dotted keys, one over another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


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


def merged(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Layers as one mapping; later ones win."""
    tree: dict[str, Any] = {}
    for layer in layers:
        tree = merge(tree, layer)
    return tree


def settle_length(base: dict[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """`--epochs` must replace a preset's `steps` (and the reverse) instead of colliding with it."""
    train = asked.get("train")
    if not isinstance(train, Mapping) or not {"steps", "epochs"} & train.keys():
        return base
    known = base.get("train")
    if not isinstance(known, Mapping):
        return base
    return {**base, "train": {k: v for k, v in known.items() if k not in {"steps", "epochs"}}}
