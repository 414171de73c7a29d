"""`uda` on drawn photos: what a run leaves behind, exact resume, the supervised baseline, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ssl_mask
from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.config import RunConfig
from ssl_mask.data.predictions import read_predictions
from ssl_mask.errors import ConfigError, DataError, Interrupted, TrainingError
from ssl_mask.runs.find import find_run, list_runs
from ssl_mask.runs.view import Run
from ssl_mask.training import fit
from ssl_mask.types import Losses
from ssl_mask.workflows.compare import compare
from ssl_mask.workflows.train import train
from ssl_mask.workflows.uda import uda

Tiny = Callable[..., RunConfig]
EASY = {"name": "uda", "threshold": 0.2, "mu": 1.5}


@pytest.fixture
def tiny_uda(tiny: Tiny, drawn: Path) -> Tiny:
    """As `tiny`, with the drawn set's unlabeled photos; a threshold low enough that some targets count."""

    def make(**sections: Any) -> RunConfig:
        algorithm = {**EASY, **sections.pop("algorithm", {})}
        data = {"root": str(drawn), "unlabeled": ["extra"], **sections.pop("data", {})}
        return tiny(algorithm=algorithm, data=data, **sections)

    return make


def finished(config: RunConfig) -> Run:
    run = train(config, quiet=True)
    assert run is not None
    return run


def state_of(run: Run) -> dict[str, torch.Tensor]:
    state = torch.load(run.path / "checkpoints/last.state", weights_only=True)
    flat = {f"{part}.{k}": v for part in ("model", "ema", "algorithm") for k, v in state[part].items()}
    for number, slot in state["optimizer"]["state"].items():
        flat |= {f"optimizer.{number}.{k}": v for k, v in slot.items()}
    return flat


def assert_same_training(first: Run, second: Run) -> None:
    one, two = state_of(first), state_of(second)
    assert one.keys() == two.keys()
    assert [k for k in one if not torch.equal(one[k], two[k])] == []
    logs = [
        [(r["step"], r["terms"], r["stats"]) for r in run.history if r["kind"] == "train"] for run in (first, second)
    ]
    assert logs[0] == logs[1]


@pytest.mark.plots
def test_a_run_leaves_its_pool_card_plot_and_log(tiny_uda: Tiny) -> None:
    run = finished(tiny_uda())
    rows = list(csv.DictReader((run.path / "unlabeled.csv").read_text().splitlines()))
    assert run.status.verb == "uda"
    assert run.status.data.unlabeled.images == sum(r["use"] == "used" for r in rows) > 20
    assert "No supervised baseline was trained" in (run.path / "run_card.md").read_text()
    assert run.status.leakage == "not-checked"
    assert (run.path / "plots/consistency.svg").stat().st_size > 10_000
    last = [r for r in run.history if r["kind"] == "train"][-1]
    assert {"mask", "gender", "age", "consistency"} == set(last["terms"])
    for name, classes in (("joint", 18),):
        assert len(last["stats"][f"selected/{name}"]) == classes
        assert sum(last["stats"][f"histogram/{name}"]) == pytest.approx(1, abs=1e-4)
        assert sum(last["stats"][f"selected/{name}"]) == pytest.approx(last["stats"][f"mask_rate/{name}"], abs=1e-4)
    judged = [r for r in run.history if r["kind"] == "val" and r["weights"] == "live"]
    assert all(0 <= r["pseudo_precision"]["joint"] <= 1 for r in judged)


@pytest.mark.parametrize(
    "settings",
    [
        {
            "algorithm": {"masks": "factors", "tsa": "exp", "sharpen": 0.5, "teacher": "ema", "ramp_up": 0.5},
            "augment": {"mixup": 0.4, "cutmix": 1.0},
        },
        {"algorithm": {"name": "freematch", "alignment": "prior"}, "train": {"workers": 2}},
        pytest.param({"algorithm": {"name": "flexmatch"}}, marks=pytest.mark.slow),
        pytest.param({"algorithm": {"name": "adamatch", "masks": "factors"}}, marks=pytest.mark.slow),
        {"algorithm": {"name": "softmatch", "weak_mode": "train"}, "model": {"dropout": 0.3}},
        {"algorithm": {"name": "fixmatch", "dense": True, "threshold": {"joint": 0.2}}, "data": {"target": "joint"}},
    ],
    ids=["uda", "freematch", "flexmatch", "adamatch", "softmatch", "fixmatch"],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    tiny_uda: Tiny, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    log_step = fit.log_step

    def log_and_signal(session: Any, run: Any, at: int, *rest: Any) -> str:
        if at == 4:
            signal.raise_signal(signal.SIGTERM)
        return log_step(session, run, at, *rest)

    whole = finished(tiny_uda(name="whole", **settings))
    with monkeypatch.context() as patch:
        patch.setattr(fit, "log_step", log_and_signal)
        with pytest.raises(Interrupted, match="step 4 of 6") as stopped:
            train(tiny_uda(name="parts", **settings), quiet=True)
    assert "sslmask uda --resume" in stopped.value.hint
    parts = train(tiny_uda(), resume="parts", quiet=True)
    assert parts is not None
    assert_same_training(whole, parts)


def test_worker_processes_do_not_change_the_result(tiny_uda: Tiny) -> None:
    assert_same_training(*(finished(tiny_uda(train={"workers": n})) for n in (0, 2)))


def test_parts_of_a_batch_add_up_to_the_whole(tiny_uda: Tiny) -> None:
    """With LayerNorm the gradient of 2 x (4 + 6) images is that of 8 + 12."""
    model = {"backbone": "test_vit", "image_size": 160, "neck": "none"}
    runs = [finished(tiny_uda(train={"accumulate": n, "steps": 2}, model=model)) for n in (1, 2)]
    for a, b in zip(*([r for r in run.history if r["kind"] == "train"] for run in runs), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=2e-4)


def test_the_unlabeled_images_matter_and_their_labels_do_not(tiny_uda: Tiny, faces: Path) -> None:
    """A CSV with labels is a pool like the folder: no column but the image's has any effect."""
    photos = sorted((faces / "extra").iterdir())
    runs = []
    for name, label in (("a", "0"), ("b", "17")):
        with (faces / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["ImageID", "ans"], *([f"extra/{p.name}", label] for p in photos)])
        runs.append(finished(tiny_uda(data={"root": str(faces), "unlabeled": [f"{name}.csv"]})))
    assert_same_training(*runs)
    other = finished(tiny_uda(data={"root": str(faces), "unlabeled": ["eval/images"]}))
    assert not torch.equal(state_of(other)["model.heads.age.weight"], state_of(runs[0])["model.heads.age.weight"])


def test_strength_zero_is_the_labels_only_run(tiny_uda: Tiny) -> None:
    with_pool = finished(tiny_uda(algorithm={"weight": 0.0}))
    alone = finished(tiny_uda(algorithm={"name": "supervised"}))
    one, two = ({k: v for k, v in state_of(r).items() if not k.startswith("algorithm")} for r in (with_pool, alone))
    assert [k for k in two if not torch.equal(one[k], two[k])] == []


def test_the_api_door(tiny_uda: Tiny) -> None:
    run = ssl_mask.uda(tiny_uda(algorithm={"name": "supervised"}), quiet=True)
    assert run is not None
    assert run.config.algorithm.name == "uda"


def test_the_teachers_temperatures_reach_the_algorithm_and_its_state(tiny_uda: Tiny) -> None:
    run = finished(tiny_uda(algorithm={"teacher": "ema"}))
    last = [r for r in run.history if r["kind"] == "val" and r["weights"] == "ema"][-1]
    saved = {
        k.removeprefix("algorithm.temperature/"): v.item() for k, v in state_of(run).items() if "temperature/" in k
    }
    assert saved == pytest.approx(last["temperatures"])
    fixed = finished(tiny_uda(algorithm={"temperature": 3.0}))
    temperatures = {v.item() for k, v in state_of(fixed).items() if "temperature/" in k}
    assert temperatures == {3.0}


def test_an_averaged_teacher_starts_at_the_first_evaluation(tiny_uda: Tiny, capfd: pytest.CaptureFixture[str]) -> None:
    def counted(**settings: int) -> list[bool]:
        config = tiny_uda(algorithm={"teacher": "ema", "threshold": 0.0}, train={"log_every": 1, **settings})
        run = uda(config)
        assert run is not None
        return [r["terms"]["consistency"] > 0 for r in run.history if r["kind"] == "train"]

    assert counted(steps=3, eval_every=2) == [False, False, True]
    assert "count after the first" not in capfd.readouterr().out
    assert counted(steps=2, eval_every=2) == [False, False]
    assert "count after the first" in " ".join(capfd.readouterr().out.split())


def test_validation_precision_is_that_of_a_slow_loop(tiny_uda: Tiny) -> None:
    run = finished(tiny_uda(algorithm={"masks": "factors", "threshold": 0.4}, train={"ema_decay": 0.0}))
    last = [r for r in run.history if r["kind"] == "val"][-1]
    frame = read_predictions(run.path / "validation.parquet")
    best = run.scores
    at_best = next(r for r in run.history if r["kind"] == "val" and r["step"] == best.step)
    classes = [c.split("/") for c in frame.classes]
    probs, true = frame.probs, frame.true
    for position, head in enumerate(("mask", "gender", "age")):
        names = list(dict.fromkeys(c[position] for c in classes))
        share, right = 0, 0
        for row, truth in zip(probs, true, strict=True):
            sums = [sum(p for p, c in zip(row, classes, strict=True) if c[position] == n) for n in names]
            if max(sums) > 0.4:
                share += 1
                right += names[int(np.argmax(sums))] == classes[truth][position]
        assert at_best["pseudo_share"][head] == pytest.approx(share / len(true), abs=1e-3)
        assert at_best["pseudo_precision"][head] == pytest.approx(right / max(share, 1), abs=1e-3)
    assert last["step"] == 6


# ---- the supervised baseline ----


def test_a_study_trains_baselines_compares_them_and_is_not_redone(tiny_uda: Tiny) -> None:
    config = tiny_uda(name="study")
    done = compare(config, seeds=[0, 1], quiet=True)
    names = ["seed-0", "seed-0-labels-only", "seed-1", "seed-1-labels-only"]
    assert [r.path.relative_to(config.runs).as_posix() for r in list_runs(config.runs)] == [f"study/{n}" for n in names]
    baseline = find_run("study/seed-1-labels-only", config.runs)
    assert baseline.config().algorithm.name == "supervised"
    assert baseline.config().seed == 1
    assert baseline.status().steps == find_run("study/seed-1", config.runs).status().steps == 6
    card = find_run("study/seed-0", config.runs).card.read_text()
    assert "paired, by group; equal numbers of optimizer steps" in card
    rows = done.result.rows
    gap = np.mean([r.ours.macro_f1 - r.labels_only.macro_f1 for r in rows if r.labels_only is not None])
    assert done.result.difference is not None
    assert done.result.difference.macro_f1.value == pytest.approx(gap)
    assert find_run("latest", config.runs).name == "seed-1"  # never the baseline
    with pytest.raises(DataError, match="study of several runs"):
        find_run("study", config.runs)
    before = {p: p.stat().st_mtime_ns for p in done.path.rglob("last.state")}
    again = compare(config, resume="study", quiet=True)
    assert again.result == done.result
    assert {p: p.stat().st_mtime_ns for p in done.path.rglob("last.state")} == before


def test_a_study_killed_before_the_first_save_of_a_run_goes_on(tiny_uda: Tiny) -> None:
    """It used to ask for that folder to be deleted by hand."""
    done = compare(tiny_uda(name="killed"), quiet=True)
    run = find_run(done.path / "seed-0", Path())
    shutil.rmtree(run.last.parent)
    run.update(status="running", best=None)
    again = compare(tiny_uda(), resume="killed", quiet=True)
    assert again.result.difference == done.result.difference


def test_an_interrupted_study_goes_on_where_it_stopped(tiny_uda: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compare(tiny_uda(name="whole"), quiet=True)
    log_step = fit.log_step

    def log_and_signal(session: Any, run: Any, at: int, *rest: Any) -> str:
        if at == 4 and session.data.unlabeled is not None:
            signal.raise_signal(signal.SIGINT)
        return log_step(session, run, at, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "log_step", log_and_signal)
        with pytest.raises(Interrupted) as stopped:
            compare(tiny_uda(name="parts"), quiet=True)
    assert stopped.value.exit_code == 130
    assert stopped.value.hint.endswith("parts")
    parts = compare(tiny_uda(), resume="parts", quiet=True)
    assert_same_training(Run(find_run(whole.path / "seed-0", Path())), Run(find_run(parts.path / "seed-0", Path())))
    assert parts.result.difference == whole.result.difference


# ---- what is refused or told ----


def test_a_changed_pool_is_not_resumed_on(tiny_uda: Tiny, faces: Path) -> None:
    finished(tiny_uda(name="a", data={"root": str(faces)}))
    next((faces / "extra").iterdir()).unlink()
    with pytest.raises(DataError, match=r"unlabeled pool .* is not what"):
        train(tiny_uda(), resume="a", length={"steps": 8}, quiet=True)


def test_a_pool_smaller_than_a_step_is_told(tiny_uda: Tiny, faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = faces / "few"
    few.mkdir()
    for photo in sorted((faces / "extra").iterdir())[:3]:
        shutil.copy(photo, few)
    train(tiny_uda(data={"root": str(faces), "unlabeled": ["few"]}))
    assert "The pool has 3 images, but each step takes 12" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(
    tiny_uda: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Consistency.losses

    def poisoned(self: Consistency, model: Any, batch: Any, progress: float) -> Losses:
        losses = real(self, model, batch, progress)
        if progress >= 4 / 6:
            losses.terms["consistency"] = losses.terms["consistency"] * float("nan")
        return losses

    monkeypatch.setattr(Consistency, "losses", poisoned)
    with pytest.raises(TrainingError, match=r"loss is nan at step 5 .*consistency nan"):
        train(tiny_uda(name="nan"), quiet=True)
    state = torch.load(tiny_uda().runs / "nan/checkpoints/last.state", weights_only=True)
    assert state["progress"]["step"] == 3
    assert (tiny_uda().runs / "nan/checkpoints/best.safetensors").is_file()


def test_collapse_is_told_once(
    tiny_uda: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Consistency.losses

    def one_class(self: Consistency, model: Any, batch: Any, progress: float) -> Losses:
        losses = real(self, model, batch, progress)
        losses.stats["selected/joint"] = torch.eye(18)[4]
        return losses

    monkeypatch.setattr(Consistency, "losses", one_class)
    train(tiny_uda())
    told = capsys.readouterr().out
    assert told.count("The targets of joint fall on few classes (100% on 'worn/") == 1


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        ({"threshold": {"joint": 0.5, "colour": 0.5}}, "no head 'colour'"),
        ({"threshold": {"mask": 0.5}, "masks": "factors"}, "'gender' has none"),
        ({"teacher": "ema", "weak_mode": "train"}, "weak_mode train"),
        ({"name": "udaa"}, "algorithm.name"),
    ],
)
def test_settings_that_cannot_be(tiny_uda: Tiny, algorithm: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tiny_uda(algorithm=algorithm), quiet=True)


def test_an_averaged_teacher_needs_an_average(tiny_uda: Tiny) -> None:
    with pytest.raises(ConfigError, match="ema_decay"):
        uda(tiny_uda(algorithm={"teacher": "ema"}, train={"ema_decay": 0.0}), quiet=True)


def test_the_labels_only_run_reads_no_pool(tiny: Tiny) -> None:
    run = train(tiny(data={"unlabeled": ["nowhere"]}), quiet=True)
    assert run is not None
    assert json.loads((run.path / "run.json").read_text())["data"]["unlabeled"] is None


def test_on_the_real_faces(mask18: Path, tiny: Tiny) -> None:
    """60 persons keep their labels; the other persons' photos and extra/ are the pool, and no eval photo is in it."""
    data = {"root": str(mask18), "labeled_groups": 60, "unlabeled": ["extra"], "folds": 5}
    run = finished(tiny(algorithm=EASY, data=data, train={"steps": 2, "eval_every": 2}))
    recorded = run.status.data
    assert (recorded.train_groups, recorded.train_images, recorded.val_groups) == (60, 420, 60)
    rows = list(csv.DictReader((run.path / "unlabeled.csv").read_text().splitlines()))
    assert len(rows) == recorded.unlabeled.images + recorded.unlabeled.left_out == 1000 + 180 * 7
    assert not any(r["path"].startswith("eval") for r in rows)
