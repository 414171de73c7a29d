"""What the tests of several workflows share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssl_mask.files import write_text
from ssl_mask.reports import plots, round_plots


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the plots empty: they take more than half of a small series."""

    def leave_empty(path: Path, *_: Any) -> None:
        write_text(path, "")

    for module, names in ((plots, ("curves", "confusion", "consistency")), (round_plots, ("selection", "rounds"))):
        for name in names:
            monkeypatch.setattr(module, f"write_{name}", leave_empty)
