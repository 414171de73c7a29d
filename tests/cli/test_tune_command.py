"""The command line of `sslmask tune`: what is wrong is one error, before torch is loaded or anything is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from command_line import Cli, Command
from small_searches import SPACE, made_trial
from tiny_runs import TINY

from ssl_mask.workflows import tune_folds


@pytest.fixture
def tried(command: Command, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs a command in a folder with a space; returns its exit code and what it printed."""
    monkeypatch.setattr(tune_folds, "train_trial", made_trial)
    (tmp_path / "sslmask.yaml").write_text(yaml.safe_dump({**TINY, "data": {"root": str(drawn)}}))
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))

    def run(*words: str) -> tuple[int, str]:
        code, out, err = command("tune", *words)
        return code, out + err

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "A search needs a space.\nName its file: sslmask tune --space space.yaml"),
        (("--space", "spaces.yaml"), "No file spaces.yaml."),
        (("--space", "space.yaml", "--engine", "grid"), "--engine 'grid' is not known.\nKnown: optuna, ray."),
        (("--space", "space.yaml", "--metric", "f1"), "--metric 'f1' is not known.\nKnown: macro_f1, nll."),
        (("--space", "space.yaml", "--parallel", "2"), "--parallel needs --engine ray."),
        (("--space", "space.yaml", "--set", "optim.lrr=1"), "optim.lrr: no such key."),
        (("--resume", "nothing"), "nothing is not a study."),
    ],
)
def test_what_is_wrong_is_one_error(tried: Cli, words: tuple[str, ...], said: str) -> None:
    code, text = tried(*words)
    assert code == 3 and said in text and "Traceback" not in text
    assert not Path("runs").exists()


def test_a_dry_run_says_what_a_search_costs_and_writes_nothing(tried: Cli) -> None:
    words = ("--space", "space.yaml", "--trials", "4", "--folds", "2", "--confirm", "1", "--dry-run")
    code, text = tried(*words, "--json")
    assert code == 0 and json.loads(text[text.index("{\n") : text.rindex("}") + 1])["status"] == "dry-run"
    assert (
        "Search: 4 trials of 2 runs, each of 6 steps of" in text
        and "the default and the winner on another split: 4 runs." in text
    )
    assert text.count("Data   ") == text.count("Guard  ") == text.count("Estimate: ") == 1
    assert sorted(p.name for p in Path().iterdir()) == ["space.yaml", "sslmask.yaml"]
    code, text = tried("--resume", "nothing", "--dry-run")
    assert code == 3


def test_a_dry_run_of_folds_says_the_data_once(tried: Cli, command: Command) -> None:  # noqa: ARG001
    code, out, err = command("train", "--folds", "2", "--dry-run")
    assert code == 0 and "Study: 2 runs (2 folds x 1), each of 6 steps" in out
    assert out.count("Data   ") == out.count("Guard  ") == out.count("Estimate: ") == 1 and "Error" not in err


@pytest.mark.parametrize(("engine", "module"), [("optuna", "optuna"), ("ray", "ray")])
def test_without_the_library_it_says_what_to_install(
    tried: Cli, engine: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    code, text = tried("--space", "space.yaml", "--engine", engine)
    extra = {"optuna": "tune", "ray": "ray"}[engine]
    assert code == 3 and f'Install it: pip install "sslmask[{extra}]"' in text and not Path("runs").exists()


def test_a_search_by_command_and_what_resuming_it_refuses(tried: Cli) -> None:
    code, text = tried("--space", "space.yaml", "--trials", "6", "--confirm", "1", "--name", "s", "--json")
    answer = json.loads(text[text.index("{\n") : text.rindex("}") + 1])
    assert code == 0 and answer["search"] == "runs/s" and answer["recommended"] in {True, False}
    for words, said in (
        (("--folds", "5"), "runs/s has folds 3, not 5."),
        (("--metric", "nll"), "runs/s has metric macro_f1, not nll."),
        (("--set", "optim.lr=0.5"), "runs/s keeps the settings that it began with"),
        (("--space", "laptop"), "runs/s has another space than laptop."),
        (("--trials", "2"), "runs/s has 6 trials, not 2."),
    ):
        code, text = tried("--resume", "s", *words)
        assert code == 3 and said in text
    code, text = tried("--resume", "s", "--trials", "7")
    assert code == 0 and "7 of 7 ended" in text
    assert tried("--resume", "s", "--space", "space.yaml", "--folds", "3")[0] == 0
    code, text = tried("--space", "space.yaml", "--trials", "6", "--confirm", "1", "--name", "s")
    assert code == 3 and "The run runs/s exists" in text  # it has other settings now


def test_a_finished_search_is_resumed_with_ctrl_c_in_between(tried: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tune_folds, "train_trial", stopped)
        code, text = tried("--space", "space.yaml", "--trials", "3", "--confirm", "0")
    assert code == 130 and "Continue with: sslmask tune --resume runs/tune-001" in text
    code, text = tried("--space", "space.yaml", "--trials", "3", "--confirm", "0")
    assert code == 0 and "Goes on with runs/tune-001" in text
