"""Folders of several runs: a study compares runs of some seeds, a series trains round after round.

runs/study-001/          sslmask uda --baseline --seeds 0,1
├── study.json           its seeds, and the configuration
├── seed-0/, seed-0-labels-only/, …
└── comparison.json, comparison.md

runs/pseudo-001/         sslmask pseudo: itself a run, whose weights are those of its best round
├── run.json, config.yaml, checkpoints/best.safetensors, …
├── plots/rounds.svg
└── rounds/00/, 01/, …   an ordinary run each, with the pseudo-labels that it trains on
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_mask.config import RunConfig, to_yaml
from ssl_mask.files import write_json, write_text
from ssl_mask.runs.run import RunDir, new_folder


@dataclass(frozen=True)
class StudyDir:
    """Paths inside a study: several runs that are compared."""

    path: Path

    @property
    def plan(self) -> Path:
        return self.path / "study.json"

    @property
    def comparison(self) -> Path:
        return self.path / "comparison.json"

    @property
    def card(self) -> Path:
        return self.path / "comparison.md"

    def run(self, name: str) -> RunDir:
        return RunDir(self.path / name)


@dataclass(frozen=True)
class SeriesDir(RunDir):
    """Paths inside a series of rounds."""

    @property
    def rounds(self) -> Path:
        return self.path / "rounds"

    def round(self, number: int) -> RunDir:
        return RunDir(self.rounds / f"{number:02d}")


def create_study(config: RunConfig, plan: dict[str, Any]) -> StudyDir:
    """A fresh study folder with its plan in it. Raises as `create_run`."""
    study = StudyDir(new_folder(config, "study"))
    write_json(study.plan, {**plan, "config": config.model_dump(mode="json")})
    return study


def find_study(reference: str | Path, runs: Path) -> StudyDir | None:
    """A study by path or name, or None when it is none."""
    return next((StudyDir(p) for p in (Path(reference), runs / reference) if (p / "study.json").is_file()), None)


def create_series(config: RunConfig) -> SeriesDir:
    """A fresh series with its configuration in it. Raises as `create_run`."""
    series = SeriesDir(new_folder(config, "pseudo"))
    write_text(series.config_file, to_yaml(config))
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    series.update(
        verb="pseudo", name=series.name, status="running", started=now, step=0, best=None, rounds=[],
        leakage="not-checked",
    )  # fmt: skip
    return series


def find_series(reference: str | Path, runs: Path) -> SeriesDir | None:
    """A series by path or name, or None when it is none."""
    for path in (Path(reference), runs / reference):
        if (path / "run.json").is_file() and RunDir(path).status().verb == "pseudo":
            return SeriesDir(path)
    return None
