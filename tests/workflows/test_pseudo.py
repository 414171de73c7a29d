"""`pseudo` on drawn photos: what a series leaves behind, what its rounds believe, train on and keep."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from series import files_of, read_json, same_weights, series_config, table_of, weights_of, write_answers

import ssl_mask
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.errors import DataError
from ssl_mask.reports.console import Console
from ssl_mask.reports.tables import read_probabilities, write_probabilities
from ssl_mask.runs import Run, RunDir, find_run, list_runs
from ssl_mask.studies import SeriesDir
from ssl_mask.types import Batch
from ssl_mask.workflows import setup
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.pseudo import pseudo
from ssl_mask.workflows.pseudo_report import best_round, stopped_early
from ssl_mask.workflows.train import build, train

HEADER = [
    "image", "sha256", "label", "mask", "gender", "age", "confidence", "margin", "confidence/mask",
    "confidence/gender", "confidence/age", "first_round", "flips",
]  # fmt: skip


@pytest.fixture(scope="module")
def done(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished series of two rounds, with plots and an audit. Read only."""
    work = tmp_path_factory.mktemp("series")
    answers = write_answers(drawn, work / "answers.csv")
    return pseudo(series_config(drawn, work / "runs"), audit_answers=answers, quiet=True)


def rounds_of(run: Run) -> list[RunDir]:
    return [SeriesDir(run.path).round(n) for n in range(1 + run.config.pseudo.rounds)]


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
        assert one.status()["status"] == "finished"
        assert one.status()["step"] == 4
    assert (done.status["verb"], done.status["status"]) == ("pseudo", "finished")
    assert done.path.name == "pseudo-001"
    assert not [f for f in files_of(done.path) if f.endswith(".tmp")]


def test_the_series_is_its_best_round(done: Run) -> None:
    scores = [one.status()["best"]["macro_f1"] for one in rounds_of(done)]
    best = done.status["best_round"]
    assert best == scores.index(max(scores))
    for name in ("checkpoints/best.safetensors", "validation.parquet", "manifest.csv"):
        assert (done.path / name).read_bytes() == (rounds_of(done)[best].path / name).read_bytes()
    assert done.scores == rounds_of(done)[best].status()["best"]
    rows = done.status["rounds"]
    assert [r["round"] for r in rows] == [0, 1, 2]
    for row, score in zip(rows, scores, strict=True):
        assert row["macro_f1"]["value"] == pytest.approx(score)
        assert row["macro_f1"]["low"] <= score <= row["macro_f1"]["high"]
    card = (done.path / "run_card.md").read_text()
    assert "## Rounds of pseudo-labels" in card
    assert card.count("labels only") >= 1
    assert all(f"{r['selected']} of {r['pool']}" in card for r in rows[1:])


def test_the_series_is_found_and_predicts_with_its_best_weights(done: Run, drawn: Path, tmp_path: Path) -> None:
    runs = done.path.parent
    assert [r.name for r in list_runs(runs)] == ["pseudo-001"]
    assert find_run("latest", runs).name == "pseudo-001"
    assert find_run("pseudo-001/rounds/01", runs).path == rounds_of(done)[1].path
    best = rounds_of(done)[done.status["best_round"]].path
    probs = [
        predict([name], runs_folder=runs, images=drawn / "extra", out=tmp_path / str(i), quiet=True).probs
        for i, name in enumerate(("pseudo-001", "latest", best))
    ]
    assert (probs[0] == probs[2]).all()
    assert (probs[1] == probs[2]).all()


# ---- what is believed ----


def test_a_round_is_chosen_from_what_its_teacher_predicts(done: Run, drawn: Path, tmp_path: Path) -> None:
    """Curriculum labeling by hand, from an ordinary prediction with mirrored views: 20 % a class, then 40 %."""
    for number, teacher in ((1, rounds_of(done)[0]), (2, rounds_of(done)[1])):
        seen = predict([teacher.path], images=drawn / "extra", tta=True, out=tmp_path / str(number), quiet=True)
        own = rounds_of(done)[number]
        frame = read_probabilities(own.pool)
        assert frame["path"].tolist() == [r.path for r in seen.manifest.rows]
        np.testing.assert_allclose(frame.filter(like="p/").to_numpy(), seen.probs, atol=1e-5)
        assert read_json(own.selection)["teacher"] == teacher.path.as_posix()
        believed = slow_choice(frame, 0.2 * number)
        rows = {Path(r["image"]).name: r for r in table_of(own)}
        assert [*next(iter(rows.values()))] == HEADER
        assert believed == {
            name: {f: row[f] for f in ("mask", "gender", "age") if row[f]} for name, row in rows.items()
        }
        assert all(int(r["first_round"]) <= number for r in rows.values())


def slow_choice(frame: Any, share: float) -> dict[str, dict[str, str]]:
    """Image -> factor -> class that is among the most confident share of its predicted class."""
    classes = [c.removeprefix("p/").split("/") for c in frame.columns if c.startswith("p/")]
    believed: dict[str, dict[str, str]] = {}
    for at, factor in enumerate(("mask", "gender", "age")):
        own: dict[str, list[tuple[float, str, str]]] = {}
        for path, digest, row in zip(frame["path"], frame["sha256"], frame.filter(like="p/").to_numpy(), strict=True):
            sums: Counter[str] = Counter()
            for p, names in zip(row, classes, strict=True):
                sums[names[at]] += float(p)
            name = max(sums, key=lambda n: sums[n])
            own.setdefault(name, []).append((-float(np.float32(sums[name])), digest, path))
        for name, ranked in own.items():
            for _, _, path in sorted(ranked)[: math.ceil(round(share * len(ranked), 6))]:
                believed.setdefault(path, {})[factor] = name
    return believed


def test_a_round_is_told_what_it_was_trained_on(done: Run) -> None:
    for one in rounds_of(done)[1:]:
        recorded = one.status()["data"]["pseudo"]
        assert recorded["images"] == len(table_of(one))
        assert recorded["table"] == str(one.pseudo_labels)
        assert one.config().data.pseudo_labels == one.pseudo_labels
    assert rounds_of(done)[0].status()["data"]["pseudo"] is None


@pytest.mark.usefixtures("no_plots")
def test_labeled_photos_are_never_pseudo_labeled(faces: Path, tmp_path: Path) -> None:
    """Byte copies of a training and of a validation photo, under new names, in the pool; percentile takes all."""
    config = series_config(faces, tmp_path / "runs", pseudo={"rounds": 1, "percentile_step": 1.0})
    manifest = setup.read_manifest(config.data, Console(quiet=True))
    for side in ("train", "val"):
        for i, photo in enumerate(manifest.where(side).files[:3]):
            (faces / "extra" / f"{side}{i}.jpg").write_bytes(photo.read_bytes())
    run = pseudo(config, quiet=True)
    one = rounds_of(run)[1]
    names = {Path(r["image"]).name for r in table_of(one)}
    assert names == {p.name for p in (faces / "extra").iterdir() if not p.name.startswith(("train", "val"))}
    zero, first = (read_probabilities(r.validation) for r in rounds_of(run))
    assert zero[["path", "true"]].equals(first[["path", "true"]])
    assert rounds_of(run)[0].manifest.read_bytes() == one.manifest.read_bytes()


@pytest.mark.usefixtures("no_plots")
def test_photos_of_validation_groups_are_never_pseudo_labeled(drawn: Path, tmp_path: Path) -> None:
    data = write_table(drawn, tmp_path / "data")
    config = series_config(data, tmp_path / "runs", data={"unlabeled": []}, pseudo={"rounds": 1, "percentile_step": 1})
    run = pseudo(config, quiet=True)
    assert {Path(r["image"]).name for r in table_of(rounds_of(run)[1])} == {"u-t0.jpg", "u-t1.jpg", "u-new.jpg"}


def write_table(drawn: Path, into: Path) -> Path:
    """A table with groups, given sides and unlabeled photos of training, of validation and of new groups."""
    into.mkdir()
    photos = sorted((drawn / "extra").iterdir())
    lines = ["image,label,group,split"]
    for i in range(12):
        side, number = ("train", "val")[i % 2], i // 4
        lines.append(f"{i}.jpg,{'ab'[i // 2 % 2]},{side[0]}{number},{side}")
    lines += [f"u-{group}.jpg,,{group},unlabeled" for group in ("t0", "t1", "v0", "v2", "new")]
    for line, photo in zip(lines[1:], photos, strict=False):
        (into / line.split(",")[0]).write_bytes(photo.read_bytes())
    (into / "labels.csv").write_text("\n".join(lines) + "\n")
    return into


def test_a_table_that_names_a_labeled_photo_is_refused(done: Run, drawn: Path, tmp_path: Path) -> None:
    one = rounds_of(done)[1]
    given = one.manifest.read_text().splitlines()
    header = given[0].split(",")
    digest = dict(zip(header, given[1].split(","), strict=True))["sha256"]
    lines = one.pseudo_labels.read_text().splitlines()
    cells = lines[3].split(",")
    table = tmp_path / "edited.csv"
    table.write_text("\n".join([*lines[:3], ",".join([cells[0], digest, *cells[2:]]), *lines[4:]]))
    with pytest.raises(DataError, match=r"edited\.csv:4: .* is the labeled"):
        train(series_config(drawn, tmp_path / "runs", data={"pseudo_labels": str(table)}), quiet=True)


# ---- what is trained on ----


def batch_of(config: Any, step: int) -> Batch:
    job = build(config, setup.make_accelerator("fp32"), Console(quiet=True))
    return job.batches(workers=0)[step]


@pytest.mark.parametrize("target", ["factors", "joint"])
def test_labeled_images_are_the_same_with_and_without_pseudo_labels(
    done: Run, drawn: Path, tmp_path: Path, target: str
) -> None:
    """Order and pixels; pseudo-labeled ones come on top, μ times as many, weighted, none where nothing is believed."""
    table = {"pseudo_labels": str(rounds_of(done)[2].pseudo_labels)}
    own = {Path(r["image"]).name: r for r in table_of(rounds_of(done)[2])}
    assert len(own) > 20
    more = {"augment": {"preset": "competition"}, "pseudo": {"mu": 1.5, "weight": 0.5}}
    for step in (0, 3):
        alone, joined = (
            batch_of(series_config(drawn, tmp_path, data={"target": target, **extra}, **more), step).labeled
            for extra in ({}, table)
        )
        assert alone.weights is None
        assert joined.weights is not None
        assert (len(alone.images), len(joined.images)) == (8, 20)
        assert torch.equal(joined.images[:8], alone.images)
        assert torch.equal(joined.labels[:8], alone.labels)
        assert (joined.weights[:8] == 20 / 8).all()
        pseudo_weights = joined.weights[8:] * 12 / 20
        partly = [r for r in own.values() if not (r["mask"] and r["gender"] and r["age"])]
        allowed = slow_weights(list(own.values()), target)
        for row in pseudo_weights.tolist():
            assert any(row == pytest.approx(w, abs=1e-5) for w in allowed)
        assert partly


def slow_weights(rows: list[dict[str, str]], target: str) -> list[list[float]]:
    """λ 0.5 times the confidence of each head, 0 where it is not believed."""
    factors = ("mask", "gender", "age")
    if target == "joint":
        return [[0.5 * float(r["confidence"]) if all(r[f] for f in factors) else 0.0] for r in rows]
    return [[0.5 * float(r[f"confidence/{f}"]) if r[f] else 0.0 for f in factors] for r in rows]


@pytest.mark.usefixtures("no_plots")
def test_a_weight_of_zero_is_training_on_labels_only(done: Run, drawn: Path, tmp_path: Path) -> None:
    """With LayerNorm; batch statistics would see the pseudo-labeled images."""
    shared = {"model": {"backbone": "test_vit", "image_size": 160, "neck": "none"}, "train": {"steps": 2}}
    table = {"pseudo_labels": str(rounds_of(done)[1].pseudo_labels)}
    runs = [
        train(series_config(drawn, tmp_path, data=data, pseudo={"weight": w}, **shared), quiet=True)
        for data, w in (({}, 1.0), (table, 0.0), (table, 1.0))
    ]
    alone, nothing, more = (weights_of(r.dir) for r in runs if r is not None)
    assert max(float((alone[k] - nothing[k]).abs().max()) for k in alone) < 1e-4
    assert max(float((alone[k] - more[k]).abs().max()) for k in alone) > 1e-4


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize(
    "settings",
    [
        {"pseudo": {"labels": "soft", "rule": "top_k", "top_k": 5, "weighting": "constant"}},
        {"pseudo": {"labels": "soft", "masks": "joint"}, "data": {"target": "joint"}, "train": {"accumulate": 2}},
        {"pseudo": {"rule": "threshold", "threshold": 0.1, "cap": 2.0}, "train": {"sampler": "balanced", "workers": 2}},
    ],
    ids=["soft", "soft+joint+accumulate", "threshold+cap+balanced"],
)
def test_every_kind_of_setting_trains(drawn: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    settings = settings | {"pseudo": {"rounds": 1, **settings["pseudo"]}}
    run = pseudo(series_config(drawn, tmp_path, **settings), quiet=True)
    rows = table_of(rounds_of(run)[1])
    assert ("p/worn/male/<30" in rows[0]) == (settings["pseudo"].get("labels") == "soft")
    assert run.status["status"] == "finished"


# ---- with consistency, from other weights, from another run ----


@pytest.mark.usefixtures("no_plots")
def test_consistency_is_for_what_has_no_whole_pseudo_label(
    done: Run, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = {"start_from": str(rounds_of(done)[0].path), "rounds": 2, "percentile_step": 0.5, "masks": "joint"}
    run = pseudo(series_config(drawn, tmp_path, algorithm={"name": "uda"}, pseudo=start))
    first, second = rounds_of(run)[1:]
    whole = {r["sha256"] for r in table_of(first)}
    pool = [line.split(",") for line in first.unlabeled.read_text().splitlines()[1:]]
    used = {cells[2] for cells in pool if cells[-1] == "used"}
    assert used
    assert not whole & used
    assert len(used) + len(whole) == len(read_probabilities(first.pool))
    assert first.config().algorithm.name == "uda"
    assert "consistency" in first.records()[0]["terms"]
    # Round 2 believes all of them.
    assert "none is left for consistency" in " ".join(capsys.readouterr().out.split())
    assert second.config().algorithm.name == "supervised"
    assert not second.unlabeled.is_file()
    assert "consistency" not in second.records()[0]["terms"]


@pytest.mark.usefixtures("no_plots")
def test_a_warm_start_begins_with_the_weights_of_the_round_before(done: Run, drawn: Path, tmp_path: Path) -> None:
    start = {"start_from": str(rounds_of(done)[0].path), "rounds": 1}
    still = {"optim": {"lr": 1e-12}, "train": {"ema_decay": 0.0}}
    warm, fresh = (
        pseudo(series_config(drawn, tmp_path / n, pseudo={**start, "warm_start": w}, **still), quiet=True)
        for n, w in (("warm", True), ("fresh", False))
    )
    before = weights_of(rounds_of(done)[0])
    name = "backbone.conv_stem.weight"
    assert torch.allclose(weights_of(rounds_of(warm)[1])[name], before[name], atol=1e-6)
    assert not torch.allclose(weights_of(rounds_of(fresh)[1])[name], before[name], atol=1e-3)


@pytest.mark.usefixtures("no_plots")
def test_a_finished_run_serves_as_round_0(done: Run, drawn: Path, tmp_path: Path) -> None:
    start = rounds_of(done)[0]
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in start.path.rglob("*") if p.is_file()}
    run = pseudo(series_config(drawn, tmp_path, pseudo={"start_from": str(start.path), "rounds": 1}), quiet=True)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in start.path.rglob("*") if p.is_file()} == before
    assert not rounds_of(run)[0].path.exists()
    own, other = rounds_of(run)[1], rounds_of(done)[1]
    assert own.pseudo_labels.read_bytes() == other.pseudo_labels.read_bytes()
    assert same_weights(own, other)
    assert run.status["rounds"][0]["run"] == start.path.as_posix()
    assert run.status["best_round"] in {0, 1}


def test_a_finished_series_is_not_done_again(done: Run, drawn: Path) -> None:
    """Resuming it changes no file of a round."""
    rounds = SeriesDir(done.path).rounds
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in rounds.rglob("*") if p.is_file()}
    again = pseudo(series_config(drawn, done.path.parent), resume=done.name, quiet=True)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in rounds.rglob("*") if p.is_file()} == before
    assert again.status["rounds"] == done.status["rounds"]
    assert again.status["status"] == "finished"


def test_the_api_door(done: Run) -> None:
    assert ssl_mask.pseudo is pseudo
    assert ssl_mask.load_run("pseudo-001", done.path.parent).scores == done.scores


# ---- when to stop, and what to keep ----

SCHEMA = LabelSchema((Factor("kind", ("cat", "dog", "owl")),))


def handmade(folder: Path, wrong: list[set[int]]) -> SeriesDir:
    """A series whose rounds got these of 60 validation images (of 20 groups) wrong."""
    series = SeriesDir(folder)
    rows = tuple(Row(f"{i}.jpg", f"g{i // 3}", "val", "t", (i % 3,), digest=str(i)) for i in range(60))
    val = Manifest(folder, "table", SCHEMA, rows, True, Submission("image", ("kind",), "names"))
    for number, missed in enumerate(wrong):
        run = series.round(number)
        predicted = [(i + 1) % 3 if i in missed else i % 3 for i in range(60)]
        write_probabilities(run.validation, val, np.eye(3)[predicted])
        run.metrics.write_text(json.dumps({"kind": "val", "step": 1, "cpu_seconds": 1.0}) + "\n")
        counts = {"pool": 1, "selected": 1, "whole": 1, "flipped": 0, "agreement": None, "rule": "top_k", "heads": {}}
        run.selection.write_text(json.dumps(counts))
    return series


@pytest.mark.parametrize(
    ("wrong", "stops"),
    [
        ([set(range(3)), set(range(30))], True),  # half of the groups
        ([set(range(3)), set(range(3, 7))], False),  # one image more, others than before
        ([set(range(3)), set(range(3))], False),
        ([set(range(30)), set(range(3))], False),
        ([set(range(30)), set(range(3)), set(range(6, 40))], True),  # against the best so far, not the first
        ([set(range(3)), set(range(20)), set(range(30))], True),
    ],
)
def test_a_clear_fall_stops_and_noise_does_not(drawn: Path, tmp_path: Path, wrong: list[set[int]], stops: bool) -> None:
    series = handmade(tmp_path, wrong)
    assert stopped_early(series_config(drawn, tmp_path), series, len(wrong) - 1) == stops
    assert not stopped_early(series_config(drawn, tmp_path), series, 0)


def test_of_equal_rounds_the_first_is_kept() -> None:
    rows = [{"round": n, "macro_f1": {"value": v}} for n, v in enumerate([0.5, 0.75, 0.75, 0.7])]
    assert best_round(rows) == 1
    assert best_round(rows[:1]) == 0


@pytest.mark.usefixtures("no_plots")
def test_a_series_that_falls_ends_and_keeps_the_best(
    done: Run, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ssl_mask.workflows.pseudo.stopped_early", lambda *_: _[-1] == 1)
    start = {"start_from": str(rounds_of(done)[0].path), "rounds": 3}
    run = pseudo(series_config(drawn, tmp_path, pseudo=start))
    assert run.status["status"] == "finished"
    assert not rounds_of(run)[2].path.exists()
    assert "fell beyond its interval in round 1" in " ".join(capsys.readouterr().out.split())
