"""What a layout found and did not read is said, not passed over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data import load
from ssl_mask.data.layouts import read_dataset


def test_notes_of_a_layout_are_warnings(
    drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = replace(read_dataset(drawn), notes=("2 images are not read.", "Nor is a third."))
    monkeypatch.setattr(load, "read_dataset", lambda *_args, **_kwargs: noted)
    load.read_manifest(DataConfig(root=drawn), Console())
    assert "Note: 2 images are not read.\nNote: Nor is a third.\n" in capsys.readouterr().out
