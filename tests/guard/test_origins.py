"""A part of a test photo is still that test photo: prepared images are compared by what they were made of."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import pytest
from handmade import findings, pair, record
from textures import texture, write

from ssl_mask import devices
from ssl_mask.cli.audit import show
from ssl_mask.config import DataConfig, RunConfig, load_config
from ssl_mask.console import Console
from ssl_mask.data.load import read_manifest
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.prepare.crop import Box
from ssl_mask.data.prepare.record import RECORD, TABLE, PreparedRow, read_prepared, write_prepared
from ssl_mask.data.schema import LabelSchema
from ssl_mask.data.unlabeled import read_unlabeled
from ssl_mask.errors import DataError, MismatchError, UndeclaredError
from ssl_mask.guard.check import check
from ssl_mask.guard.findings import Pool, Role, Unchecked
from ssl_mask.guard.gate import GateResult, run_gate
from ssl_mask.guard.lineage import seen_of
from ssl_mask.guard.origins import sources_of
from ssl_mask.guard.policy import judge
from ssl_mask.guard.pools import pool_of
from ssl_mask.guard.provenance import judge_seen
from ssl_mask.guard.sightings import sightings
from ssl_mask.workflows.audit import Audit

QUIET = Console(quiet=True)
PARTS = Box(90, 30, 150, 90)
"""A seventh of each photo: too little for the guard to know the photo by its picture."""


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def crops(source: Path, out: Path) -> Path:
    """A prepared folder by hand: a part of each photo, and the record."""
    out.mkdir()
    rows = []
    for path in sorted(source.iterdir()):
        part = cv2.imread(str(path))[PARTS.top : PARTS.bottom, PARTS.left : PARTS.right]
        cv2.imwrite(str(out / path.name), part)
        rows.append(PreparedRow(path.name, "cropped", 1, 0.9, "", PARTS, (sha(path),), sha(out / path.name)))
    write_prepared(out, source, rows, {})
    return out


def pool(folder: Path, role: Role) -> Pool:
    """All images of a folder, as the guard gathers them."""
    names = sorted(p.name for p in folder.iterdir() if p.suffix in {".png", ".jpg"})
    rows = tuple(Row(name, "", "test", name, None, id=name) for name in names)
    return pool_of(Manifest(folder, "images", LabelSchema(()), rows, False, Submission("", (), "names")), role)


def pairs(first: Pool, second: Pool, cache: Path | None = None) -> dict[str, str]:
    """Image of the second pool -> kind and image of the first."""
    found = check([first, second], cache=cache).pairs
    return {p.second: f"{p.kind} {p.first}" for p in found}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write(tmp_path / "photos", [texture(seed) for seed in range(6)])
    return tmp_path / "photos"


SAME = {f"{n:03d}.png": f"source {n:03d}.png" for n in range(6)}


def test_a_part_is_found_by_its_source_and_by_nothing_else(photos: Path, tmp_path: Path) -> None:
    parts = crops(photos, tmp_path / "parts")
    assert pairs(pool(photos, "test"), pool(parts, "train")) == SAME
    assert pairs(pool(parts, "test"), pool(photos, "unlabeled")) == SAME
    (parts / RECORD).unlink()
    (parts / TABLE).unlink()
    assert pairs(pool(photos, "test"), pool(parts, "train")) == {}


def test_two_parts_of_one_photo_are_that_photo(photos: Path, tmp_path: Path) -> None:
    parts = crops(photos, tmp_path / "parts")
    other = crops(photos, tmp_path / "other")
    for path in other.glob("*.png"):  # as if another part had been cut out
        cv2.imwrite(str(path), texture(int(path.stem) + 100, 60, 60))
    assert pairs(pool(parts, "test"), pool(other, "train")) == SAME


def test_where_the_sources_are_gone_their_bytes_are_known(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "copy")
    parts = crops(tmp_path / "copy", tmp_path / "parts")
    shutil.rmtree(tmp_path / "copy")
    assert pairs(pool(photos, "test"), pool(parts, "train")) == SAME


def test_a_part_of_a_re_encoded_photo_is_found_by_the_picture_of_its_source(photos: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    for path in photos.iterdir():
        cv2.imwrite(str(again / f"{path.stem}.jpg"), cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 60])
    parts = crops(again, tmp_path / "parts")
    found = pairs(pool(photos, "test"), pool(parts, "train"))
    assert {path.replace("jpg", "png"): what for path, what in found.items()} == SAME
    cache = tmp_path / "cache"
    assert len(pairs(pool(photos, "test"), pool(parts, "train"), cache)) == 6
    shutil.rmtree(again)  # the cache still has their fingerprints
    assert len(pairs(pool(photos, "test"), pool(parts, "train"), cache)) == 6
    assert pairs(pool(photos, "test"), pool(parts, "train")) == {}


def test_other_photos_are_not_taken_for_each_other(photos: Path, tmp_path: Path) -> None:
    write(tmp_path / "new", [texture(seed) for seed in range(40, 46)])
    assert pairs(pool(photos, "test"), pool(crops(tmp_path / "new", tmp_path / "parts"), "train")) == {}


def test_a_file_that_was_changed_or_moved_keeps_its_source(photos: Path, tmp_path: Path) -> None:
    parts = crops(photos, tmp_path / "parts")
    digest = sha(parts / "001.png")
    (parts / "000.png").write_bytes((parts / "000.png").read_bytes() + b"\0")
    (parts / "sub").mkdir()
    moved = (parts / "001.png").rename(parts / "sub/x.png")
    changed, by_digest, unread, outside = sources_of(
        [parts / "000.png", moved, moved, photos / "000.png"], [sha(parts / "000.png"), digest, "", ""]
    )
    assert [source.sha256 for source in changed] == [sha(photos / "000.png")]
    assert [(source.sha256, source.place) for source in by_digest] == [(sha(photos / "001.png"), photos / "001.png")]
    assert (unread, outside) == ((), ())


def test_the_source_of_a_source_is_known_too(photos: Path, tmp_path: Path) -> None:
    write_prepared(
        tmp_path, photos, [PreparedRow("x.png", "cropped", 1, 0.9, "", PARTS, ("b" * 64, "a" * 64), "c" * 64)], {}
    )
    (sources,) = sources_of([tmp_path / "x.png"])
    assert [(s.sha256, s.place) for s in sources] == [("b" * 64, photos / "x.png"), ("a" * 64, None)]


def test_a_record_that_was_changed_is_refused(photos: Path, tmp_path: Path) -> None:
    parts = crops(photos, tmp_path / "parts")
    text = (parts / TABLE).read_text()
    (parts / TABLE).write_text(text.replace(sha(photos / "000.png"), "0" * 64))
    with pytest.raises(MismatchError, match=r"prepared\.csv has changed"):
        read_prepared(parts)
    (parts / TABLE).write_text(text)
    record = (parts / RECORD).read_text()
    (parts / RECORD).unlink()
    with pytest.raises(MismatchError, match=r"prepared\.json is missing"):
        read_prepared(parts)
    (parts / RECORD).write_text(record.replace('"format": 1', '"format": 9'))
    with pytest.raises(DataError, match="its format is 9"):
        read_prepared(parts)
    (parts / RECORD).write_text(json.dumps({"format": 1}))
    with pytest.raises(DataError, match=r"prepared\.json is damaged"):
        read_prepared(parts)


def test_the_table_of_an_audit_names_sources_and_fits_80_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    test, unlabeled = record("test", "test", "t0", grouped=False), record("unlabeled", "unlabeled", "a", grouped=False)
    unchecked = Unchecked("test", "unlabeled", "shared groups (…)")
    for kind in ("near", "source"):
        found = findings(test, unlabeled, pairs=(pair(test, "t0", unlabeled, "a", kind),), unchecked=(unchecked,))
        show(Audit(found, judge(found), Path("audit.json"), (), None, None))
        said = capsys.readouterr().out
        assert ("source" in said.split("test:")[0]) == (kind == "source") and "…" not in said.split("test:")[0]
        assert max(map(len, said.splitlines()[:8])) <= 80


def two_sets(photos: Path, root: Path, **guard: object) -> tuple[RunConfig, Manifest]:
    """A data set whose test photos are `photos`, and an unlabeled pool of parts of them."""
    lines = ["image,label,split"]
    write(root, [texture(seed) for seed in range(60, 68)])
    lines += [f"{n:03d}.png,{'ab'[n % 2]},{'val' if n > 5 else 'train'}" for n in range(8)]
    for path in sorted(photos.iterdir()):
        shutil.copy(path, root / f"t{path.name}")
        lines.append(f"t{path.name},,test")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    data = {
        "root": str(root),
        "layout": "table",
        "cache": "off",
        "unlabeled": [str(crops(photos, root.parent / "parts"))],
    }
    config = load_config({"data": data, "guard": {"mode": "on", **guard}}, preset="laptop")
    return config, read_manifest(config.data, QUIET)


def gate_of(config: RunConfig, manifest: Manifest) -> GateResult:
    named = {"train": manifest.where("train"), "val": manifest.where("val"),
             "unlabeled": read_unlabeled(config.data.unlabeled, manifest)}  # fmt: skip
    return run_gate(config, manifest, named, devices.make_accelerator("no"), QUIET)


def test_training_on_parts_of_another_sets_test_photos_is_refused_left_out_or_declared(
    photos: Path, tmp_path: Path
) -> None:
    config, manifest = two_sets(photos, tmp_path / "set")
    with pytest.raises(UndeclaredError, match=r"unlabeled overlaps test \(6 source\)"):
        gate_of(config, manifest)
    dropping = config.model_copy(update={"guard": config.guard.model_copy(update={"drop_overlap": True})})
    assert len(gate_of(dropping, manifest).dropped("unlabeled")) == 6
    asked = {"transductive": True, "reason": "to see", "allowed_by": "rule 1"}
    declared = config.model_copy(update={"guard": config.guard.model_copy(update=asked)})
    gate = gate_of(declared, manifest)
    assert gate.mark.status == "transductive-test"

    # What was trained on is kept: the photos themselves are known again, and so are other parts of them.
    seen = seen_of(gate, [])
    assert seen is not None and {sha(p) for p in photos.iterdir()} <= set(seen["unlabeled"].digests)
    test = pool_of(manifest.where("test"), "test")
    places: dict[str, Path] = {}
    found = sightings(test, {"unlabeled": seen["unlabeled"]}, DataConfig(cache="off"), QUIET, places=lambda: places)
    assert {how[0].kind for how in found.copies.values()} == {"bytes"} and len(found.copies) == 6
    assert judge_seen(found, [{}], grouped=True).status == "transductive-test"
    bare = sightings(pool(crops(photos, tmp_path / "again"), "test"), {"unlabeled": seen["unlabeled"].at(
        [i for i, digest in enumerate(seen["unlabeled"].digests) if digest in {sha(p) for p in photos.iterdir()}]
    )}, DataConfig(cache="off"), QUIET, places=lambda: places)  # fmt: skip
    assert {how[0].kind for how in bare.copies.values()} == {"source"} and len(bare.copies) == 6


def test_what_is_left_out_is_not_kept_as_seen(photos: Path, tmp_path: Path) -> None:
    config, manifest = two_sets(photos, tmp_path / "set", drop_overlap=True)
    seen = seen_of(gate_of(config, manifest), [])
    assert seen is not None
    assert not {sha(p) for p in photos.iterdir()} & {d for sketches in seen.values() for d in sketches.digests}
