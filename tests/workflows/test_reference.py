"""The reference of a run: the frozen backbone's worth on its own images, and nothing of the run changes by it."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_train import assert_bitwise_equal, losses_of, stop_at, weights_of

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.predictions import read_validation
from ssl_mask.devices import make_accelerator
from ssl_mask.errors import Interrupted
from ssl_mask.evaluation.metrics import paired_bootstrap
from ssl_mask.evaluation.reference import reference_probs
from ssl_mask.models.backbones import create_backbone
from ssl_mask.models.classifier import Classifier
from ssl_mask.runs.view import Run
from ssl_mask.training.reference import has_reference
from ssl_mask.training.session import make_model
from ssl_mask.workflows.compare import compare
from ssl_mask.workflows.folds import train_folds
from ssl_mask.workflows.train import prepare, train

Tiny = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a backbone with weights of its own."""
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    torch.manual_seed(5)
    save_file(create_backbone("test_efficientnet", weights="none").net.state_dict(), path)
    return {"model": {"weights": str(path)}}


def trained(config: RunConfig) -> Run:
    run = train(config, quiet=True)
    assert run is not None
    return run


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A value for each forward pass without gradients through the backbone: whether it was of a reference."""
    seen: list[bool] = []
    pool = Classifier.pool

    def counted(self: Classifier, images: torch.Tensor) -> torch.Tensor:
        if torch.is_inference_mode_enabled() and len(images) == 32:
            seen.append(True)
        return pool(self, images)

    monkeypatch.setattr(Classifier, "pool", counted)
    return seen


def test_it_is_a_regression_on_the_backbone_before_training_and_changes_nothing_of_the_run(
    tiny: Tiny, pretrained: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tiny(name="run", **pretrained))
    assert run is not None
    said = " ".join(capsys.readouterr().out.split())
    without = trained(tiny(name="without", **pretrained, train={"reference": "off"}))
    assert_bitwise_equal(weights_of(run.path), weights_of(without.path))
    assert losses_of(run.path) == losses_of(without.path)
    ours, plain = read_validation(run.dir.validation), read_validation(without.dir.validation)
    assert ours.probs.tobytes() == plain.probs.tobytes()
    assert without.dir.reference_record() is None and not without.dir.reference.exists()

    data = prepare(tiny(**pretrained), make_accelerator("fp32"), Console(quiet=True))[0].data
    fresh = make_model(run.config, data.manifest.schema)[0].eval()
    with torch.no_grad():
        train_features, val_features = (
            torch.cat([fresh.pool(torch.from_numpy(s.images.read(i)[None])) for i in range(len(s))]).numpy()
            for s in (data.train, data.val)
        )
    expected = reference_probs(
        train_features, data.train.manifest.train_labels, val_features, data.manifest.schema, "factors"
    )  # fmt: skip
    table = read_validation(run.dir.reference)
    np.testing.assert_allclose(table.probs, expected, atol=1e-3)
    for column in ("id", "path", "sha256", "group", "fold", "true"):
        assert (getattr(table, column) == getattr(ours, column)).all()
    record = run.dir.reference_record()
    assert record is not None
    assert (record.train_images, record.of_images) == (len(data.train), len(data.train))
    assert record.accuracy == pytest.approx((table.predicted == table.true).mean())

    f1 = paired_bootstrap(
        ours.true, table.predicted[None], ours.predicted[None], ours.group, len(ours.classes)
    )["macro_f1"]  # fmt: skip
    assert f"Probe logistic regression on the frozen backbone: validation macro-F1 {record.macro_f1:.4f}" in said
    for text in (said, (run.path / "run_card.md").read_text()):
        assert f"95 % interval {f1.low:+.4f} to {f1.high:+.4f}" in text


def test_a_resumed_run_keeps_its_reference_and_a_lost_one_is_of_the_weights_before_training(
    tiny: Tiny, pretrained: dict[str, Any], monkeypatch: pytest.MonkeyPatch, pooled: list[bool]
) -> None:
    settings = {**pretrained, "data": {"cache": "off"}}
    with monkeypatch.context() as patch:
        stop_at(patch, 4, signal.SIGTERM)
        with pytest.raises(Interrupted):
            train(tiny(name="parts", **settings), quiet=True)
    parts = tiny().runs / "parts"
    written = (parts / "reference.parquet").read_bytes()
    lost = Path(shutil.copytree(parts, parts.with_name("lost")))
    (lost / "reference.json").unlink()
    (lost / "reference.parquet").unlink()
    assert pooled
    pooled.clear()
    train(tiny(), resume=parts, quiet=True)
    assert not pooled and (parts / "reference.parquet").read_bytes() == written
    train(tiny(), resume=lost, quiet=True)
    assert pooled and (lost / "reference.parquet").read_bytes() == written
    assert_bitwise_equal(weights_of(parts), weights_of(lost))


def test_no_reference_without_pretrained_weights_or_validation(tiny: Tiny, pretrained: dict[str, Any]) -> None:
    data = prepare(tiny(), make_accelerator("fp32"), Console(quiet=True))[0].data
    assert has_reference(tiny(**pretrained), data) and has_reference(tiny(init_from="scratch"), data)
    assert not has_reference(tiny(), data)
    assert not has_reference(tiny(**pretrained), replace(data, val=data.val.at([])))
    assert not has_reference(tiny(**pretrained, train={"reference": "off"}), data)


@pytest.mark.slow
def test_a_study_of_folds_is_measured_against_all_of_its_references(tiny: Tiny, pretrained: dict[str, Any]) -> None:
    study = train_folds(tiny(**pretrained), folds=2, quiet=True)
    assert study is not None
    record, oof = study.record(), read_validation(study.oof)
    tables = [read_validation(run.reference) for run in study.members()]
    place = {path: i for i, path in enumerate(oof.path.tolist())}
    pooled = np.empty(len(oof), np.int64)
    for table in tables:
        pooled[[place[path] for path in table.path.tolist()]] = table.predicted
    expected = paired_bootstrap(oof.true, pooled[None], oof.predicted[None], oof.group, len(oof.classes))
    assert record.reference is not None
    assert record.reference.difference.macro_f1.model_dump() == expected["macro_f1"]._asdict()
    assert f"{expected['macro_f1'].low:+.4f} to {expected['macro_f1'].high:+.4f}" in study.card.read_text()


@pytest.mark.slow
def test_runs_with_unlabeled_images_are_measured_against_it_too(tiny: Tiny, pretrained: dict[str, Any]) -> None:
    more = {"algorithm": {"name": "uda"}, "data": {"unlabeled": ["extra"]}}
    comparison = compare(tiny(**pretrained, **more), seeds=[0, 1], quiet=True)
    runs = [read_validation(comparison.path / f"seed-{seed}" / "validation.parquet") for seed in (0, 1)]
    reference = read_validation(comparison.path / "seed-0" / "reference.parquet")
    expected = paired_bootstrap(
        reference.true, np.stack([reference.predicted] * 2), np.stack([r.predicted for r in runs]), reference.group,
        len(reference.classes),
    )  # fmt: skip
    found = comparison.result.reference
    assert found is not None and found.difference.macro_f1.model_dump() == expected["macro_f1"]._asdict()
    assert "training with unlabeled images is" in (comparison.path / "comparison.md").read_text()
