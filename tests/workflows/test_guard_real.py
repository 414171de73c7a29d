"""The guard on real faces: eval photos as the pool, and copies of them hidden among the extra photos."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from ssl_mask.config import RunConfig
from ssl_mask.errors import UndeclaredError
from ssl_mask.workflows.train import train

pytestmark = pytest.mark.slow
Tiny = Callable[..., RunConfig]


def asked(root: Path, pool: Path, **guard: Any) -> dict[str, Any]:
    algorithm = {"name": "uda", "threshold": 0.2, "mu": 1}
    return {"data": {"root": str(root), "unlabeled": [str(pool)]}, "algorithm": algorithm, "guard": guard}


def test_eval_photos_are_refused_and_when_declared_marked(mask18: Path, tiny: Tiny) -> None:
    with pytest.raises(UndeclaredError, match="unlabeled overlaps test") as refused:
        train(tiny(**asked(mask18, mask18 / "eval/images", mode="on")), quiet=True)
    assert refused.value.exit_code == 4
    told = {"transductive": True, "reason": "a test", "allowed_by": "none"}
    run = train(tiny(**asked(mask18, mask18 / "eval/images", mode="on", **told)), quiet=True)
    assert run is not None and "transductive-test" in run.status.leakage


def test_hidden_copies_are_caught_and_nothing_else(mask18: Path, tiny: Tiny, tmp_path: Path) -> None:
    pool = tmp_path / "extra"
    shutil.copytree(mask18 / "extra", pool)
    for number, photo in enumerate(sorted((mask18 / "eval/images").iterdir())[:40:4]):
        cv2.imwrite(str(pool / f"holiday{number}.webp"), cv2.flip(cv2.imread(str(photo)), 1))
    run = train(tiny(**asked(mask18, pool, mode="on", drop_overlap=True)), quiet=True)
    assert run is not None
    left_out = [line for line in (run.path / "unlabeled.csv").read_text().splitlines() if "overlaps" in line]
    assert sorted(line.split(",")[0] for line in left_out) == [f"holiday{i}.webp" for i in range(10)]
