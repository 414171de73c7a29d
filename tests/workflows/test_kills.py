"""Killed and continued: what `tests/benchmarks/kills.py` shows at length, in small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parents[1] / "benchmarks/kills.py"


@pytest.mark.slow
@pytest.mark.timeout(1200)  # some forty starts of verbs, on any machine
def test_killed_twenty_times(tmp_path: Path) -> None:
    """In a process of its own: what forks must have no thread but the one that forks, and tests have had some."""
    command = [sys.executable, str(KILLS), "--kills", "20", "--work", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
