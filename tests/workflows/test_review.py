"""From training to review and back: what was excluded is in no split, and the run keeps who said so and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import ssl_mask
from ssl_mask.config import DataConfig, RunConfig
from ssl_mask.console import Console
from ssl_mask.data.load import read_manifest
from ssl_mask.data.tables import read_csv
from ssl_mask.workflows.review import gather
from ssl_mask.workflows.train import train

Tiny = Callable[..., RunConfig]


def test_what_is_excluded_and_corrected_is_said(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = read_manifest(DataConfig(root=drawn, folds=2, min_groups=1), Console(quiet=True))
    first, second = plain.where("train").rows[0], plain.where("val").rows[0]
    table = tmp_path / "fix.csv"
    mask = plain.schema.factors[0].classes[(second.labels or (0,))[0] - 1]
    table.write_text(f"group,path,mask,exclude\n{first.group},,,yes\n,{second.path},{mask},\n")
    made = read_manifest(DataConfig(root=drawn, folds=2, min_groups=1, corrections=table), Console())
    assert first.group not in made.where("train", "val").groups
    out = [r.path for r in plain.where("train", "val").rows if r.group == first.group]
    assert list(made.excluded) == out and len(made) == len(plain) - len(out)
    said = capsys.readouterr()
    assert f"Labels of 1 images are corrected, {len(out)} are excluded, by {table}" in said.out + said.err


@pytest.mark.slow
def test_a_run_keeps_its_corrections_and_review_goes_on_with_them(tiny: Tiny, drawn: Path, tmp_path: Path) -> None:
    row = read_manifest(DataConfig(root=drawn, folds=2, min_groups=1), Console(quiet=True)).where("train").rows[0]
    table = tmp_path / "fix.csv"
    table.write_text(f"path;exclude;reviewer;reason\n{row.path};yes;Kim;two faces\n")
    run = train(tiny(data={"corrections": str(table), "min_groups": 1}), quiet=True)
    assert run is not None
    folder = ssl_mask.load_run(run.path).path
    assert (folder / "corrections.csv").read_bytes() == table.read_bytes()
    ((_, left),) = read_csv(folder / "left_out.csv")
    assert left == {"path": row.path, "why": f"excluded at {table}:2 by Kim: two faces"}
    assert row.path not in (folder / "manifest.csv").read_text()
    table.unlink()
    assert gather(folder).earlier == f"path,exclude,reviewer,reason\n{row.path},yes,Kim,two faces\n"
    assert ssl_mask.review(folder).read_text().startswith("<!doctype html>")
