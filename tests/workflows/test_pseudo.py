"""`pseudo` on drawn photos: what a series leaves behind, what its rounds select, train on and keep."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_rounds import files_of, read_json, rounds_of, series_config, table_of, write_table

import ssl_mask
from ssl_mask.console import Console
from ssl_mask.data.load import read_manifest
from ssl_mask.data.predictions import PredictionTable, read_predictions
from ssl_mask.errors import DataError
from ssl_mask.pseudo_labeling import pool as of_rounds
from ssl_mask.runs.find import find_run, list_runs
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.view import Run
from ssl_mask.workflows import train as training
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.pseudo import pseudo
from ssl_mask.workflows.train import train

HEADER = [
    "image", "sha256", "group", "label", "mask", "gender", "age", "confidence", "margin", "confidence/mask",
    "confidence/gender", "confidence/age", "first_round", "flips",
]  # fmt: skip


# ---- what is left behind ----


def test_a_series_leaves_its_files_and_every_round_is_a_run(done: Run) -> None:
    run = {"run.json", "config.yaml", "environment.json", "manifest.csv", "validation.parquet", "run_card.md"}
    run |= {"checkpoints/best.safetensors"}
    trained = {"metrics.jsonl", "checkpoints/last.state", "plots/curves.svg", "plots/confusion.svg"}
    selected = {"pseudo_labels.csv", "pool.parquet", "selection.json", "plots/selection.svg", "audit.json"}
    assert run | {"plots/rounds.svg"} <= files_of(done.path)
    for number, one in enumerate(rounds_of(done)):
        files = files_of(one.path)
        assert run | trained | (selected if number else set()) <= files
        assert number or not selected & files
        assert one.status().status == "finished"
        assert one.status().step == 4
    assert (done.status.verb, done.status.status) == ("pseudo", "finished")
    assert done.path.name == "pseudo-001"
    assert not [f for f in files_of(done.path) if f.endswith(".tmp")]


def test_the_series_is_its_best_round(done: Run) -> None:
    scores = [one.status().best.macro_f1 for one in rounds_of(done)]
    best = done.status.best_round
    assert best == scores.index(max(scores))
    for name in ("checkpoints/best.safetensors", "validation.parquet", "manifest.csv"):
        assert (done.path / name).read_bytes() == (rounds_of(done)[best].path / name).read_bytes()
    assert done.scores == rounds_of(done)[best].status().best
    rows = done.status.rounds
    assert [r.round for r in rows] == [0, 1, 2]
    for row, score in zip(rows, scores, strict=True):
        assert row.macro_f1.value == pytest.approx(score)
        assert row.macro_f1.low <= score <= row.macro_f1.high
    card = (done.path / "run_card.md").read_text()
    assert "## Rounds of pseudo-labels" in card
    assert card.count("labels only") >= 1
    assert all(f"| {r.round} | any | {r.selected} |" in card for r in rows[1:])


def test_the_series_is_found_and_predicts_with_its_best_weights(done: Run, drawn: Path, tmp_path: Path) -> None:
    runs = done.path.parent
    assert [r.name for r in list_runs(runs)] == ["pseudo-001"]
    assert find_run("latest", runs).name == "pseudo-001"
    assert find_run("pseudo-001/rounds/01", runs).path == rounds_of(done)[1].path
    best = rounds_of(done)[done.status.best_round].path
    probs = [
        predict([name], runs_folder=runs, images=drawn / "extra", out=tmp_path / str(i), quiet=True).probs
        for i, name in enumerate(("pseudo-001", "latest", best))
    ]
    assert (probs[0] == probs[2]).all()
    assert (probs[1] == probs[2]).all()


# ---- what is selected ----


def test_a_round_is_chosen_from_what_its_teacher_predicts(done: Run, drawn: Path, tmp_path: Path) -> None:
    """Curriculum labeling by hand, from an ordinary prediction with mirrored views: 20 % a class, then 40 %."""
    for number, teacher in ((1, rounds_of(done)[0]), (2, rounds_of(done)[1])):
        seen = predict([teacher.path], images=drawn / "extra", tta=True, out=tmp_path / str(number), quiet=True)
        own = rounds_of(done)[number]
        frame = read_predictions(own.pool)
        assert frame.path.tolist() == [r.path for r in seen.manifest.rows]
        np.testing.assert_allclose(frame.probs, seen.probs, atol=1e-5)
        assert [t["run"] for t in read_json(own.selection)["teachers"]] == [teacher.path.as_posix()]
        selected = slow_choice(frame, 0.2 * number)
        rows = {Path(r["image"]).name: r for r in table_of(own)}
        assert [*next(iter(rows.values()))] == HEADER
        assert selected == {
            name: {f: row[f] for f in ("mask", "gender", "age") if row[f]} for name, row in rows.items()
        }
        assert all(int(r["first_round"]) <= number for r in rows.values())


def slow_choice(frame: PredictionTable, share: float) -> dict[str, dict[str, str]]:
    """Image -> factor -> class that is among the most confident share of its predicted class."""
    classes = [c.split("/") for c in frame.classes]
    selected: dict[str, dict[str, str]] = {}
    for at, factor in enumerate(("mask", "gender", "age")):
        own: dict[str, list[tuple[float, str, str]]] = {}
        for path, digest, row in zip(frame.path.tolist(), frame.sha256.tolist(), frame.probs, strict=True):
            sums: Counter[str] = Counter()
            for p, names in zip(row, classes, strict=True):
                sums[names[at]] += float(p)
            name = max(sums, key=lambda n: sums[n])
            own.setdefault(name, []).append((-float(np.float32(sums[name])), digest, path))
        for name, ranked in own.items():
            for _, _, path in sorted(ranked)[: math.ceil(round(share * len(ranked), 6))]:
                selected.setdefault(path, {})[factor] = name
    return selected


def test_a_round_is_told_what_it_was_trained_on(done: Run) -> None:
    for one in rounds_of(done)[1:]:
        recorded = one.status().data.pseudo
        assert recorded.images == len(table_of(one))
        assert recorded.table == str(one.pseudo_labels)
        assert one.config().data.pseudo_labels == one.pseudo_labels
    assert rounds_of(done)[0].status().data.pseudo is None


def test_labeled_photos_are_never_pseudo_labeled(faces: Path, tmp_path: Path) -> None:
    """Byte copies of a training and of a validation photo, under new names, in the pool; percentile takes all."""
    config = series_config(faces, tmp_path / "runs", pseudo={"rounds": 1, "percentile_step": 1.0})
    manifest = read_manifest(config.data, Console(quiet=True))
    for side in ("train", "val"):
        for i, photo in enumerate(manifest.where(side).files[:3]):
            (faces / "extra" / f"{side}{i}.jpg").write_bytes(photo.read_bytes())
    run = pseudo(config, quiet=True)
    one = rounds_of(run)[1]
    names = {Path(r["image"]).name for r in table_of(one)}
    assert names == {p.name for p in (faces / "extra").iterdir() if not p.name.startswith(("train", "val"))}
    zero, first = (read_predictions(r.validation) for r in rounds_of(run))
    assert zero.path.tolist() == first.path.tolist()
    assert zero.true.tolist() == first.true.tolist()
    assert rounds_of(run)[0].manifest.read_bytes() == one.manifest.read_bytes()


def test_photos_of_validation_groups_are_never_pseudo_labeled(drawn: Path, tmp_path: Path) -> None:
    data = write_table(drawn, tmp_path / "data")
    config = series_config(data, tmp_path / "runs", data={"unlabeled": []}, pseudo={"rounds": 1, "percentile_step": 1})
    run = pseudo(config, quiet=True)
    assert {Path(r["image"]).name for r in table_of(rounds_of(run)[1])} == {"u-t0.jpg", "u-t1.jpg", "u-new.jpg"}


def test_the_pool_is_read_and_guarded_once_and_each_training_once(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round after round 0 is two trainings; selecting reads and guards nothing anew."""
    calls: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return function(*arguments, **options)

        return call

    for module in (of_rounds, training):
        for name in ("read_manifest", "run_gate"):
            monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    pool = {"mode": "on", "drop_overlap": True, "cards": str(tmp_path / "cards")}
    run = pseudo(series_config(drawn, tmp_path / "runs", guard=pool, pseudo={"rounds": 1}), quiet=True)
    assert calls == {"read_manifest": 3, "run_gate": 3}
    rounds = rounds_of(run)
    assert all(len(table_of(one)) for one in rounds[1:])
    calls.clear()
    pseudo(series_config(drawn, tmp_path / "runs"), resume=run.path, quiet=True)
    assert calls == {}


def test_a_table_that_names_a_labeled_photo_is_refused(done: Run, drawn: Path, tmp_path: Path) -> None:
    one = rounds_of(done)[1]
    given = one.manifest.read_text().splitlines()
    header = given[0].split(",")
    digest = dict(zip(header, given[1].split(","), strict=True))["sha256"]
    lines = one.pseudo_labels.read_text().splitlines()
    cells = lines[3].split(",")
    table = tmp_path / "edited.csv"
    table.write_text("\n".join([*lines[:3], ",".join([cells[0], digest, *cells[2:]]), *lines[4:]]))
    with pytest.raises(DataError, match=r"edited\.csv:4: .* is the same image as"):
        train(series_config(drawn, tmp_path / "runs", data={"pseudo_labels": str(table)}), quiet=True)


def test_a_finished_series_is_not_done_again(done: Run, drawn: Path) -> None:
    """Resuming it changes no file of a round."""
    rounds = RunDir(done.path).rounds
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in rounds.rglob("*") if p.is_file()}
    again = pseudo(series_config(drawn, done.path.parent), resume=done.name, quiet=True)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in rounds.rglob("*") if p.is_file()} == before
    assert again.status.rounds == done.status.rounds
    assert again.status.status == "finished"


def test_the_api_door(done: Run) -> None:
    assert ssl_mask.pseudo is pseudo
    assert ssl_mask.load_run("pseudo-001", done.path.parent).scores == done.scores
