"""`python -m ssl_mask.reports.x` shows what x makes, with made-up data."""

from __future__ import annotations

import runpy
import sys
import tempfile
from pathlib import Path

import pytest

import ssl_mask

TEXTS = {
    "run_card": "**Optimistic**",
    "model_card": "**Leakage: photos-clean**",
    "dataset_card": "3 groups (persons)",
    "comparison": "baseline macro-F1",
    "round_table": "Pseudo-labels for 22600 images",
    "score_table": "too few to say",
    "factors": "not corrected by the joint prior",
    "speed_table": "840 photos in 32 s, of which 25.2 s to read them",
    "study_card": "(95 % interval 0.451 to 0.516)",
    "compared_page": "mixed is better than train-001",
    "tune_card": "**Recommended: trial",
}
PLOTS = {
    "plots": {"curves.svg", "consistency.svg"},
    "confusion_plot": {"confusion.svg"},
    "fold_plots": {"folds.svg"},
    "lr_plot": {"find-lr.svg"},
    "curve_plot": {"curve.svg"},
    "round_plots": {"selection.svg", "rounds.svg"},
    "tune_plots": {"history.svg", "importance.svg", "parallel.svg"},
}


def test_all_that_show_themselves_are_tried() -> None:
    folder = Path(ssl_mask.__file__).parent / "reports"
    shown = {p.stem for p in folder.glob("*.py") if '__name__ == "__main__"' in p.read_text(encoding="utf-8")}
    assert shown == TEXTS.keys() | PLOTS.keys()


@pytest.mark.parametrize(("module", "words"), TEXTS.items())
def test_texts(module: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, f"ssl_mask.reports.{module}", raising=False)
    runpy.run_module(f"ssl_mask.reports.{module}", run_name="__main__")
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(("module", "files"), PLOTS.items())
def test_plots(
    module: str,
    files: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delitem(sys.modules, f"ssl_mask.reports.{module}", raising=False)
    runpy.run_module(f"ssl_mask.reports.{module}", run_name="__main__")
    folder = Path(capsys.readouterr().out.strip())
    assert folder.parent == tmp_path
    assert {p.name for p in folder.iterdir()} == files
