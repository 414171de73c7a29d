"""What the tests of several workflows share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from series import series_config, write_answers

from ssl_mask.files import write_text
from ssl_mask.reports import plots, round_plots
from ssl_mask.runs import Run
from ssl_mask.workflows.pseudo import pseudo


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the plots empty: they take more than half of a small series."""

    def leave_empty(path: Path, *_: Any) -> None:
        write_text(path, "")

    for module, names in ((plots, ("curves", "confusion", "consistency")), (round_plots, ("selection", "rounds"))):
        for name in names:
            monkeypatch.setattr(module, f"write_{name}", leave_empty)


@pytest.fixture(scope="session")
def done(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished series of two rounds, with plots and an audit. Read only."""
    work = tmp_path_factory.mktemp("series")
    answers = write_answers(drawn, work / "answers.csv")
    return pseudo(series_config(drawn, work / "runs"), audit_answers=answers, quiet=True)
