"""What a round trains on: labeled images as ever, pseudo-labeled ones on top; consistency, other starts, other runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_rounds import files_of, rounds_of, same_weights, series_config, table_of, weights_of

from ssl_mask import devices
from ssl_mask.console import Console
from ssl_mask.data.load import load_training_data, read_manifest
from ssl_mask.data.predictions import read_predictions
from ssl_mask.pseudo_labeling.report import taught_by
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.view import Run
from ssl_mask.training.session import build, make_model
from ssl_mask.types import Batch
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.pseudo import pseudo
from ssl_mask.workflows.train import train


def batch_of(config: Any, step: int) -> Batch:
    accelerator, console = devices.make_accelerator("fp32"), Console(quiet=True)
    manifest = read_manifest(config.data, console)
    model, size = make_model(config, manifest.schema)
    data = load_training_data(manifest, config.data, size, accelerator, console, unlabeled=False)
    return build(config, data, model, size, accelerator, console).batches(workers=0)[step]


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


def test_a_weight_of_zero_is_training_on_labels_only(done: Run, drawn: Path, tmp_path: Path) -> None:
    """With LayerNorm: batch statistics would see the pseudo-labeled images. With SGD: AdamW divides a gradient by its
    own size, so the rounding of another batch size would move a weight as far as a whole gradient does."""
    shared = {
        "model": {"backbone": "test_vit", "image_size": 160, "neck": "none"},
        "optim": {"optimizer": "sgd", "lr": 0.1},
        "train": {"steps": 2},
    }
    table = {"pseudo_labels": str(rounds_of(done)[1].pseudo_labels)}
    runs = [
        train(series_config(drawn, tmp_path, data=data, pseudo={"weight": w}, **shared), quiet=True)
        for data, w in (({}, 1.0), (table, 0.0), (table, 1.0))
    ]
    alone, nothing, more = (weights_of(r.dir) for r in runs if r is not None)
    rounding, effect = (max(float((alone[k] - other[k]).abs().max()) for k in alone) for other in (nothing, more))
    assert rounding < effect / 1000


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
    assert run.status.status == "finished"


# ---- with consistency, from other weights, from another run ----


def test_consistency_is_for_what_has_no_whole_pseudo_label(
    done: Run, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = {"teachers": [str(rounds_of(done)[0].path)], "rounds": 2, "percentile_step": 0.5, "masks": "joint"}
    run = pseudo(series_config(drawn, tmp_path, algorithm={"name": "uda"}, pseudo=start))
    first, second = rounds_of(run)[1:]
    whole = {r["sha256"] for r in table_of(first)}
    pool = [line.split(",") for line in first.unlabeled.read_text().splitlines()[1:]]
    used = {cells[2] for cells in pool if cells[-1] == "used"}
    assert used
    assert not whole & used
    assert len(used) + len(whole) == len(read_predictions(first.pool))
    assert first.config().algorithm.name == "uda"
    assert "consistency" in first.records()[0]["terms"]
    # Round 2 believes all of them.
    assert "none is left for consistency" in " ".join(capsys.readouterr().out.split())
    assert second.config().algorithm.name == "supervised"
    assert not second.unlabeled.is_file()
    assert "consistency" not in second.records()[0]["terms"]
    told = [taught_by(each) for each in (rounds_of(done)[0], first, second)]
    assert told == ["labels only", "labels and unlabeled images and pseudo-labels", "labels and pseudo-labels"]


def test_a_warm_start_begins_with_the_weights_of_the_round_before(done: Run, drawn: Path, tmp_path: Path) -> None:
    start = {"teachers": [str(rounds_of(done)[0].path)], "rounds": 1}
    still = {"optim": {"lr": 1e-12}, "train": {"ema_decay": 0.0}}
    warm, fresh = (
        pseudo(series_config(drawn, tmp_path / n, pseudo={**start, "warm_start": w}, **still), quiet=True)
        for n, w in (("warm", True), ("fresh", False))
    )
    before = weights_of(rounds_of(done)[0])
    name = "backbone.conv_stem.weight"
    assert torch.allclose(weights_of(rounds_of(warm)[1])[name], before[name], atol=1e-6)
    assert not torch.allclose(weights_of(rounds_of(fresh)[1])[name], before[name], atol=1e-3)


def test_a_finished_run_serves_as_round_0(done: Run, drawn: Path, tmp_path: Path) -> None:
    start = rounds_of(done)[0]
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in start.path.rglob("*") if p.is_file()}
    run = pseudo(series_config(drawn, tmp_path, pseudo={"teachers": [str(start.path)], "rounds": 1}), quiet=True)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in start.path.rglob("*") if p.is_file()} == before
    assert not rounds_of(run)[0].path.exists()
    own, other = rounds_of(run)[1], rounds_of(done)[1]
    assert own.pseudo_labels.read_bytes() == other.pseudo_labels.read_bytes()
    assert same_weights(own, other)
    assert run.status.rounds[0].run == start.path.as_posix()
    assert run.status.best_round in {0, 1}


def test_several_teachers_teach_as_their_mean(done: Run, drawn: Path, tmp_path: Path) -> None:
    """Their mean predicts the pool of round 1; it is no round itself, and later rounds take them only if asked."""
    teachers = rounds_of(done)[:2]
    asked = {"teachers": [str(t.path) for t in teachers], "keep_teachers": True, "agreement": 1.0}
    run = pseudo(series_config(drawn, tmp_path, pseudo=asked, train={"steps": 2}), quiet=True)
    zero, first, second = rounds_of(run)
    assert files_of(zero.path) == {"validation.parquet"}
    names = [[Path(t.run) for t in r.selection_record().teachers] for r in (first, second)]
    assert names == [[t.path for t in teachers], [first.path, *(t.path for t in teachers)]]
    assert list(first.status().ancestors) == [str(t.path) for t in teachers]
    each = [predict([t.path], images=drawn / "extra", tta=True, out=tmp_path / t.name, quiet=True) for t in teachers]
    pool = read_predictions(first.pool)
    np.testing.assert_allclose(pool.probs, sum(e.probs for e in each) / 2, atol=1e-6)
    schema = read_metadata(first.best).label_schema
    chosen = {name: pool.more[f"selected/{name}"].astype(bool) for name in schema.sizes}
    assert np.stack([*chosen.values()]).any()
    for name, rows in chosen.items():
        one, two = (schema.marginals(e.probs)[name].argmax(axis=1) for e in each)
        assert (one == two)[rows].all()
    row = run.status.rounds[0]
    assert (row.teachers, row.taught_by, run.status.best_round in {1, 2}) == (2, "mean of 2 teachers", True)
    table, own = read_predictions(zero.validation), read_predictions(first.validation)
    assert (table.path.tolist(), table.true.tolist()) == (own.path.tolist(), own.true.tolist())
    assert "Round 1 learned from the mean of 2 teachers." in run.dir.card.read_text()


def test_the_card_says_what_round_0_knew(done: Run, drawn: Path, tmp_path: Path) -> None:
    start = {"teachers": [str(rounds_of(done)[1].path)], "rounds": 1}
    run = pseudo(series_config(drawn, tmp_path, pseudo=start), quiet=True)
    card = run.dir.card.read_text()
    assert "| 0 | labels and pseudo-labels |" in card
    assert "Round 0 learned from labels and pseudo-labels." in card or "round 0 (labels and pseudo-labels)" in card
