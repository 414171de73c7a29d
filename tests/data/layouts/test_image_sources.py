"""What --images, --unlabeled, --protect and the roles of an audit may name: a folder, an image, a glob or a CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_mask.data.layouts.images import image_column, read_images
from ssl_mask.data.manifest import Manifest, Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.inference.inputs import pool_name

SUBMISSION = Submission("photo_no", ("class",), "names")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose own name has brackets. Nothing here decodes an image."""
    root = tmp_path / "photos [2023]"
    for name in (
        "new/1.jpg",
        "new/2.jpg",
        "new/sub/3.jpg",
        "raw [x]/4.jpg",
        "rawx/5.jpg",
        "other/6.png",
        "new/note.txt",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\xff\xd8\xff")
    monkeypatch.chdir(root)
    return root


def read(source: str | Path, **more: object) -> Manifest:
    return read_images(source, LabelSchema(()), SUBMISSION, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "root", "ids"),
    [
        ("new", "new", ["1.jpg", "2.jpg", "sub/3.jpg"]),
        ("new/1.jpg", "new", ["1.jpg"]),
        ("new/*.jpg", "new", ["1.jpg", "2.jpg"]),
        ("new/**/*.jpg", "new", ["1.jpg", "2.jpg", "sub/3.jpg"]),
        ("new/*", "new", ["1.jpg", "2.jpg", "sub/3.jpg"]),  # a folder that matches stands for its images
        ("raw [x]", "raw [x]", ["4.jpg"]),  # exists, so it is no pattern; as one it would be `raw x`
        ("raw [x]/*.jpg", "raw [x]", ["4.jpg"]),
        ("raw?[x]/*.jpg", None, []),
        ("raw[x]/*.jpg", "rawx", ["5.jpg"]),
        ("[no]*", ".", ["new/1.jpg", "new/2.jpg", "new/sub/3.jpg", "other/6.png"]),
    ],
)
def test_a_source_that_exists_is_no_pattern(here: Path, source: str, root: str | None, ids: list[str]) -> None:
    for named in (source, str(here / source)):
        if root is None:
            with pytest.raises(DataError, match="There is no folder or file"):
                read(named)
            continue
        found = read(named)
        assert [r.id for r in found.rows] == [r.path for r in found.rows] == ids
        assert found.root == (here / root).absolute()
        assert all(path.is_file() for path in found.files)


def test_it_is_looked_for_in_each_folder(here: Path, tmp_path: Path) -> None:
    assert read("rawx", bases=[tmp_path, here]).root == here / "rawx"
    assert read("*.jpg", bases=[here / "other", here / "rawx"]).root == here / "rawx"
    assert read("./*.jpg", bases=[here / "new", here / "rawx"]).root == here / "new"
    with pytest.raises(DataError, match="it is in the working folder and in the data set's"):
        read("*.jpg", bases=[here / "new", here / "rawx"])
    with pytest.raises(DataError, match="no match for it") as missing:
        read("new/*.webp", flag="--protect")
    assert missing.value.hint.startswith("Give --protect a folder, one image, a quoted glob")


@pytest.mark.parametrize("column", ["photo_no", "image_id", "filepath", "ImageID", "Image", "id", "file"])
def test_a_csv_may_call_its_images_as_the_data_set_or_by_a_usual_name(here: Path, column: str) -> None:
    (here / "new/list.csv").write_text(f"{column},note\n2.jpg,x\n1,y\nsub/3.jpg,\n")
    rows = read("new/list.csv").rows
    assert [r.id for r in rows] == ["2.jpg", "1", "sub/3.jpg"]
    assert [r.path for r in rows] == ["2.jpg", "1.jpg", "sub/3.jpg"]  # a name without its suffix is found


def test_an_image_column_that_is_not_certain_is_refused() -> None:
    assert image_column(["image", "path", "photo_no"], Path("t.csv"), "photo_no") == "photo_no"
    assert image_column(["id", "path"], Path("t.csv"), "photo_no") == "path"
    with pytest.raises(DataError, match=r"t\.csv: the columns 'image' and 'path' can both be meant"):
        image_column(["image", "path"], Path("t.csv"), "photo_no")
    with pytest.raises(DataError, match=r"t\.csv has no image column") as missing:
        image_column(["picture"], Path("t.csv"), "photo_no")
    assert "photo_no, image, path" in missing.value.hint


@pytest.mark.parametrize(
    ("images", "name"),
    [("new", "new"), ("new/*.jpg", "new"), ("new/1.jpg", "1"), ("new/list.csv", "list"), ("raw [x]", "raw [x]"),
     (".", "photos [2023]"), ("..", None), ("new/..", "photos [2023]"), ("*.jpg", "photos [2023]"),
     ("new/test.csv", "test-images"), ("test", "test-images")],
)  # fmt: skip
def test_predictions_lie_in_a_folder_that_is_called_as_the_images(here: Path, images: str, name: str | None) -> None:
    assert pool_name(images) == (name or here.parent.name)


def test_a_link_to_itself_is_one_clear_error(tmp_path: Path) -> None:
    loop = tmp_path / "pool.csv"
    loop.symlink_to(loop.name)
    schema = LabelSchema((Factor("kind", ("a", "b")),))
    with pytest.raises(DataError, match=r"pool\.csv"):
        read_images(loop, schema, Submission("image", ("kind",), "names"), bases=(tmp_path, Path()))
