"""Every kind of bad input: one clear error that names the row, file or key, exit code 3, and nothing overwritten."""

from __future__ import annotations

import errno
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Cli

SMALL = [
    "--set", "preset=none", "--set", "model.backbone=test_efficientnet", "--set", "model.weights=none",
    "--set", "model.image_size=32", "--steps", "2", "--set", "train.workers=0", "--set", "data.folds=2",
]  # fmt: skip


def refused(cli: Cli, data: Path, *names: str, more: tuple[str, ...] = ()) -> None:
    code, text = cli("train", "--data", str(data), *SMALL, *more)
    assert code == 3, text
    assert "Traceback" not in text
    for name in names:
        assert name in text
    assert not list(Path("runs").glob("*/checkpoints"))


def edit(faces: Path, change: Callable[[list[str]], list[str]]) -> None:
    table = faces / "train/train.csv"
    table.write_text("\n".join(change(table.read_text().splitlines())) + "\n")


def a_photo(faces: Path) -> Path:
    return sorted((faces / "train/images").rglob("mask3.jpg"))[4]


def test_no_data_here(cli: Cli, tmp_path: Path) -> None:
    refused(cli, tmp_path, "No data set found", "sslmask demo")
    refused(cli, tmp_path / "nowhere", "nowhere")


def test_missing_column(cli: Cli, faces: Path) -> None:
    edit(faces, lambda lines: [lines[0].replace("gender", "sex"), *lines[1:]])
    refused(cli, faces, "train.csv", "no column 'gender'")


def test_unknown_gender(cli: Cli, faces: Path) -> None:
    edit(
        faces,
        lambda lines: [*lines[:3], lines[3].replace(",male,", ",mail,").replace(",female,", ",femal,"), *lines[4:]],
    )
    refused(cli, faces, "train/train.csv:4", "is not a known class", "Did you mean")


def test_age_text(cli: Cli, faces: Path) -> None:
    def change(lines: list[str]) -> list[str]:
        cells = lines[2].split(",")
        return [*lines[:2], ",".join([*cells[:3], "old", cells[4]]), *lines[3:]]

    edit(faces, change)
    refused(cli, faces, "train/train.csv:3", "age 'old'")


def test_folder_missing_for_a_row(cli: Cli, faces: Path) -> None:
    folder = a_photo(faces).parent
    folder.rename(folder.with_name("moved"))
    refused(cli, faces, "train/train.csv:", folder.name)


def test_one_id_with_two_labels(cli: Cli, faces: Path) -> None:
    def change(lines: list[str]) -> list[str]:
        cells = lines[1].split(",")
        other = {"male": "female", "female": "male"}[cells[1]]
        return [*lines, ",".join([cells[0], other, *cells[2:]])]

    edit(faces, change)
    refused(cli, faces, "twice", "different labels")


def test_class_with_one_person(cli: Cli, faces: Path) -> None:
    """Of the two old men one stays."""
    lines = (faces / "train/train.csv").read_text().splitlines()
    old = [x for x in lines[1:] if x.split(",")[1] == "male" and int(x.split(",")[3]) >= 60]
    edit(faces, lambda lines: [x for x in lines if x not in old[1:]])
    refused(cli, faces, "male/>=60", "1 group(s)", "data.min_groups=1")


@pytest.mark.parametrize(
    "content",
    [b"", b"not a picture, only text in a file called .jpg\n" * 20, None],
    ids=["empty", "text", "truncated"],
)
def test_unreadable_photo(cli: Cli, faces: Path, content: bytes | None) -> None:
    photo = a_photo(faces)
    photo.write_bytes(photo.read_bytes()[:900] if content is None else content)
    refused(cli, faces, f"{photo.parent.name}/{photo.name}")


def test_bomb(cli: Cli, faces: Path) -> None:
    photo = a_photo(faces)
    header = struct.pack(">IIBBBBB", 10_000, 10_001, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    body = b"IDAT" + zlib.compress(bytes(1000))
    photo.write_bytes(png + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)))
    refused(cli, faces, photo.name, "10000", "data.max_pixels")


def test_path_out_of_the_data_folder(cli: Cli, faces: Path) -> None:
    edit(faces, lambda lines: [*lines[:2], ",".join([*lines[2].split(",")[:4], "../../../elsewhere"]), *lines[3:]])
    refused(cli, faces, "train/train.csv:3", "leads out")


def test_link_out_of_the_data_folder(cli: Cli, faces: Path, tmp_path: Path) -> None:
    photo = a_photo(faces)
    outside = tmp_path / "secret.jpg"
    photo.rename(outside)
    photo.symlink_to(outside)
    refused(cli, faces, photo.name, "is a link to a file outside", "data.outside_root=allow")
    code, text = cli("train", "--data", str(faces), *SMALL, "--dry-run", "--set", "data.outside_root=allow")
    assert code == 0, text


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--set", "optim.learning_rate=1"], ["optim.learning_rate", "no such key"]),
        (["--set", "modle.scale=3"], ["modle", "Did you mean 'model'"]),
        (["--set", "train.batch_size=many"], ["train.batch_size", "'many'"]),
        (["--set", "optim.lr=-1", "--set", "loss.margin=9"], ["optim.lr", "loss.margin"]),
        (["--set", "nonsense"], ["nonsense", "section.key=value"]),
        (["--config", "labtop"], ["labtop", "laptop"]),
        (["--set", "model.backbone=resnet5O"], ["resnet5O", "Did you mean"]),
        (["--set", "model.weights=missing.pth"], ["missing.pth"]),
        (["--set", "data.options.age_bondary=58"], ["data.options.age_bondary", "age_boundary"]),
        (["--set", "augment.preset=stong"], ["stong", "strong"]),
        (["--set", "loss.label_smoothing=.1", "--set", "loss.smoothing_classes=[30-95]"], ["30-95", "30-59"]),
        (["--set", "train.batch_size=10", "--set", "train.accumulate=3"], ["batch_size", "accumulate"]),
        (["--resume", "nothing"], ["nothing"]),
        (["--init-from", "nothing"], ["nothing"]),
        (["--set", "data.corrections=gone.csv"], ["gone.csv"]),
    ],
)
def test_wrong_settings(cli: Cli, drawn: Path, words: list[str], named: list[str]) -> None:
    refused(cli, drawn, *named, more=tuple(words))


def test_taken_name_overwrites_nothing(cli: Cli, drawn: Path) -> None:
    code, text = cli("train", "--data", str(drawn), *SMALL, "--name", "mine")
    assert code == 0, text
    before = {p: p.read_bytes() for p in Path("runs/mine").rglob("*") if p.is_file()}
    code, text = cli("train", "--data", str(drawn), *SMALL, "--name", "mine")
    assert code == 3
    assert "--resume mine" in text
    assert {p: p.read_bytes() for p in Path("runs/mine").rglob("*") if p.is_file()} == before


def test_checkpoint_of_another_schema(cli: Cli, drawn: Path, tmp_path: Path) -> None:
    code, text = cli("train", "--data", str(drawn), *SMALL, "--name", "mine")
    assert code == 0, text
    photos = sorted((drawn / "extra").iterdir())
    for number, photo in enumerate(photos[:12]):
        target = tmp_path / "pets/train" / ("cat", "dog")[number % 2] / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(photo.read_bytes())
        (tmp_path / "pets/test").mkdir(exist_ok=True)
        (tmp_path / "pets/test" / photo.name).write_bytes(photo.read_bytes())
    code, text = cli("predict", "--run", "mine", "--data", str(tmp_path / "pets"))
    assert code == 3
    assert "other classes" in text
    assert "mine" in text


def test_unwritable_runs_folder(cli: Cli, drawn: Path) -> None:
    Path("file").write_text("in the way")
    refused(cli, drawn, "file", "Cannot write", more=("--runs", "file/runs"))


def test_full_disk(cli: Cli, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up while the first state is saved: one message, and the best weights are whole."""
    import torch

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    code, text = cli("train", "--data", str(drawn), *SMALL, "--name", "mine")
    assert code == 3
    assert "the disk is full" in text
    assert "last.state" in text
    assert Path("runs/mine/checkpoints/best.safetensors").is_file()
    assert not list(Path("runs/mine").rglob("*.tmp"))


def test_predict_and_evaluate_without_a_run(cli: Cli) -> None:
    for words in (["predict"], ["evaluate", "--answers", "a.csv"]):
        code, text = cli(*words)
        assert code == 3
        assert "sslmask train" in text


def test_usage_errors_have_their_own_code(cli: Cli) -> None:
    code, _ = cli("train", "--no-such-flag")
    assert code == 2


# ---- the unlabeled pool ----


def refused_pool(cli: Cli, faces: Path, *names: str, more: tuple[str, ...] = (), pool: str = "extra") -> None:
    code, text = cli("uda", "--data", str(faces), "--unlabeled", pool, *SMALL, *more)
    assert code == 3, text
    assert "Traceback" not in text
    for name in names:
        assert name in text
    assert not list(Path("runs").glob("*/checkpoints"))


def test_no_pool_is_named(cli: Cli, faces: Path) -> None:
    code, text = cli("uda", "--data", str(faces), *SMALL)
    assert code == 3
    assert "There are no unlabeled images" in text
    assert "--unlabeled" in text


def test_an_empty_pool(cli: Cli, faces: Path) -> None:
    (faces / "empty").mkdir()
    refused_pool(cli, faces, "No images in", "empty", pool="empty")
    refused_pool(cli, faces, "There is no folder or file 'nowhere'", pool="nowhere")


def test_a_pool_with_unreadable_files(cli: Cli, faces: Path) -> None:
    (faces / "extra/broken.jpg").write_bytes(b"\xff\xd8 cut")
    refused_pool(cli, faces, "1 of", "cannot be read", "broken.jpg", "--on-bad skip")
    code, _ = cli("uda", "--data", str(faces), "--unlabeled", "extra", "--on-bad", "skip", "--drop-overlap", *SMALL)
    assert code == 0
    assert "broken.jpg" in Path("runs/uda-001/unlabeled.csv").read_text()


def test_a_pool_that_is_the_training_set(cli: Cli, faces: Path) -> None:
    refused_pool(cli, faces, "can be used", "same bytes as the labeled", pool="train/images")


def test_a_csv_pool_without_an_image_column(cli: Cli, faces: Path) -> None:
    (faces / "pool.csv").write_text("colour\nred\n")
    refused_pool(cli, faces, "pool.csv", "no image column", pool="pool.csv")


def test_an_unknown_algorithm_and_wrong_seeds(cli: Cli, faces: Path) -> None:
    refused_pool(cli, faces, "algorithm.name", "'mixmatch'", more=("--algorithm", "mixmatch"))
    refused_pool(cli, faces, "--seeds '1,one'", more=("--seeds", "1,one"))


def test_a_run_is_not_a_study(cli: Cli, faces: Path) -> None:
    code, text = cli("uda", "--data", str(faces), "--resume", "nothing", "--baseline", *SMALL)
    assert code == 3
    assert "is not a study" in text
