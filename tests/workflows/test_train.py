"""The train workflow on drawn photos: what it leaves behind, and that stopping and continuing changes nothing."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.config import RunConfig
from ssl_mask.errors import DataError, Interrupted, ModelError, TrainingError
from ssl_mask.runs.find import find_run, list_runs
from ssl_mask.training import fit as workflow
from ssl_mask.types import Losses
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.train import train

Tiny = Callable[..., RunConfig]
ARTEFACTS = {
    "run.json", "config.yaml", "environment.json", "manifest.csv", "metrics.jsonl", "checkpoints/best.safetensors",
    "checkpoints/last.state", "validation.parquet", "plots/curves.svg", "plots/confusion.svg", "run_card.md", ".lock",
}  # fmt: skip


def files_of(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Send this process a real signal while step `step` is logged."""
    log_step = workflow.log_step

    def log_and_signal(session: Any, run: Any, at: int, *rest: Any) -> str:
        if at == step:
            signal.raise_signal(number)
        return log_step(session, run, at, *rest)

    monkeypatch.setattr(workflow, "log_step", log_and_signal)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    state = torch.load(path / "checkpoints/last.state", weights_only=True)
    flat = {f"model.{k}": v for k, v in state["model"].items()} | {f"ema.{k}": v for k, v in state["ema"].items()}
    for number, slot in state["optimizer"]["state"].items():
        flat |= {f"optimizer.{number}.{k}": v for k, v in slot.items()}
    return flat


def assert_bitwise_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [k for k in first if not torch.equal(first[k], second[k])]
    assert not different


def losses_of(path: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [(r["step"], r["loss"]) for r in lines if r["kind"] == "train"]


def test_a_run_leaves_all_its_files_and_finishes(tiny: Tiny) -> None:
    run = train(tiny(), quiet=True)
    assert run is not None
    assert files_of(run.path) == ARTEFACTS
    assert run.status.status == "finished"
    assert run.status.step == 6
    assert 0 <= run.scores.macro_f1 <= 1
    assert set(run.scores.temperatures) == {"mask", "gender", "age"}
    assert "**Leakage: not-checked.**" in (run.path / "run_card.md").read_text()


def test_the_saved_configuration_makes_the_same_run(tiny: Tiny) -> None:
    first = train(tiny(name="first"), quiet=True)
    assert first is not None
    second = train(first.config.model_copy(update={"name": "second"}), quiet=True)
    assert second is not None
    assert_bitwise_equal(weights_of(first.path), weights_of(second.path))
    other = train(tiny(name="other", seed=1), quiet=True)
    assert other is not None
    assert losses_of(other.path) != losses_of(first.path)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("step", "number"), [(2, signal.SIGINT), (4, signal.SIGTERM)])
def test_interrupted_and_resumed_equals_uninterrupted(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, workers: int, step: int, number: int
) -> None:
    settings = {"train": {"workers": workers, "sampler": "balanced"}, "augment": {"preset": "competition"}}
    settings |= {"model": {"dropout": 0.3, "dropout_samples": 2}, "optim": {"schedule": "plateau", "clip_norm": 1.0}}
    whole = train(tiny(name="whole", **settings), quiet=True)
    with monkeypatch.context() as patch:
        stop_at(patch, step, number)
        with pytest.raises(Interrupted, match=f"step {step} of 6") as stopped:
            train(tiny(name="parts", **settings), quiet=True)
    assert stopped.value.exit_code == 128 + number
    assert "--resume" in stopped.value.hint
    parts = train(tiny(), resume="parts", quiet=True)
    assert whole is not None
    assert parts is not None
    assert_bitwise_equal(weights_of(whole.path), weights_of(parts.path))
    assert losses_of(whole.path) == losses_of(parts.path)
    best = [load_file(r.path / "checkpoints/best.safetensors") for r in (whole, parts)]
    assert_bitwise_equal(*best)


def test_a_run_killed_before_its_first_save_is_resumed_from_the_first_step(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing of it to continue but its name, which must not be lost."""

    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    whole = train(tiny(name="whole"), quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "save", kill)
        with pytest.raises(Killed):
            train(tiny(name="parts"), quiet=True)
    parts = train(tiny(), resume="parts", quiet=True)
    assert whole is not None
    assert parts is not None
    assert_bitwise_equal(weights_of(whole.path), weights_of(parts.path))
    assert losses_of(whole.path) == losses_of(parts.path)


def test_a_run_that_was_saved_is_not_begun_anew_where_its_state_is_gone(tiny: Tiny) -> None:
    run = train(tiny(name="first"), quiet=True)
    assert run is not None
    run.dir.last.unlink()
    with pytest.raises(ModelError, match="There is no saved state"):
        train(tiny(), resume="first", length={"steps": 9}, quiet=True)


def test_workers_do_not_change_the_result(tiny: Tiny) -> None:
    runs = [train(tiny(train={"workers": w}, augment={"preset": "strong"}), quiet=True) for w in (0, 2)]
    assert runs[0] is not None
    assert runs[1] is not None
    assert_bitwise_equal(weights_of(runs[0].path), weights_of(runs[1].path))


def test_parts_of_a_batch_add_up_to_the_whole(tiny: Tiny) -> None:
    """With LayerNorm the gradient of 2 x 4 images is that of 8."""
    model = {"backbone": "test_vit", "image_size": 160, "neck": "none"}
    runs = [train(tiny(train={"accumulate": n, "steps": 2}, model=model), quiet=True) for n in (1, 2)]
    assert runs[0] is not None
    assert runs[1] is not None
    for (_, a), (_, b) in zip(losses_of(runs[0].path), losses_of(runs[1].path), strict=True):
        assert a == pytest.approx(b, abs=2e-4)


def test_going_further_extends_a_finished_run(tiny: Tiny) -> None:
    train(tiny(name="more"), quiet=True)
    run = train(tiny(), resume="more", length={"steps": 9}, quiet=True)
    assert run is not None
    assert run.status.step == 9
    assert [s for s, _ in losses_of(run.path)] == list(range(1, 10))


def test_resume_refuses_changed_data(tiny: Tiny, faces: Path) -> None:
    train(tiny(name="a", data={"root": str(faces)}), quiet=True)
    photo = next((faces / "train/images").rglob("normal.jpg"))
    photo.write_bytes(next(p for p in (faces / "extra").iterdir()).read_bytes())
    with pytest.raises(DataError, match="not what"):
        train(tiny(), resume="a", length={"steps": 8}, quiet=True)


def test_init_from_takes_over_weights(tiny: Tiny) -> None:
    first = train(tiny(name="first"), quiet=True)
    second = train(tiny(init_from="first", optim={"lr": 1e-12}, train={"steps": 1, "ema_decay": 0}), quiet=True)
    assert first is not None
    assert second is not None
    before, after = (load_file(r.path / "checkpoints/best.safetensors") for r in (first, second))
    name = "backbone.conv_stem.weight"
    assert torch.allclose(before[name], after[name], atol=1e-6)


def test_adapters_on_a_transformer_resume_bitwise_and_predict(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At an image size that is not the network's own."""
    model = {"backbone": "test_vit", "image_size": 64, "tuning": "lora", "lora_rank": 4, "drop_path": 0.1}
    settings = {"model": model, "train": {"steps": 4, "eval_every": 2}, "optim": {"layer_decay": 0.8}}
    whole = train(tiny(name="whole", **settings))
    # 6 blocks of width 64: qkv (64 -> 192) and proj (64 -> 64) at rank 4.
    assert f"Tuning lora: {6 * 4 * (64 + 192 + 64 + 64):,} of" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        stop_at(patch, 2, signal.SIGINT)
        with pytest.raises(Interrupted):
            train(tiny(name="parts", **settings), quiet=True)
    parts = train(tiny(), resume="parts", quiet=True)
    assert whole is not None and parts is not None
    state = weights_of(whole.path)
    assert_bitwise_equal(state, weights_of(parts.path))
    names = [n.removeprefix("model.") for n in state if n.startswith("model.backbone.")]
    moved = {n for n in names if not torch.equal(state[f"model.{n}"], state[f"ema.{n}"])}
    assert moved == {n for n in names if ".lora_" in n}
    probs = predict(["whole"], runs_folder=whole.path.parent, write=False, quiet=True).probs
    assert probs.std(axis=0).any() and probs.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_early_stopping_stops(tiny: Tiny) -> None:
    run = train(tiny(train={"steps": 40, "eval_every": 1, "patience": 2}, optim={"lr": 1e-12}), quiet=True)
    assert run is not None
    assert run.status.step < 40
    assert run.status.status == "finished"


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(tiny: Tiny) -> None:
    settings = {"optim": {"lr": 1e30, "warmup": 0, "optimizer": "sgd"}, "model": {"head": "linear", "neck": "none"}}
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at step \d|diverged"):
        train(tiny(name="nan", train={"steps": 50, "eval_every": 1}, **settings), quiet=True)


def test_a_single_bad_step_is_named_and_the_state_before_it_is_kept(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(self: Supervised, model: torch.nn.Module, batch: Any, progress: float) -> Losses:
        losses = real(self, model, batch, progress)
        return losses if progress < 4 / 6 else Losses({"mask": losses.total * float("nan")}, {})

    real = Supervised.losses
    monkeypatch.setattr(Supervised, "losses", poisoned)
    with pytest.raises(TrainingError, match="loss is nan at step 5"):
        train(tiny(name="nan"), quiet=True)
    state = torch.load(tiny().runs / "nan/checkpoints/last.state", weights_only=True)
    assert state["progress"]["step"] == 3
    assert all(torch.isfinite(v).all() for v in state["model"].values())


def test_a_dry_run_leaves_nothing(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny()
    assert train(config, dry_run=True) is None
    assert not config.runs.exists()
    assert "GB memory" in capsys.readouterr().out


def test_a_run_that_is_being_worked_on_is_refused(tiny: Tiny) -> None:
    run = train(tiny(name="busy"), quiet=True)
    assert run is not None
    with run.dir.locked(), pytest.raises(DataError, match="Another process"):
        train(tiny(), resume="busy", length={"steps": 9}, quiet=True)


def test_runs_are_numbered_and_found(tiny: Tiny) -> None:
    config = tiny(train={"steps": 1})
    names = [r.name for r in (train(config, quiet=True), train(config, quiet=True)) if r is not None]
    assert names == ["train-001", "train-002"]
    assert [r.name for r in list_runs(config.runs)] == names
    assert find_run("latest", config.runs).name == "train-002"


@pytest.mark.parametrize(
    "settings",
    [
        {"data": {"target": "joint"}},
        {"loss": {"criterion": "focal", "label_smoothing": 0.1, "smoothing_classes": ["30-59"]}},
        {"loss": {"class_weights": {">=60": 2.0}}, "train": {"sampler": "weighted"}},
        {"loss": {"class_weights": "effective"}, "model": {"head": "linear", "pooling": "gem"}},
        {"optim": {"optimizer": "sgd", "schedule": "one_cycle", "agc": 0.01}, "train": {"ema_decay": 0}},
        {"train": {"precision": "bf16", "sampler": "balanced"}, "optim": {"optimizer": "adam"}},
        {"data": {"cache": "off", "resize": "pad"}, "model": {"neck": "linear-bn-prelu", "freeze_stages": 2}},
        {"model": {"tuning": "probe", "pooling": "gem"}},
        {"model": {"tuning": "last-n"}, "optim": {"layer_decay": 0.7}},
    ],
    ids=lambda s: "+".join(str(k) for k in s),
)
def test_every_kind_of_setting_trains(tiny: Tiny, settings: dict[str, Any]) -> None:
    run = train(tiny(**settings), quiet=True)
    assert run is not None
    assert run.status.status == "finished"
