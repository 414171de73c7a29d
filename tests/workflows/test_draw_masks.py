"""`sslmask prepare --draw-masks`: what is drawn into, what is written about it, and what trains on it."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from command_line import commands
from numpy.typing import NDArray
from PIL import Image

from ssl_mask.config import DataConfig
from ssl_mask.console import Console
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.load import read_manifest
from ssl_mask.data.prepare.blazeface import Face
from ssl_mask.data.prepare.drawn_photos import FOLDER, SYNTHETIC, DrawSettings, parse_draw
from ssl_mask.data.prepare.one_photo import Models, PrepareSettings
from ssl_mask.errors import ConfigError, DataError, Interrupted
from ssl_mask.guard.origins import sources_of
from ssl_mask.workflows import prepare as workflow
from ssl_mask.workflows.prepare import prepare

POINTS = ((24.0, 24.0), (40.0, 24.0), (32.0, 35.0), (32.0, 42.0), (14.0, 28.0), (50.0, 28.0))
DRAW = "mask=none,worn,incorrect"
PERSONS = {"p1": ("male", 20), "p2": ("male", 40), "p3": ("female", 70), "p4": ("female", 75)}


def find(picture: NDArray[np.uint8], min_confidence: float) -> list[Face]:  # noqa: ARG001
    """In each photo of skin one face; blue ones have none."""
    return [Face(10, 10, 54, 54, 0.9, POINTS)] if picture[..., 0].mean() > picture[..., 2].mean() else []


def use(monkeypatch: pytest.MonkeyPatch, of: Callable[..., list[Face]] = find) -> None:
    """In place of the detector, so that these tests need no extra."""
    fake: Any = SimpleNamespace(digests={"faces": "0" * 64}, here=lambda: Models(of, None))  # type: ignore[arg-type]
    monkeypatch.setattr(workflow, "ThreadModels", lambda settings: fake)  # noqa: ARG005


def photo(seed: int, *, face: bool = True) -> Image.Image:
    skin = np.array([190, 140, 110] if face else [60, 90, 200]) + seed % 40
    noise = np.random.default_rng(seed).normal(0, 4, (64, 64, 3))
    return Image.fromarray(np.clip(skin + noise, 0, 255).astype(np.uint8))


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four persons in the mask18 layout, of whom one has no face in the bare photo; a test photo; further faces."""
    use(monkeypatch)
    root = tmp_path / "data"
    rows = ["id,gender,race,age,path"]
    for number, (person, (gender, age)) in enumerate(PERSONS.items()):
        folder = root / "train/images" / person
        folder.mkdir(parents=True)
        for other, name in enumerate(("mask1", "incorrect_mask", "normal")):
            photo(10 * number + other, face=(person, name) != ("p4", "normal")).save(folder / f"{name}.png")
        rows.append(f"{person},{gender},x,{age},{person}")
    (root / "train/train.csv").write_text("\n".join(rows) + "\n")
    (root / "eval/images").mkdir(parents=True)
    photo(90).save(root / "eval/images/t.png")
    (root / "eval/info.csv").write_text("ImageID,ans\nt.png,0\n")
    (root / "more").mkdir()
    photo(91).save(root / "more/f.png")
    (root / "more.csv").write_text("image,group,mask,gender,age\nmore/f.png,q,none,female,>=60\n")
    return root


def tree(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}  # fmt: skip


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def drawn(faces: Path, out: Path, text: str = DRAW, extra: Path | None = None) -> Path:
    settings = PrepareSettings(faces="keep", draw=parse_draw(text, extra))
    found = prepare(faces, out, settings, threads=2, quiet=True)
    assert found.synthetic == out / FOLDER / SYNTHETIC
    return out


def test_bare_faces_of_training_photos_are_there_again_in_the_two_other_states(faces: Path, tmp_path: Path) -> None:
    before = tree(faces)
    new = drawn(faces, tmp_path / "new", extra=faces / "more.csv")
    assert tree(faces) == before
    after = tree(new)
    assert {name: after[name] for name in before} == before  # nothing else than drawn photos and what is said of them
    bare = {"p1": "train/images/p1/normal", "p2": "train/images/p2/normal", "p3": "train/images/p3/normal",
            "q": "more/f"}  # fmt: skip
    made = {f"drawn/{path}-{worn}.png" for path in bare.values() for worn in ("right", "wrong")}
    assert after.keys() - before.keys() == made | {"drawn/synthetic.csv", "prepared.csv", "prepared.json"}
    people = {p: (g, "<30" if a < 30 else "30-59" if a < 60 else ">=60") for p, (g, a) in PERSONS.items()}
    people["q"] = ("female", ">=60")
    found = rows_of(new / FOLDER / SYNTHETIC)
    assert {(r["image"], r["group"], r["mask"], r["gender"], r["age"], r["source"], r["sha256"]) for r in found} == {
        (f"drawn/{path}-{worn}.png", person, mask, *people[person], f"{path}.png", after[f"drawn/{path}-{worn}.png"])
        for person, path in bare.items() for worn, mask in (("right", "worn"), ("wrong", "incorrect"))
    }  # fmt: skip
    assert all(("worn right" in r["synthetic"]) == (r["mask"] == "worn") for r in found)
    told = {row["path"]: row["what"] for row in rows_of(new / "prepared.csv")}
    assert told["train/images/p4/normal.png"] == "kept: no face" and told["eval/images/t.png"].startswith("kept: not")


def test_the_data_set_itself_is_read_as_before(faces: Path, tmp_path: Path) -> None:
    new = drawn(faces, tmp_path / "new")
    old, now = (read_dataset(root) for root in (faces, new))
    assert [r[:5] for r in now.rows] == [r[:5] for r in old.rows] and now.notes == old.notes


@pytest.mark.parametrize("fold", [0, 1])
def test_no_fold_validates_on_a_drawn_photo_or_trains_on_one_of_a_validated_person(
    faces: Path, tmp_path: Path, fold: int
) -> None:
    new = drawn(faces, tmp_path / "new", extra=faces / "more.csv")
    tables = (new / FOLDER / SYNTHETIC,)
    plain = DataConfig(root=new, folds=2, fold=fold, min_groups=1)
    both = plain.model_copy(update={"extra_labels": tables})
    before, after = (read_manifest(config, Console(quiet=True)) for config in (plain, both))
    assert [r for r in after.rows if not r.path.startswith("drawn/")] == list(before.rows)  # the split has not moved
    synthetic = [r for r in after.rows if r.path.startswith("drawn/")]
    validated = {r.group for r in before.where("val").rows}
    assert {r.split for r in synthetic} == {"train"} and validated
    assert {r.group for r in synthetic} == {"p1", "p2", "p3", "q"} - validated
    assert len(synthetic) + sum(path.startswith("drawn/") for path in after.excluded) == 8


def test_a_drawn_photo_of_a_test_photo_is_that_test_photo(faces: Path, tmp_path: Path) -> None:
    new = drawn(faces, tmp_path / "new")
    path = "train/images/p1/normal.png"
    ((source,),) = sources_of([new / "drawn/train/images/p1/normal-right.png"])
    assert (source.sha256, source.place) == (tree(faces)[path], faces / path)
    again = drawn(new, tmp_path / "newer")  # of what was prepared: both are named, and nothing is drawn twice
    first, *_ = sources_of([again / "drawn/train/images/p1/normal-wrong.png"])[0]
    assert (first.sha256, first.place) == (tree(new)[path], new / path)
    assert tree(again).keys() == tree(new).keys()


def test_the_guard_takes_it_for_the_photo_that_it_was_drawn_on(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bare photo of a person is in the test set, and only its drawn copies are trained on."""
    new = drawn(faces, tmp_path / "new")
    test = tmp_path / "test"
    test.mkdir()
    (test / "t.png").write_bytes((faces / "train/images/p1/normal.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    code, out, said = commands(monkeypatch, capsys)("audit", "--train", str(new / "drawn"), "--test", str(test))
    assert code == 3 and "normal-right.png" in out + said and "source" in out + said


def test_an_interrupted_drawing_is_continued(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tree(drawn(faces, tmp_path / "whole"))
    calls = []

    def stops(picture: NDArray[np.uint8], least: float) -> list[Face]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return find(picture, least)

    use(monkeypatch, stops)
    settings = PrepareSettings(faces="keep", draw=parse_draw(DRAW))
    with pytest.raises(Interrupted):
        prepare(faces, tmp_path / "new", settings, threads=1, quiet=True)
    journal = tmp_path / "new.unfinished/.prepare.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    assert any("normal-wrong" in line for line in lines)
    cut = next(i for i, line in enumerate(lines) if "normal-wrong" in line)
    journal.write_text("".join(lines[:cut]) + lines[cut][:20])  # killed while it wrote what it had drawn last
    calls.clear()
    use(monkeypatch, lambda picture, least: calls.append(1) or find(picture, least))
    prepare(faces, tmp_path / "new", settings, threads=1, quiet=True)
    assert tree(tmp_path / "new") == whole and 0 < len(calls) <= 4


def test_two_classes_are_enough_and_a_class_folder_data_set_has_no_new_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch)
    for name in ("bare", "masked"):
        for number in range(2):
            path = tmp_path / "data/train" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo(number + len(name)).save(path)
    root = tmp_path / "data"
    factor = read_dataset(root).schema.factors[0].name
    new = drawn(root, tmp_path / "new", f"{factor}=bare,masked")
    found = rows_of(new / FOLDER / SYNTHETIC)
    assert {(r["source"], r[factor]) for r in found} == {(f"train/bare/{i}.png", "masked") for i in range(2)}
    assert read_dataset(new).schema == read_dataset(root).schema and len(read_dataset(new)) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mask", "does not name a factor"),
        ("mask=none", "does not name a factor"),
        ("mask=none,worn,incorrect,more", "does not name a factor"),
        ("mask=none,none", "names a class twice"),
        ("maks=none,worn", "no factor 'maks'"),
        ("mask=bare,worn", "no class 'bare'"),
        ("mask=none,wron", "no class 'wron'"),
    ],
)
def test_what_is_written_wrong_is_named(faces: Path, tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        drawn(faces, tmp_path / "new", text)
    assert not (tmp_path / "new.unfinished").exists()


def test_what_else_is_refused(faces: Path, tmp_path: Path) -> None:
    settings = PrepareSettings(faces="crop", draw=DrawSettings("mask", "none", "worn"))
    with pytest.raises(ConfigError, match="drawn into photos as they are"):
        prepare(faces, tmp_path / "new", settings, quiet=True)
    with pytest.raises(ConfigError, match="--extra-labels is for --draw-masks"):
        parse_draw("", faces / "more.csv")
    photo(5).save(tmp_path / "f.png")
    (faces / "far.csv").write_text(f"image,group,mask,gender,age\n{tmp_path / 'f.png'},q,none,female,>=60\n")
    with pytest.raises(DataError, match=r"far\.csv:2: .* is not below"):
        drawn(faces, tmp_path / "new", extra=faces / "far.csv")


def test_the_command(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("prepare", "--data", str(faces), "--out", "new", "--draw-masks", DRAW)
    code, out, said = commands(monkeypatch, capsys)(*words, "--json")
    answer = json.loads(out)
    assert (code, answer["synthetic"]) == (0, str(tmp_path / "new" / FOLDER / SYNTHETIC)), said
    code, _, said = commands(monkeypatch, capsys)(*words[:4], "other", "--draw-masks", "mask=none,wron")
    assert code == 3, said
    assert "Did you mean 'worn'" in said
