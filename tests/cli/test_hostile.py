"""A selection of damaged and hostile files, each given to the verb that reads it: one clear error, no code run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a fork and a verb for each variant, on any machine
def test_hostile_files_are_one_clear_error_each() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "hostile.py"
    done = subprocess.run([sys.executable, script, "--sample", "60"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
