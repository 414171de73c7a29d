"""`sslmask card make`: of a data set, of a pool, and what it refuses before anything is imported or written."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from command_line import Cli, Command
from huggingface_hub import DatasetCard


@pytest.fixture
def here(drawn: Path, tmp_path: Path, command: Command) -> Path:  # noqa: ARG001 - it changes the working folder
    shutil.copytree(drawn, tmp_path / "my faces")
    return tmp_path


def test_a_data_set_gets_a_card_a_table_and_croissant(here: Path, command: Command) -> None:
    code, out, _ = command("card", "make", "my faces", "--license", "cc0-1.0", "--json")
    made, folder = json.loads(out), here / "data_cards/my faces"
    assert code == 0 and made["card"] == "data_cards/my faces/README.md" and made["url"] is None
    card = DatasetCard((folder / "README.md").read_text(), ignore_metadata_errors=False)
    assert card.data.to_dict()["license"] == "cc0-1.0" and card.data.to_dict()["pretty_name"] == "my faces"
    with (folder / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert hashlib.sha256((here / "my faces" / row["path"]).read_bytes()).hexdigest() == row["sha256"]
    with (here / "my faces/train/train.csv").open(newline="") as file:
        persons = len(list(csv.DictReader(file)))
    counts = Counter(row["split"] for row in rows)
    assert len({row["group"] for row in rows if row["group"]}) == persons and set(counts) == {"train", "test"}
    assert f"| train | {counts['train']} | {counts['train']} | {persons} |" in card.text
    described = json.loads((folder / "croissant.json").read_text())
    assert described["distribution"][0]["sha256"] == hashlib.sha256((folder / "images.csv").read_bytes()).hexdigest()
    assert str(here) not in "".join(path.read_text() for path in folder.iterdir())
    assert {path.suffix for path in folder.iterdir()} == {".md", ".csv", ".json"}, "no photo is copied"


def test_a_pool_gets_them_from_its_data_card(here: Path, cli: Cli) -> None:
    assert cli("audit", "--train", "my faces/train/images", "--test", "my faces/eval/images", "--out", "found")[0] == 0
    code, said = cli("card", "make", "found/train.md")
    assert code == 0 and "data_cards/train/croissant.json" in said
    card = json.loads((here / "found/train.json").read_text())
    with (here / "data_cards/train/images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(r["sha256"] for r in rows) == sorted(f["sha256"] for f in card["predicate"]["files"])
    assert all((here / "my faces/train/images" / row["path"]).is_file() for row in rows)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("latest", "--license", "MIT"), 3, "knows no such license. Did you mean 'mit'"),
        (("latest", "--push", "masks"), 3, "'masks' is not OWNER/NAME"),
        (("latest",), 3, "No run with a checkpoint"),
        (("nothing",), 3, "No run 'nothing'"),
        (("my faces", "--push", "me/faces"), 3, "photos are never pushed"),
        (("my faces/train/train.csv",), 3, "No run"),
        (("model.onnx",), 3, "model.onnx"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(
    here: Path, cli: Cli, words: tuple[str, ...], code: int, said: str
) -> None:
    assert (found := cli("card", "make", *words))[0] == code and said in found[1]
    assert not (here / "data_cards").exists()
