"""The command line in this process, for tests: starting a command would cost seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from ssl_mask.cli.app import main

Command = Callable[..., tuple[int, str, str]]
"""Words behind `sslmask` -> exit code, stdout, stderr."""
Cli = Callable[..., tuple[int, str]]
"""Words behind `sslmask` -> exit code, and all that is said, in one line without the frames of boxes."""


def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs what it is given."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sslmask", *words])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call
