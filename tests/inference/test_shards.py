"""Shards of predictions: written one by one, done ones left alone, and selected from as if all were in memory."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_rounds import read_json, series_config, table_of, write_table

from ssl_mask import devices
from ssl_mask.console import Console
from ssl_mask.data import digests
from ssl_mask.data.images import open_regular
from ssl_mask.data.load import read_manifest
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.predictions import read_predictions
from ssl_mask.errors import DataError, ImageError, Interrupted
from ssl_mask.inference import shards as files
from ssl_mask.inference.run_predictor import RunPredictor
from ssl_mask.inference.shards import shard_name
from ssl_mask.pseudo_labeling.round import select_round
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import run_source
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.predict_shard import predict_shard
from ssl_mask.workflows.pseudo import pseudo
from ssl_mask.workflows.train import train


@pytest.fixture(scope="module")
def teacher(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Trained a little longer: the rule `precision` selects nothing of a network that knows nothing."""
    longer = {"train": {"steps": 40, "eval_every": 20, "batch_size": 16}, "optim": {"lr": 3e-3}}
    run = train(series_config(drawn, tmp_path_factory.mktemp("teacher"), name="teacher", **longer), quiet=True)
    assert run is not None
    return run.dir


@pytest.fixture(scope="module")
def shards(teacher: RunDir, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pool in three shards, of mirrored views, in several row groups each. Read only."""
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK", 7)
        for number in (2, 0, 1):
            write(teacher, drawn / "extra", folder, number)
    return folder


def write(teacher: RunDir, images: Path, folder: Path, number: int = 0, count: int = 3, **options: Any) -> Path:
    options = {"tta": True, **options}
    return predict_shard((number, count), teacher.path, images=images, out=folder, quiet=True, **options)


def test_shards_hold_what_predict_says_each_image_once(
    teacher: RunDir, shards: Path, drawn: Path, tmp_path: Path
) -> None:
    files = sorted(shards.iterdir())
    assert [f.name for f in files] == [f"shard-0000{i}-of-00003.parquet" for i in range(3)]
    assert all(pq.ParquetFile(f).metadata.num_row_groups == 3 for f in files)
    whole = predict([teacher.path], images=drawn / "extra", tta=True, out=tmp_path, quiet=True)
    frames = [read_predictions(f, whole.manifest.schema) for f in files]
    assert sum(map(len, frames)) == len(whole.probs)
    for number, frame in enumerate(frames):
        assert frame.path.tolist() == [str(f) for f in whole.manifest.files[number::3]]
        assert frame.sha256.tolist() == [r.digest for r in whole.manifest.rows[number::3]]
        np.testing.assert_allclose(frame.probs, whole.probs[number::3], atol=1e-5)


def test_a_shard_that_is_there_is_left_alone_without_reading_an_image(
    teacher: RunDir, shards: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(RunPredictor, "probs", never)
    before = [(f.read_bytes(), f.stat().st_mtime_ns) for f in sorted(shards.iterdir())]
    for number in range(3):
        write(teacher, drawn / "extra", shards, number)
    assert [(f.read_bytes(), f.stat().st_mtime_ns) for f in sorted(shards.iterdir())] == before


def test_two_machines_that_write_one_shard_at_once_leave_it_once_and_whole(
    teacher: RunDir, shards: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins and ends while the first is between its last byte and the rename."""
    real, second = pq.write_table, [True]

    def late(table: Any, where: Path, **options: Any) -> None:
        real(table, where, **options)
        if second:
            second.clear()
            write(teacher, drawn / "extra", tmp_path)
            assert (tmp_path / shard_name(0, 3)).is_file()

    monkeypatch.setattr(files, "BLOCK", 7)
    monkeypatch.setattr(pq, "write_table", late)
    written = write(teacher, drawn / "extra", tmp_path)
    assert list(tmp_path.iterdir()) == [written] and not second
    assert written.read_bytes() == (shards / written.name).read_bytes()


@pytest.mark.parametrize("off", [-400 * 86_400, 400 * 86_400])
def test_clocks_that_differ_by_a_year_change_nothing(
    teacher: RunDir, shards: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    """Shards of a machine whose clock is wrong are done, and its own shard has the same bytes."""
    real, real_ns = time.time, time.time_ns
    monkeypatch.setattr(files, "BLOCK", 7)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + off)
        patch.setattr(time, "time_ns", lambda: real_ns() + off * 10**9)
        written = write(teacher, drawn / "extra", tmp_path)
    os.utime(written, (real() + off,) * 2)
    assert written.read_bytes() == (shards / written.name).read_bytes()
    monkeypatch.setattr(RunPredictor, "probs", lambda *_, **__: pytest.fail("predicted again"))
    assert write(teacher, drawn / "extra", tmp_path) == written


def test_a_disk_that_reads_slowly_and_in_small_parts_gives_the_same_bytes(
    teacher: RunDir, shards: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one behind a network does."""

    class Slow:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Slow:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def fileno(self) -> int:
            return int(self.file.fileno())

        def read(self) -> bytes:
            time.sleep(0.005)
            return b"".join(iter(lambda: self.file.read(1000), b""))

    read: list[Path] = []

    def slowly(path: Path) -> Slow:
        read.append(path)
        return Slow(open_regular(path))

    monkeypatch.setattr(files, "BLOCK", 7)
    monkeypatch.setattr(digests, "open_regular", slowly)
    written = write(teacher, drawn / "extra", tmp_path, cache="off")
    assert read and written.read_bytes() == (shards / written.name).read_bytes()


def test_a_shard_that_is_cut_off_leaves_nothing(
    teacher: RunDir, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pq.write_table

    def cut(table: Any, where: Path, **options: Any) -> None:
        real(table, where, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", cut)
    with pytest.raises(Interrupted, match="nothing of this shard was written"):
        write(teacher, drawn / "extra", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_shard_of_other_images_views_or_weights_is_not_taken_for_done(
    teacher: RunDir, shards: Path, drawn: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(shards, tmp_path / "shards"))
    with pytest.raises(DataError, match="was made of other images or views"):
        write(teacher, drawn / "eval/images", folder)
    with pytest.raises(DataError, match="was made of other images or views"):
        write(teacher, drawn / "extra", folder, tta=False)
    other = train(series_config(drawn, tmp_path, name="other", seed=1), quiet=True)
    assert other is not None
    with pytest.raises(DataError, match="was made by another run"):
        write(other.dir, drawn / "extra", folder)
    (folder / "shard-00000-of-00003.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match="is damaged"):
        write(teacher, drawn / "extra", folder)


def test_an_unreadable_photo_stops_or_gets_no_prediction(teacher: RunDir, faces: Path, tmp_path: Path) -> None:
    photo = sorted((faces / "extra").iterdir())[3]
    photo.write_bytes(b"\xff\xd8 cut")
    with pytest.raises(ImageError, match=photo.name):
        write(teacher, faces / "extra", tmp_path)
    frame = read_predictions(write(teacher, faces / "extra", tmp_path, on_bad="skip"))
    empty = np.isnan(frame.probs).all(axis=1)
    assert frame.path[empty].tolist() == [str(photo)]
    assert frame.predicted[empty].tolist() == [-1]
    assert not np.isnan(frame.probs[~empty]).any()


def test_more_shards_than_images(teacher: RunDir, drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Shard 98/99 of 52 images is empty"):
        write(teacher, drawn / "extra", tmp_path, 98, 99)


# ---- selecting from them ----


def chosen(
    teacher: RunDir, data: Path, into: Path, *, unlabeled: tuple[str, ...] = ("extra",), **settings: Any
) -> RunDir:
    asked = {"rounds": 1, "masks": "joint", "teachers": [str(teacher.path)], **settings}
    config = series_config(data, into, data={"unlabeled": unlabeled}, pseudo=asked)
    accelerator = devices.make_accelerator("fp32")
    quiet = Console(quiet=True)
    manifest = read_manifest(config.data, quiet)
    select_round(config, 1, [run_source(teacher)], None, RunDir(into / "01"), manifest, frozenset(), accelerator, quiet)
    return RunDir(into / "01")


@pytest.mark.parametrize(
    "rule",
    [
        {"rule": "threshold", "threshold": 0.15},
        {"rule": "precision", "target_precision": 0.02},
        {"rule": "top_k", "top_k": 3},
        {"rule": "percentile", "percentile_step": 0.4},
        {"rule": "percentile", "percentile_step": 0.8, "cap": 0.5},
        {"rule": "threshold", "threshold": 0.0, "cap": 1.0, "labels": "soft"},
    ],
    ids=lambda r: "+".join(map(str, r.values())),
)
def test_shards_select_what_memory_selects(
    teacher: RunDir, shards: Path, drawn: Path, tmp_path: Path, rule: dict[str, Any]
) -> None:
    memory = chosen(teacher, drawn, tmp_path / "memory", **rule)
    stored = chosen(teacher, drawn, tmp_path / "stored", **rule, from_predictions=str(shards))
    one, two = ({r["sha256"]: r for r in table_of(run)} for run in (memory, stored))
    assert 0 < len(one) <= 52
    assert one.keys() == two.keys()
    for digest, row in one.items():
        for column, cell in row.items():
            if column.startswith(("confidence", "margin", "p/")):
                assert float(two[digest][column]) == pytest.approx(float(cell), abs=1e-5)
            else:
                assert two[digest][column] == cell
    records = [read_json(run.selection) for run in (memory, stored)]
    for key in ("pool", "selected", "whole", "rule", "highest_confidence", "validation"):
        if key != "highest_confidence":  # of what is selected only, where the pool is stored
            assert records[0][key] == records[1][key]
    heads = [r["heads"]["joint"] for r in records]
    for key in ("selected", "val_share", "val_precision"):
        assert heads[0][key] == pytest.approx(heads[1][key])
    for label, own in heads[0]["classes"].items():
        other = heads[1]["classes"][label]
        assert (own["selected"], own["source"]) == (other["selected"], other["source"])
        assert own["threshold"] == pytest.approx(other["threshold"], abs=1e-5)


def test_validation_is_seen_in_the_views_of_the_shards(
    teacher: RunDir, shards: Path, drawn: Path, tmp_path: Path
) -> None:
    """The thresholds must be worth on validation what they are worth on the pool."""
    plain = tmp_path / "plain"
    for number in range(3):
        write(teacher, drawn / "extra", plain, number, tta=False)
    rule = {"rule": "threshold", "threshold": 0.0}
    errors = [
        read_json(chosen(teacher, drawn, tmp_path / name, **rule, from_predictions=str(folder)).selection)[
            "reliability"
        ]
        for name, folder in (("a", shards), ("b", plain))
    ]
    assert errors[0] != errors[1]
    shutil.copy(shards / "shard-00001-of-00003.parquet", plain)
    with pytest.raises(DataError, match="some shards average mirrored views"):
        chosen(teacher, drawn, tmp_path / "c", **rule, from_predictions=str(plain))


def test_labeled_photos_and_those_of_validation_groups_are_left_out(drawn: Path, tmp_path: Path) -> None:
    data = write_table(drawn, tmp_path / "data")
    made = train(series_config(data, tmp_path / "runs", data={"unlabeled": []}), quiet=True)
    assert made is not None
    write(made.dir, data, tmp_path / "shards", count=1)
    rule = {"rule": "threshold", "threshold": 0.0, "from_predictions": str(tmp_path / "shards")}
    own = chosen(made.dir, data, tmp_path / "stored", **rule)
    assert {Path(r["image"]).name for r in table_of(own)} == {"u-t0.jpg", "u-t1.jpg", "u-new.jpg"}
    half = {"rule": "percentile", "percentile_step": 0.5}  # of these three, not of all that is stored
    stored = chosen(made.dir, data, tmp_path / "half", **half, from_predictions=str(tmp_path / "shards"))
    memory = chosen(made.dir, data, tmp_path / "memory", unlabeled=(), **half)
    assert [r["sha256"] for r in table_of(stored)] == [r["sha256"] for r in table_of(memory)]
    assert len(table_of(memory)) < 3


@pytest.mark.parametrize(
    "rule", [{"rule": "threshold", "threshold": 1.0}, {"rule": "precision", "target_precision": 0.99}]
)
def test_nothing_selected_of_shards_says_what_to_lower(
    teacher: RunDir, shards: Path, drawn: Path, tmp_path: Path, rule: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match="selects none of 52 images") as refused:
        chosen(teacher, drawn, tmp_path, **rule, from_predictions=str(shards))
    assert "Lower --" in refused.value.hint


def test_a_round_from_shards_trains(teacher: RunDir, shards: Path, drawn: Path, tmp_path: Path) -> None:
    asked = {"rounds": 1, "teachers": [str(teacher.path)], "from_predictions": str(shards)}
    run = pseudo(series_config(drawn, tmp_path, data={"unlabeled": []}, pseudo=asked), quiet=True)
    assert run.status.status == "finished"
    assert run.status.rounds[1].pool == 52


def test_shards_of_another_run_and_a_missing_one_are_refused(
    teacher: RunDir, shards: Path, drawn: Path, tmp_path: Path
) -> None:
    other = train(series_config(drawn, tmp_path, name="other", seed=1), quiet=True)
    assert other is not None
    with pytest.raises(DataError, match="was not predicted by") as refused:
        chosen(other.dir, drawn, tmp_path / "a", from_predictions=str(shards))
    assert "--teacher RUN" in refused.value.hint
    folder = Path(shutil.copytree(shards, tmp_path / "shards"))
    (folder / "shard-00001-of-00003.parquet").unlink()
    with pytest.raises(DataError, match="lacks shard-00001-of-00003"):
        chosen(teacher, drawn, tmp_path / "b", from_predictions=str(folder))


def test_the_hash_of_a_shards_rows_is_of_paths_alone(teacher: RunDir) -> None:
    manifest = read_manifest(teacher.config().data, Console(quiet=True))
    rows: Manifest = manifest.where("train")
    same = rows.with_rows(r._replace(source="elsewhere", digest="0" * 64) for r in rows.rows)
    assert files.rows_hash(rows) == files.rows_hash(same)
    assert files.rows_hash(rows) != files.rows_hash(rows.with_rows(rows.rows[1:]))
