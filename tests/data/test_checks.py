"""Label corrections, names, and links that lead out of the data set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ssl_mask.console import Console
from ssl_mask.data.checks import check_names, refuse_escapes
from ssl_mask.data.corrections import apply_corrections
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.data.tables import read_csv
from ssl_mask.errors import DataError
from ssl_mask.files import write_text

SCHEMA = LabelSchema((Factor("shape", ("disc", "box")), Factor("hue", ("red", "blue"))))
ROWS = (
    Row("a.jpg", "x", "train", "t:2", (0, 0), train_labels=(1, 0)),
    Row("b.jpg", "x", "val", "t:3", (0, 0)),
    Row("c.jpg", "y", "train", "t:4", (1, 1)),
    Row("d.jpg", "x", "test", "t:5", None),
)


def manifest(root: Path = Path(), rows: tuple[Row, ...] = ROWS) -> Manifest:
    return Manifest(root, "table", SCHEMA, rows, grouped=True, submission=Submission("id", ("shape",), "names"))


def corrected(folder: Path, text: str) -> Manifest:
    (folder / "fix.csv").write_text(text)
    return apply_corrections(manifest(), folder / "fix.csv")


def test_by_path_only_the_filled_cells_change(tmp_path: Path) -> None:
    made = corrected(tmp_path, "path,shape,hue\nc.jpg,,red\n")
    assert [r.labels for r in made.rows] == [(0, 0), (0, 0), (1, 0), None]


def test_by_group_every_labeled_image_changes(tmp_path: Path) -> None:
    made = corrected(tmp_path, "group,hue\nx,blue\n")
    assert [r.labels for r in made.rows] == [(0, 1), (0, 1), (1, 1), None]


@pytest.mark.parametrize("lines", ["x,,blue\n,b.jpg,red\n", ",b.jpg,red\nx,,blue\n"])
def test_the_images_own_correction_wins_over_its_groups(tmp_path: Path, lines: str) -> None:
    made = corrected(tmp_path, "group,path,hue\n" + lines)
    assert [r.labels for r in made.rows[:2]] == [(0, 1), (0, 0)]


def test_a_corrected_image_is_trained_on_as_corrected(tmp_path: Path) -> None:
    made = corrected(tmp_path, "path,hue\na.jpg,blue\n")
    assert made.train_labels[0].tolist() == made.labels[0].tolist() == [0, 1]
    assert manifest().train_labels[0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,hue\nzzz.jpg,red\n", r"fix\.csv:2: no labeled image has path 'zzz\.jpg'"),
        ("path,hue\nd.jpg,red\n", r"fix\.csv:2: no labeled image has path 'd\.jpg'"),
        ("group,hue\nzzz,red\n", r"fix\.csv:2: no labeled image has group 'zzz'"),
        ("path,hue\na.jpg,redd\n", r"fix\.csv:2: hue 'redd' is not a known class"),
        ("path,colour\na.jpg,red\n", r"fix\.csv: unknown column 'colour'"),
        ("path,hue\n,red\n", r"fix\.csv:2: no `path` or `group`"),
        (
            "path,hue\na.jpg,red\nc.jpg,red\na.jpg,blue\n",
            r"fix\.csv:4: path 'a\.jpg' is also corrected at .*fix\.csv:2",
        ),
        ("group,hue\nx,red\nx,red\n", r"fix\.csv:3: group 'x' is also corrected at .*fix\.csv:2"),
    ],
)
def test_a_correction_that_fits_nothing_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        corrected(tmp_path, text)


def test_an_absent_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no .*absent\.csv"):
        apply_corrections(manifest(), tmp_path / "absent.csv")


def linked(root: Path, target: Path, path: str, link: str) -> Manifest:
    (root / link).symlink_to(target)
    return manifest(root, (Row(path, "x", "train", "t:2", (0, 0)),))


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    outside, root = tmp_path / "out.jpg", tmp_path / "data"
    outside.touch()
    root.mkdir()
    with pytest.raises(DataError, match=r"t:2: in\.jpg is a link to a file outside") as caught:
        refuse_escapes(linked(root, outside, "in.jpg", "in.jpg"))
    assert "data.outside_root=allow" in caught.value.hint


def test_a_linked_folder_that_leads_out_is_refused(tmp_path: Path) -> None:
    for folder in ("data", "other"):
        (tmp_path / folder).mkdir()
    with pytest.raises(DataError, match=r"t:2: link/a\.jpg is a link to a file outside"):
        refuse_escapes(linked(tmp_path / "data", tmp_path / "other", "link/a.jpg", "link"))


def test_a_link_that_leads_out_is_refused_beside_files_that_do_not(tmp_path: Path) -> None:
    (tmp_path / "out.jpg").touch()
    root = tmp_path / "data"
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.jpg").touch()
    links = linked(root, tmp_path / "out.jpg", "a/2.jpg", "a/2.jpg")
    rows = (Row("a/1.jpg", "x", "train", "t:1", (0, 0)), *links.rows)
    with pytest.raises(DataError, match=r"t:2: a/2\.jpg is a link to a file outside"):
        refuse_escapes(manifest(root, rows))


def test_a_link_inside_and_a_linked_root_are_fine(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "a.jpg").touch()
    refuse_escapes(linked(real, real / "a.jpg", "b.jpg", "b.jpg"))
    (tmp_path / "root").symlink_to(real)
    refuse_escapes(manifest(tmp_path / "root", (Row("a.jpg", "x", "train", "t:2", (0, 0)),)))


def test_an_absolute_path_outside_the_named_folders_is_refused(tmp_path: Path) -> None:
    """As a pseudo_labels.csv may hold it."""
    for folder in ("data", "pool", "other"):
        (tmp_path / folder).mkdir()
    rows = tuple(
        Row(str(tmp_path / f / "a.jpg"), "", "unlabeled", f"p:{i}", None) for i, f in enumerate(("pool", "other"))
    )
    places = [tmp_path / "data", tmp_path / "pool"]
    refuse_escapes(manifest(tmp_path / "data", rows[:1]), places)
    with pytest.raises(DataError, match=r"p:1: .*other/a\.jpg is outside .*data and .*pool"):
        refuse_escapes(manifest(tmp_path / "data", rows), places)


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_path_that_is_not_utf8_is_refused_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    odd = os.fsdecode(b"caf\xe9.jpg")
    with pytest.raises(DataError, match=r"1 paths are not UTF-8, for example b'caf\\xe9\.jpg'") as caught:
        check_names(manifest(rows=(*ROWS, Row(odd, "x", "test", "t:6", None))), Console())
    assert "convmv" in caught.value.hint
    with pytest.raises(DataError, match="not UTF-8"):
        check_names(manifest(root=Path(odd)), Console())
    check_names(manifest(rows=(Row("café 日本/ü.jpg", "x", "train", "t:2", (0, 0)),)), Console())
    assert capsys.readouterr().out == ""


def test_names_that_a_spreadsheet_runs_are_warned_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["=cmd|'/c calc'!A1.jpg", "+a.jpg", "@SUM(1).jpg", "-1+2.jpg", "a=b.jpg", "-1", "+2.5"]
    check_names(manifest(rows=tuple(Row(n, n, "train", "t:2", (0, 0)) for n in names)), Console())
    out = capsys.readouterr().out
    assert out.count("Note:") == 1 and "4 names begin with" in out and "'+a.jpg'" in out


def test_a_name_with_line_breaks_is_the_same_when_it_is_read_again(tmp_path: Path) -> None:
    names = ["a\rb.jpg", "c\nd.jpg", "e\r\nf.jpg", 'g",h.jpg']
    table = manifest(rows=tuple(Row(n, "", "train", "t:2", (0, 0)) for n in names)).to_csv()
    write_text(tmp_path / "manifest.csv", table)
    assert [cells["path"] for _, cells in read_csv(tmp_path / "manifest.csv")] == names
