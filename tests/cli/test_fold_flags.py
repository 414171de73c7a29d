"""`--folds`, `--repeats`, `--refit`, `--resume STUDY`: what does not go together is one clear error, without torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Cli

from ssl_mask.config import RunConfig
from ssl_mask.runs.create import begin_run
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.study import create_study


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a study of three folds, and a run."""
    config = RunConfig(preset="none")
    create_study(tmp_path / "runs/s", "train", "folds", config, {"folds": 3, "repeats": 2})
    run = RunDir(tmp_path / "runs/r")
    run.path.mkdir()
    begin_run(run, config, "train")
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "problem", "next_step"),
    [
        (["train", "--repeats", "2"], "--repeats has no meaning without --folds", "Add --folds 5"),
        (["uda", "-u", "extra", "--refit"], "--refit has no meaning without --folds", "leave out --refit"),
        (["uda", "-u", "extra", "--folds", "3", "--seeds", "0,1"], "--folds does not go with", "leave out --folds"),
        (["uda", "-u", "extra", "--folds", "3", "--baseline"], "--folds does not go with", "leave out --folds"),
        (["train", "--resume", "s", "--folds", "4"], "runs/s has folds 3, not 4", "Leave out --folds"),
        (["train", "--resume", "s", "--repeats", "1"], "runs/s has repeats 2, not 1", "Leave out --repeats"),
        (["train", "--resume", "s", "--set", "optim.lr=0.5"], "optim.lr: 0.001 in the run, 0.5", "Leave them out"),
        (["uda", "--resume", "s"], "s is a study that sslmask train made", "sslmask train --resume s"),
        (["train", "--resume", "r", "--folds", "3"], "r is not a study of folds", "leave out --resume"),
        (["train", "--resume", "r", "--refit"], "--refit has no meaning without --folds", "leave out --refit"),
    ],
    ids=lambda p: "-".join(p) if isinstance(p, list) else "",
)
def test_what_does_not_go_together_is_one_error(cli: Cli, words: list[str], problem: str, next_step: str) -> None:
    code, told = cli(*words)
    assert code == 3 and problem in told and next_step in told and told.count("Error: ") == 1


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("count", ["1", "0", "-2"])
def test_fewer_than_two_folds_are_no_folds(cli: Cli, count: str) -> None:
    code, told = cli("train", "--folds", count)
    assert code == 2 and "--folds" in told


@pytest.mark.parametrize(
    ("words", "problem", "next_step"),
    [
        (["pseudo", "-u", "extra"], "sslmask pseudo knows no model per factor", "Leave `factors` out."),
        (["pseudo", "-u", "extra", "--folds", "2"], "sslmask pseudo knows no model per factor", "Leave `factors` out."),
        (["uda", "-u", "extra", "--baseline"], "factors do not go with --baseline", "leave out factors"),
        (["tune", "--space", "space.yaml"], "A search is of one model, not of factor models", "data.factor=NAME"),
    ],
    ids=lambda p: "-".join(p) if isinstance(p, list) else "",
)
def test_who_knows_no_factor_models_says_so_once(
    cli: Cli, drawn: Path, words: list[str], problem: str, next_step: str
) -> None:
    Path("sslmask.yaml").write_text(f"preset: none\ndata: {{root: {drawn}}}\nfactors: {{size: {{seed: 3}}}}\n")
    Path("space.yaml").write_text("optim.lr: [0.1, 0.01]\n")
    code, told = cli(*words)
    assert code == 3 and problem in told and next_step in told and told.count("Error: ") == 1
    assert not Path("runs").exists()
