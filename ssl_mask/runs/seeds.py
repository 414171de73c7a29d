"""A study of seeds: the same training with other random numbers, and its supervised baseline.

runs/study-001/                sslmask uda --baseline --seeds 0,1
├── study.json
├── seed-0/, seed-1/           ordinary runs; `--run study-001` is their mean
├── seed-0-labels-only/, …     with --baseline; never part of the mean
├── comparison.json            written last
└── comparison.md
"""

from __future__ import annotations

from ssl_mask.runs.base import Record
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import Study


class Seeds(Record):
    """What a study of seeds is made of, as study.json keeps it."""

    seeds: tuple[int, ...]
    baseline: bool
    """Whether each seed has a run on labels only, too."""


def seed_runs(study: Study) -> tuple[RunDir, ...]:
    """The runs that are no baselines, by seed, whether they are there or not."""
    return tuple(study.run(run_name(seed)) for seed in study.settings_as(Seeds).seeds)


def run_name(seed: int) -> str:
    return f"seed-{seed}"


def baseline_name(seed: int) -> str:
    return f"seed-{seed}-labels-only"
