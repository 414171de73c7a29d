"""Small series of rounds for the tests of `sslmask pseudo`: what they are made of, and how two of them are compared."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ssl_mask.config import merge, resolve
from ssl_mask.runs import RunDir
from ssl_mask.sections import RunConfig

SETTINGS: dict[str, Any] = {
    "preset": "none",
    "model": {"backbone": "test_efficientnet", "weights": "none", "image_size": 32, "embedding_size": 16},
    "train": {"steps": 4, "batch_size": 8, "eval_every": 2, "log_every": 1, "workers": 0},
    "data": {"folds": 2, "unlabeled": ["extra"]},
    "pseudo": {"rounds": 2, "rule": "percentile"},
    "guard": {"mode": "off"},
}


def series_config(data: Path, runs: Path, /, **sections: Any) -> RunConfig:
    """A series of two short rounds; keyword arguments are sections to change."""
    base = merge(SETTINGS, {"runs": str(runs), "data": {"root": str(data)}})
    return resolve([base, sections], has_gpu=lambda: False)


def weights_of(run: RunDir) -> dict[str, torch.Tensor]:
    return dict(load_file(run.best))


def same_weights(first: RunDir, second: RunDir) -> bool:
    one, two = weights_of(first), weights_of(second)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def table_of(run: RunDir) -> list[dict[str, str]]:
    """The rows of a round's pseudo_labels.csv."""
    return list(csv.DictReader(run.pseudo_labels.read_text().splitlines()))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def write_answers(data: Path, into: Path) -> Path:
    """The true classes of the demo's unlabeled photos, as `--audit-answers` takes them."""
    answers = read_json(data / "truth.json")["extra_answers"]
    into.write_text("ImageID,ans\n" + "".join(f"{name},{answer}\n" for name, answer in answers.items()))
    return into


def files_of(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
