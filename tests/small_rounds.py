"""Small series of rounds for the tests of `sslmask pseudo`: what they are made of, and how two of them are compared."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ssl_mask.config import RunConfig, merge, resolve
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.view import Run

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


def rounds_of(run: Run) -> list[RunDir]:
    return [RunDir(run.path).round(n) for n in range(1 + run.config.pseudo.rounds)]


def write_table(drawn: Path, into: Path) -> Path:
    """A table with groups, given sides and unlabeled photos of training, of validation and of new groups."""
    into.mkdir()
    photos = sorted((drawn / "extra").iterdir())
    lines = ["image,label,group,split"]
    for i in range(12):
        side, number = ("train", "val")[i % 2], i // 4
        lines.append(f"{i}.jpg,{'ab'[i // 2 % 2]},{side[0]}{number},{side}")
    lines += [f"u-{group}.jpg,,{group},unlabeled" for group in ("t0", "t1", "v0", "v2", "new")]
    for line, photo in zip(lines[1:], photos, strict=False):
        (into / line.split(",")[0]).write_bytes(photo.read_bytes())
    (into / "labels.csv").write_text("\n".join(lines) + "\n")
    return into
