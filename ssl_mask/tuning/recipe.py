"""best.yaml: the winner of a search as a configuration to use, with what is known of its worth above it."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import yaml

from ssl_mask.config import RunConfig, resolve
from ssl_mask.reports.tune_card import sentences
from ssl_mask.runs.trials import TrialStudy, VerdictRecord

PLACES = ("runs", "name")
"""Keys that are of the search, not of the settings it found."""


def recipe_text(search: TrialStudy, winner: RunConfig, verdict: VerdictRecord) -> str:
    """The file: comments, then what differs from the preset."""
    asked = search.settings()
    values = ", ".join(f"{k}={v}" for k, v in verdict.params.items()) or "the default"
    lines = [
        f"Winner of the search {search.path}: {asked.trials} trials of {asked.folds} folds over {asked.space_file}.",
        f"Trial {verdict.winner}: {values}",
        " ".join(sentences(verdict)).strip(),
        f"Use it: sslmask train --folds 5 -c {search.best}",
    ]
    comment = "\n".join(fill(line, 118, initial_indent="# ", subsequent_indent="#   ", break_long_words=False,
                             break_on_hyphens=False) for line in lines)  # fmt: skip
    return f"{comment}\n{yaml.safe_dump(recipe(winner), sort_keys=False, allow_unicode=True)}"


def recipe(config: RunConfig) -> dict[str, Any]:
    """The preset and what differs from it; all settings where that would not give the same configuration."""
    tree = _without_places(config)
    preset = _without_places(resolve([{"preset": config.preset}]))
    short = {"preset": config.preset, **_difference(preset, tree)}
    return short if _without_places(resolve([short])) == tree else tree


def _without_places(config: RunConfig) -> dict[str, Any]:
    return {k: v for k, v in config.model_dump(mode="json").items() if k not in PLACES}


def _difference(below: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        old = below.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if inner := _difference(old, value):
                found[key] = inner
        elif value != old:
            found[key] = value
    return found
