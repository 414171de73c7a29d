"""`--engine ray` on the command line: what is missing or cannot be meant is one error, before torch is loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command_line import Cli
from made_records import run_status

from ssl_mask.config import resolve, to_yaml
from ssl_mask.files import write_json, write_text


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A run of which only the records are there, and a folder of images."""
    run = tmp_path / "runs" / "train-001"
    write_json(run / "run.json", run_status().to_json())
    write_text(run / "config.yaml", to_yaml(resolve([{"preset": "laptop"}])))
    write_text(run / "checkpoints" / "best.safetensors", "")
    write_text(tmp_path / "extra" / "a.jpg", "")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "--images", "extra"], ["predict", "--images", "extra", "--shard", "all/3"], ["embed"],
        ["audit", "--train", "extra", "--test", "extra"], ["pseudo", "--unlabeled", "extra", "--data", "."],
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.usefixtures("begun")
def test_without_ray_one_sentence_says_what_to_install(
    cli: Cli, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, text = cli(*words, "--engine", "ray", "-q")
    assert (code, text.removeprefix("Error: ")) == (3, '--engine ray needs Ray. Install it: pip install "sslmask[ray]"')


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["predict", "--engine", "dask"], 2, "'dask' is not one of"),
        (["predict", "--engine", "ray", "--neighbours", "auto"], 3, "--engine ray cannot be used with --neighbours."),
        (["predict", "--engine", "ray", "--unknown", "0.05"], 3, "--engine ray cannot be used with --unknown."),
        (["predict", "--shard", "all/0"], 3, "--shard 'all/0' is not a shard. Shards count from 0: 0/10, 1/10"),
        (["predict", "--shard", "each/3"], 3, "--shard 'each/3' is not a shard."),
        (["audit", "--engine", "ray", "--processes", "3"], 3, "--processes counts processes of this machine"),
    ],
)
def test_what_cannot_be_meant_is_refused(cli: Cli, words: list[str], code: int, said: str) -> None:
    found, text = cli(*words)
    assert found == code and said in text
