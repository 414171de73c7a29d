"""What the gate compares: what training reads, and nothing that is left out of it anyway."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_rounds import series_config, write_table

from ssl_mask import devices
from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.load import read_manifest
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.unlabeled import read_unlabeled
from ssl_mask.errors import UndeclaredError
from ssl_mask.guard.gate import GateResult, run_gate

QUIET = Console(quiet=True)


def gate_of_pool(config: RunConfig) -> tuple[GateResult, Manifest]:
    """As `sslmask pseudo` asks before round 0."""
    manifest = read_manifest(config.data, QUIET)
    pool = read_unlabeled(config.data.unlabeled, manifest)
    named = {"train": manifest.where("train"), "val": manifest.where("val"), "unlabeled": pool}
    return run_gate(config, manifest, named, devices.make_accelerator("no"), QUIET), pool


def test_images_that_no_round_trains_on_are_no_overlap(drawn: Path, tmp_path: Path) -> None:
    """The pool's images of validation groups, and a copy of a validation image by its bytes."""
    root = write_table(drawn, tmp_path / "table")
    (root / "more").mkdir()
    shutil.copy(root / "1.jpg", root / "more/copy.jpg")  # of validation
    shutil.copy(sorted((drawn / "extra").iterdir())[30], root / "more/new.jpg")
    config = series_config(root, tmp_path / "runs", guard={"mode": "on"}, data={"unlabeled": ["more"], "folds": 2})
    gate, pool = gate_of_pool(config)
    assert {Path(r.path).name for r in pool.rows} >= {"copy.jpg", "new.jpg", "u-v0.jpg", "u-v2.jpg"}
    compared = next(p for p in gate.pools if p.name == "unlabeled")
    assert {Path(p).name for p in compared.paths} == {"new.jpg", "u-t0.jpg", "u-t1.jpg", "u-new.jpg"}
    assert not gate.dropped("unlabeled")


def test_an_altered_copy_of_a_validation_image_is_refused_as_before(drawn: Path, tmp_path: Path) -> None:
    root = write_table(drawn, tmp_path / "table")
    (root / "more").mkdir()
    (root / "more/copy.jpg").write_bytes((root / "1.jpg").read_bytes() + b"\0")  # the same picture, other bytes
    config = series_config(root, tmp_path / "runs", guard={"mode": "on"}, data={"unlabeled": ["more"], "folds": 2})
    with pytest.raises(UndeclaredError, match=r"copy\.jpg"):
        gate_of_pool(config)
