"""What a command line can only mean by mistake is refused before torch is loaded: one clear error, nothing ignored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_line import Cli
from made_records import run_status

from ssl_mask.cli.early import check_file_to_write, check_folder_to_write, check_resumed, check_seeds, parse_seeds
from ssl_mask.cli.flags import Given
from ssl_mask.cli.predict_checks import EXCLUDED, OF_A_RUN, parse_shard, refuse_excluded
from ssl_mask.config import resolve, to_yaml
from ssl_mask.errors import ConfigError, InputError, StorageError
from ssl_mask.files import write_json, write_text
from ssl_mask.runs.study import create_study

CONFIG = resolve([{"preset": "laptop", "seed": 3, "data": {"root": "faces"}, "optim": {"lr": 0.01}}])


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A run, a study of seeds, one of folds and one of rounds, of which only the records are there."""
    for name in ("train-001", "pseudo-001"):
        write_json(tmp_path / "runs" / name / "run.json", run_status().to_json())
        write_text(tmp_path / "runs" / name / "config.yaml", to_yaml(CONFIG))
        write_text(tmp_path / "runs" / name / "checkpoints" / "best.safetensors", "")
    create_study(tmp_path / "runs/study-001", "uda", "seeds", CONFIG, {"seeds": [0, 1], "baseline": False})
    create_study(tmp_path / "runs/folded", "uda", "folds", CONFIG, {"folds": 3})
    create_study(tmp_path / "runs/pseudo-001/rounds", "pseudo", "rounds", CONFIG, {"rounds": 3})
    return tmp_path / "runs"


# ---- any option ----


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["train", "--data", ""], "--data"), (["train", "--name", " "], "--name"), (["train", "--set", ""], "--set"),
        (["uda", "-u", "extra", "-u", ""], "--unlabeled"), (["predict", "--run", ""], "--run"),
        (["predict", "--images", ""], "--images"), (["predict", "--out", ""], "--out"),
        (["evaluate", "--answers", ""], "--answers"), (["audit", "--test", ""], "--test"),
        (["pseudo", "--resume", ""], "--resume"), (["runs", "--runs", ""], "--runs"),
        (["demo", "--into", ""], "--into"),
        (["card", "verify", "a.json", "--root", ""], "--root"), (["augment", "--preset", ""], "--preset"),
    ],
    ids=lambda p: "-".join(p) if isinstance(p, list) else "",
)  # fmt: skip
def test_an_empty_value_is_not_this_folder(cli: Cli, words: list[str], name: str) -> None:
    code, text = cli(*words)
    assert code == 2 and f"{name} is empty. Give it a value, or leave it out." in text


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["train", "--steps", "5", "--steps", "6"], "--steps"),
        (["predict", "--images", "a", "--tta", "--images", "b"], "--images"),
        (["uda", "-u", "a", "--quiet", "-q"], "--quiet"),
        (["evaluate", "--answers", "a", "--answers", "a"], "--answers"),
    ],
    ids=lambda p: "-".join(p) if isinstance(p, list) else "",
)
def test_of_two_values_none_is_dropped_in_silence(cli: Cli, words: list[str], name: str) -> None:
    code, text = cli(*words)
    assert code == 2 and f"{name} is given twice. Give it once." in text


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["predict", "--guard", "offf"], "guard.mode: Input should be 'on' or 'off' (got 'offf')"),
        (["train", "--guard", "offf"], "guard.mode: Input should be 'on' or 'off' (got 'offf')"),
        (["uda", "-u", "x", "--on-bad", "skipp"], "data.on_bad: Input should be 'fail' or 'skip' (got 'skipp')"),
        (["uda", "-u", "x", "--algorithm", "mixmatch"], "algorithm.name: Input should be 'supervised', 'uda'"),
        (["pseudo", "-u", "x", "--rule", "best"], "pseudo.rule: Input should be 'precision'"),
        (["pseudo", "-u", "x", "--labels", "firm"], "pseudo.labels: Input should be 'hard' or 'soft' (got 'firm')"),
        (["predict", "--max-pixels", "0"], "data.max_pixels: Input should be greater than 0 (got 0)"),
        (["demo", "--seed", "-1"], "seed: Input should be greater than or equal to 0 (got -1)"),
        (["pseudo", "-u", "x", "--threshold", "nan"], "pseudo.threshold: Input should be"),
        (["pseudo", "-u", "x", "--threshold", "1e999"], "pseudo.threshold: Input should be"),
        (["pseudo", "-u", "x", "--target-precision", "nan"], "pseudo.target_precision: Input should be"),
        (["train", "--steps", "-1"], "train.steps: Input should be greater than or equal to 1 (got -1)"),
        (["train", "--epochs", "nan"], "train.epochs: Input should be"),
        (["train", "--epochs", "inf"], "train.epochs: Input should be"),
        (["train", "--seed", "1" + 30 * "0"], "seed: Input should be less than"),
        (["train", "--set", "optim.lr=.nan"], "optim.lr: Input should be"),
        (["uda", "-u", "x", "--seeds", "1,01"], "--seeds '1,01': expected different whole numbers"),
    ],
    ids=lambda p: "-".join(p)[:40] if isinstance(p, list) else "",
)
def test_a_value_that_a_setting_cannot_have_is_refused(cli: Cli, begun: Path, words: list[str], named: str) -> None:
    assert begun.is_dir()
    code, text = cli(*words)
    assert code == 3 and named in text


# ---- what does not go together ----


@pytest.mark.parametrize("text", ["3/3", "4/3", "-1/3", "1", "a/b", "1/0", "1/100000", "1.5/3", "1/3/5", "", "٣/9"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(InputError, match="is not a shard"):
        parse_shard(text)


def test_shards_count_from_0() -> None:
    assert parse_shard("0/1") == ([0], 1)
    assert parse_shard("9/10") == ([9], 10)


def asked(*options: str) -> dict[str, bool]:
    every = {*OF_A_RUN, *EXCLUDED, *(other for excluded in EXCLUDED.values() for other in excluded)}
    assert every >= set(options)
    return {option: option in options for option in every}


@pytest.mark.parametrize("other", ["--guard", "--names", "--on-bad fallback", "--neighbours", "--unknown", "--sets"])
def test_a_shard_ignores_no_option(other: str) -> None:
    with pytest.raises(InputError, match=f"^--shard cannot be used with {other}\\."):
        refuse_excluded(asked("--shard", other), ["a"])
    refuse_excluded(asked(other), ["a"])


def test_a_shard_is_of_one_run() -> None:
    with pytest.raises(InputError, match="--shard takes one --run"):
        refuse_excluded(asked("--shard"), ["a", "b"])
    refuse_excluded(asked("--shard"), ["a"])


def test_ray_refuses_what_it_would_ignore() -> None:
    for other in ("--neighbours", "--unknown"):
        with pytest.raises(InputError, match=f"--engine ray cannot be used with {other}"):
            refuse_excluded(asked("--engine ray", other), ["a"])
    refuse_excluded(asked("--engine ray", "--sets"), ["a"])
    refuse_excluded(asked("--engine ray", "--shard"), ["a"])


def test_an_exported_network_is_no_run() -> None:
    for option in ("--weights oof", "--neighbours", "--unknown", "--sets", "--shard", "--engine ray"):
        with pytest.raises(InputError, match=f"m.onnx is an exported network, which cannot be used with {option}"):
            refuse_excluded(asked(option), ["m.onnx"])
    refuse_excluded(asked("--names", "--guard", "--on-bad fallback"), ["m.onnx"])
    with pytest.raises(InputError, match=r"m\.onnx predicts alone, but there are 2 --run"):
        refuse_excluded(asked(), ["a", "m.onnx"])


def test_one_run_has_nothing_to_weigh() -> None:
    with pytest.raises(InputError, match="--weights oof weighs several --run"):
        refuse_excluded(asked("--weights oof"), ["a"])
    refuse_excluded(asked("--weights oof"), ["a", "b"])


def test_a_shard_with_the_guard_is_refused_on_the_command_line(cli: Cli, begun: Path) -> None:
    assert begun.is_dir()
    code, text = cli("predict", "--shard", "0/2", "--guard", "on", "--run", "train-001")
    assert code == 3 and "--shard cannot be used with --guard." in text


def test_images_that_are_not_there_are_refused_at_once(cli: Cli, begun: Path) -> None:
    assert begun.is_dir()
    for missing in ("nowhere", "nowhere/*.jpg"):
        code, text = cli("predict", "--run", "train-001", "--images", missing)
        assert code == 3 and f"There is no folder or file '{missing}', and no match for it." in text
        assert "Give --images a folder, one image, a quoted glob, or a CSV." in text


def test_what_is_predicted_is_named_once(cli: Cli, begun: Path) -> None:
    code, text = cli("predict", "--images", str(begun), "--data", str(begun))
    assert code == 3 and "--images and --data both say what to predict." in text


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["train", "--resume", "nothing"], "No run 'nothing'"),
        (["uda", "--resume", "nothing"], "No run 'nothing'"),
        (["uda", "--resume", "nothing", "--seeds", "0,1"], "nothing is not a study"),
        (["pseudo", "--resume", "nothing"], "nothing is not a study"),
        (["uda", "--resume", "pseudo-001", "--baseline"], "is a study that sslmask pseudo made"),
        (["uda", "--resume", "study-001", "--dry-run"], "--dry-run checks a single run"),
        (["uda", "--resume", "study-001", "--folds", "3"], "study-001 has no folds"),
        (["uda", "--resume", "study-001", "--refit"], "study-001 has no folds"),
        (["uda", "--resume", "folded", "--baseline"], "folded has no baseline"),
        (["uda", "--resume", "folded", "--seeds", "0,1"], "folded has other seeds"),
        (["uda", "-u", "x", "--seeds", "0,1", "--dry-run"], "--dry-run checks a single run"),
    ],
    ids=lambda p: "-".join(p) if isinstance(p, list) else "",
)
def test_a_run_that_cannot_be_continued_is_refused_at_once(cli: Cli, begun: Path, words: list[str], named: str) -> None:
    assert begun.is_dir()
    code, text = cli(*words)
    assert code == 3 and named in text


# ---- a run that is continued keeps its settings ----


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["train", "--resume", "train-001", "--seed", "4"], "seed: 3 in the run, 4 in this command"),
        (["train", "--resume", "train-001", "--set", "optim.lr=0.1"], "optim.lr: 0.01 in the run, 0.1 in this"),
        (["train", "--resume", "train-001", "--data", "other"], "data.root: faces in the run, other in this"),
        (["train", "--resume", "train-001", "--guard", "off"], "guard.mode: on in the run, off in this"),
        (["train", "--resume", "train-001", "--config", "gpu"], "preset: laptop in the run, gpu in this"),
        (["uda", "--resume", "study-001", "--steps", "9"], "train.steps"),
        (["uda", "--resume", "study-001", "--seeds", "0,1,2"], "study-001 has other seeds"),
        (["uda", "--resume", "study-001", "--baseline"], "study-001 has no baseline"),
        (["pseudo", "--resume", "pseudo-001", "--rounds", "1"], "pseudo.rounds: 3 in the run, 1 in this"),
        (["pseudo", "--resume", "pseudo-001", "--epochs", "2"], "train.epochs"),
    ],
    ids=lambda p: "-".join(p) if isinstance(p, list) else "",
)
def test_an_option_that_would_be_ignored_is_refused(cli: Cli, begun: Path, words: list[str], named: str) -> None:
    assert begun.is_dir()
    code, text = cli(*words)
    assert code == 3 and named in text and ("keeps the settings" in text or "study-001 has" in text)


def test_what_the_run_has_anyway_may_be_said_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    same = {"seed": 3, "data.root": tmp_path / "faces", "runs": Path("elsewhere"), "train.steps": 900}
    check_resumed(Given(same, ("laptop",), ("optim.lr=0.01",)), CONFIG, Path("runs/a"), longer=True)
    check_resumed(Given({}), CONFIG, Path("runs/a"), longer=False)
    check_seeds([0, 1], True, {"seeds": [0, 1], "baseline": True}, Path("study"))
    check_seeds(None, False, {"seeds": [0, 1], "baseline": True}, Path("study"))
    with pytest.raises(ConfigError, match=r"train\.steps: .* in the run, 900 in this command"):
        check_resumed(Given({"train.steps": 900}), CONFIG, Path("runs/a"), longer=False)


def test_seeds_are_whole_and_different() -> None:
    assert parse_seeds("3, 1") == [3, 1]
    assert parse_seeds(None) is None
    for wrong in ("1,1", "1,01", "a", "1.5", "", "-1"):
        with pytest.raises(InputError, match="--seeds"):
            parse_seeds(wrong)


# ---- where nothing can be written ----


def test_a_place_that_cannot_be_written_is_refused_at_once(
    cli: Cli, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begun.is_dir()
    Path("file").write_text("")
    Path("folder").mkdir()
    for words, named in (
        (["predict", "--out", "file"], "Cannot write into file: "),
        (["predict", "--out", "file/below"], "file is not a folder."),
        (["audit", "--out", "file"], "Cannot write into file: "),
        (["audit", "--drop-list", "folder"], "Cannot write folder: it is a folder."),
        (["audit", "--drop-list", "/dev/full"], "Cannot write /dev/full: it is not a file."),
        (["augment", "--out", "folder"], "Cannot write folder: it is a folder."),
        (["demo", "--into", "file/demo"], "file is not a folder."),
        (["train", "--runs", "file"], "Choose another folder: --runs"),
    ):
        code, text = cli(*words)
        assert code == 3 and named in text, words
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(StorageError, match="no permission to write in"):
        check_folder_to_write(Path("folder/new"), "--out")
    with pytest.raises(StorageError, match="no permission to write in"):
        check_file_to_write(Path("new.csv"), "--drop-list")
