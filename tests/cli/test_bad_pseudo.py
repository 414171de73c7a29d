"""Bad input of `sslmask pseudo` and `predict --shard`: one clear error that says what to do, and exit code 3."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from command_line import Cli

from ssl_mask.cli.app import main

SMALL = [
    "--set", "preset=none", "--set", "model.backbone=test_efficientnet", "--set", "model.weights=none",
    "--set", "model.image_size=32", "--steps", "2", "--set", "train.workers=0", "--set", "data.folds=2",
    "--set", "guard.mode=off",
]  # fmt: skip


@pytest.fixture(scope="module")
def started(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that serves as round 0. Read only."""
    work = tmp_path_factory.mktemp("started")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sslmask", "train", "--data", str(drawn), *SMALL, "--runs", str(work), "--quiet"])
        with pytest.raises(SystemExit):
            main()
    return work / "train-001"


def words(data: Path, *more: str, pool: str | None = "extra") -> list[str]:
    return ["pseudo", "--data", str(data), *(["--unlabeled", pool] if pool else []), *SMALL, *more]


def refused(cli: Cli, command: list[str], *named: str) -> None:
    code, text = cli(*command)
    assert code == 3, text
    assert "Traceback" not in text
    for name in named:
        assert name in text


# ---- the selection ----


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--rule", "threshold", "--threshold", "1.0"],
         ["Round 1 selects none of 52 images", "no confidence reaches 1.0 (the highest is 0."]),
        (["--rule", "precision", "--target-precision", "0.99"],
         ["selects none", "a precision of 0.99 on 42 validation images of 6 groups", "Lower --target-precision"]),
    ],
    ids=["threshold", "precision"],
)  # fmt: skip
def test_nothing_is_selected(cli: Cli, drawn: Path, started: Path, more: list[str], named: list[str]) -> None:
    refused(cli, words(drawn, *more, "--teacher", str(started)), *named)
    assert not list(Path("runs").glob("*/rounds/*/checkpoints"))


def test_a_pool_that_is_selected_as_a_whole_is_told(cli: Cli, drawn: Path, started: Path) -> None:
    code, text = cli(
        *words(drawn, "--rule", "threshold", "--threshold", "0", "--rounds", "1", "--teacher", str(started))
    )
    assert code == 0, text
    for head in ("mask", "gender", "age"):
        assert f"Note: {head}: every image is selected: the threshold does not tell right from wrong." in text


# ---- the pool and its answers ----


def test_no_pool_is_refused_before_anything_is_trained(cli: Cli, drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(cli, words(drawn, pool=None), "There are no unlabeled images", "--unlabeled DIR")
    refused(cli, words(drawn, pool="nowhere"), "'nowhere'")
    refused(cli, words(drawn, pool=str(tmp_path / "empty")), "No images in")
    assert not Path("runs").exists()


def test_the_answers_as_the_pool(cli: Cli, faces: Path) -> None:
    """Their images are not next to them; and the same file cannot be both."""
    names = sorted(p.name for p in (faces / "extra").iterdir())
    table = faces / "extra_answers.csv"
    table.write_text("ImageID,ans\n" + "".join(f"{n},0\n" for n in names))
    refused(
        cli, words(faces, pool=str(table)), f"extra_answers.csv names {len(names)} images", "none of them exists",
        names[0], "Give --unlabeled the folder",
    )  # fmt: skip
    for pool in (str(table), "extra_answers.csv"):  # relative to the data set's folder too
        more = words(faces, "--unlabeled", pool, "--audit-answers", str(table))
        refused(cli, more, "extra_answers.csv holds the answers", "folder of the images")
    refused(cli, words(faces, "--audit-answers", "nowhere.csv"), "No file nowhere.csv")
    assert not Path("runs").exists()


# ---- what it goes on from ----


def test_what_cannot_be_resumed_or_started_from(cli: Cli, drawn: Path, started: Path) -> None:
    refused(cli, words(drawn, "--resume", "nothing"), "nothing is not a study")
    refused(cli, words(drawn, "--resume", str(started)), "is not a study", "its own verb")
    refused(cli, words(drawn, "--teacher", "nothing"), "No run 'nothing'")
    other = ["--teacher", str(started), "--set", "data.fold=1"]
    refused(cli, words(drawn, *other), "No teacher has left out the validation images", "42 of these 42", "data.fold")
    assert not Path("runs").exists()


def test_a_round_of_an_unfinished_run_is_refused(cli: Cli, drawn: Path, started: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(started, tmp_path / "copy"))
    status = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**status, "status": "interrupted"}))
    refused(cli, words(drawn, "--teacher", str(copy)), "is not finished", f"sslmask train --resume {copy}")


def test_a_table_edited_by_hand_is_refused_by_its_row(cli: Cli, drawn: Path, started: Path) -> None:
    """A series with a selected round, whose training has not begun, is resumed on an unknown class."""
    command = words(drawn, "--set", "pseudo.rule=top_k", "--rounds", "1", "--teacher", str(started))
    assert cli(*command)[0] == 0
    folder = Path("runs/pseudo-001/rounds/01")
    table = folder / "pseudo_labels.csv"
    lines = table.read_text().splitlines()
    cells = lines[2].split(",")
    cells[lines[0].split(",").index("age")] = "young"
    table.write_text("\n".join([*lines[:2], ",".join(cells), *lines[3:]]) + "\n")
    for path in folder.iterdir():  # forget its training
        if path.name not in {"pseudo_labels.csv", "pool.parquet", "selection.json"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    named = ("pseudo_labels.csv:3", "'young' is not a known class")
    refused(cli, ["pseudo", "--resume", "pseudo-001"], *named)
    assert table.is_file()


# ---- stored predictions ----


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--rounds", "2", "--teacher", "RUN"], ["one model", "set rounds to 1"]),
        (["--group-consistency", "--teacher", "RUN"], ["know no groups"]),
        ([], ["--teacher RUN"]),
    ],
)
def test_stored_predictions_that_cannot_be_used(
    cli: Cli, drawn: Path, tmp_path: Path, more: list[str], named: list[str]
) -> None:
    refused(cli, words(drawn, "--from-predictions", str(tmp_path), *more), "pseudo", *named)
    assert not Path("runs").exists()


def test_shards_that_are_not_there(cli: Cli, drawn: Path, started: Path, tmp_path: Path) -> None:
    predict = ["predict", "--run", str(started), "--images", str(drawn / "extra"), "--out", str(tmp_path / "shards")]
    select = words(drawn, "--from-predictions", str(tmp_path / "shards"), "--teacher", str(started))
    refused(cli, select, "holds no shards of predictions", "shard-00000-of-00001.parquet")
    assert cli(*predict, "--shard", "0/3")[0] == 0
    refused(cli, select, "lacks shard-00001-of-00003.parquet and 1 more", "Predict what is missing")
    for text in ("3/3", "a", "1/0"):
        refused(cli, [*predict, "--shard", text], f"--shard '{text}' is not a shard", "Shards count from 0")
    refused(cli, [*predict, "--shard", "0/3", "--run", "latest"], "--shard takes one --run")
    refused(cli, [*predict, "--shard", "0/3", "--on-bad", "fallback"], "--shard cannot be used with --on-bad fallback")


# ---- folds ----


def test_folds_that_cannot_be(cli: Cli, drawn: Path, started: Path, tmp_path: Path) -> None:
    """Refused before anything is trained; a run of one fold teaches that fold alone."""
    refused(cli, words(drawn, "--refit"), "--refit has no meaning without --folds", "Add --folds 5")
    stored = ["--from-predictions", str(tmp_path), "--teacher", str(started)]
    refused(cli, words(drawn, "--folds", "2", *stored), "Stored predictions are of one model")
    refused(cli, words(drawn, "--folds", "2", "--teacher", str(started)), "the validation images of fold 1", "study of")
    refused(cli, words(drawn, "--folds", "40"), "too few for 40 folds")
    assert not list(Path("runs").glob("*/study.json"))
