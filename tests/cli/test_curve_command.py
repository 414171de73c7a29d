"""The command line of `sslmask curve`: what is wrong is one error, before torch is loaded or anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Cli


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--fractions", "a,b"), "are no numbers with commas between them"), (("--set", "factors={age: {}}"), "factor")],
)
def test_what_is_wrong_is_one_error(cli: Cli, drawn: Path, words: tuple[str, ...], said: str) -> None:
    code, text = cli("curve", "--data", str(drawn), *words)
    assert code == 3 and said in text and "Traceback" not in text
    assert not Path("runs").exists() and not Path("curve.json").exists()
