"""`model.tuning: probe` trains on stored features: as a frozen backbone on images would, and through the same doors."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_rounds import series_config
from test_train import assert_bitwise_equal, losses_of, stop_at, weights_of
from tiny_runs import TINY

from ssl_mask.config import RunConfig, merge, resolve
from ssl_mask.console import Console
from ssl_mask.data.features import random_view
from ssl_mask.data.predictions import read_predictions
from ssl_mask.devices import make_accelerator
from ssl_mask.errors import ConfigError, Interrupted
from ssl_mask.inference.predictor import Compute
from ssl_mask.inference.run_predictor import load_run_predictor
from ssl_mask.models.classifier import Classifier
from ssl_mask.runs.view import Run
from ssl_mask.training import session as sessions
from ssl_mask.training.inputs import Inputs
from ssl_mask.workflows.pseudo import pseudo
from ssl_mask.workflows.train import prepare, train

Tiny = Callable[..., RunConfig]
PROBE: dict[str, Any] = {"model": {"tuning": "probe", "dropout": 0.2}, "augment": {"preset": "flip"}}


def trained(config: RunConfig) -> Run:
    run = train(config, quiet=True)
    assert run is not None
    return run


@pytest.fixture(scope="module")
def whole(drawn: Path, tmp_path_factory: pytest.TempPathFactory, no_plots_in_module: None) -> Run:  # noqa: ARG001
    """A finished probe. Read only."""
    own = {"runs": str(tmp_path_factory.mktemp("probe")), "data": {"root": str(drawn)}, **PROBE}
    return trained(resolve([merge(TINY, own)], has_gpu=lambda: False))


def test_it_trains_as_a_frozen_backbone_does_on_the_images_themselves(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PROBE | {"augment": {"preset": "none"}}
    stored = trained(tiny(name="stored", **settings))
    pixels = lambda config, data, *_: Inputs(data.train.images, data.val.images)  # noqa: ARG005, E731
    monkeypatch.setattr(sessions, "make_inputs", pixels)
    plain = trained(tiny(name="plain", **settings))
    ours, theirs = (weights_of(run.path) for run in (stored, plain))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, atol=1e-4, rtol=1e-3, msg=name)
    assert any(not torch.equal(ours[k], theirs[k]) for k in theirs if "neck" in k)  # it was another computation
    np.testing.assert_allclose(losses_of(stored.path), losses_of(plain.path), rtol=1e-4)


def test_the_bits_do_not_depend_on_the_cache_and_a_resumed_run_is_an_uninterrupted_one(
    tiny: Tiny, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncached = trained(tiny(**PROBE, data={"cache": "off"}))
    assert_bitwise_equal(weights_of(whole.path), weights_of(uncached.path))
    pooled: list[int] = []
    pool = Classifier.pool
    monkeypatch.setattr(Classifier, "pool", lambda self, batch: (pooled.append(len(batch)), pool(self, batch))[1])
    with monkeypatch.context() as patch:
        stop_at(patch, 4, signal.SIGTERM)
        with pytest.raises(Interrupted):
            train(tiny(name="parts", **PROBE), quiet=True)
    parts = train(tiny(), resume="parts", quiet=True)
    assert parts is not None
    assert_bitwise_equal(weights_of(whole.path), weights_of(parts.path))
    assert losses_of(whole.path) == losses_of(parts.path)
    assert pooled == []  # of images that another run has seen


def test_its_checkpoint_is_an_ordinary_one(tiny: Tiny, whole: Run) -> None:
    session = _session(tiny(**PROBE))
    fresh, _ = sessions.make_model(whole.config, session.data.manifest.schema)
    backbone = {k: v for k, v in fresh.state_dict().items() if k.startswith("backbone.")}
    state = weights_of(whole.path)
    assert_bitwise_equal(backbone, {k: state[f"model.{k}"] for k in backbone})
    table = read_predictions(whole.dir.validation)
    predictor = load_run_predictor(whole.dir, Compute(session.accelerator, Console(quiet=True)))
    predicted = predictor.probs(session.data.val.manifest)
    np.testing.assert_allclose(predicted.probs, table.probs, atol=1e-4)


def test_an_image_or_its_mirror_image_is_drawn_from_the_seed_of_its_place(tiny: Tiny) -> None:
    session = _session(tiny(**PROBE))
    values = session.inputs.train.values  # type: ignore[attr-defined]
    assert values.shape[1] == 2 and not np.array_equal(values[:, 0], values[:, 1])
    batches = session.batches(workers=0)
    drawn = [batches[step] for step in range(12)]
    rows = [d.row for step in range(12) for d in batches.labeled.stream.batch(step)]
    features = torch.cat([batch.labeled.images for batch in drawn]).numpy()
    chosen = [int(np.array_equal(f, values[r, 1])) for f, r in zip(features, rows, strict=True)]
    assert all(np.array_equal(f, values[r, c]) for f, r, c in zip(features, rows, chosen, strict=True))
    assert 0.3 < np.mean(chosen) < 0.7
    assert torch.equal(batches[3].labeled.images, drawn[3].labeled.images)
    choices = {seed: [int(random_view(np.arange(2.0)[:, None], (seed, p))[0]) for p in range(40)] for seed in (0, 1)}
    assert choices[0] != choices[1]
    plain = _session(tiny(**PROBE | {"augment": {"flip": False}}))
    assert plain.inputs.train.values.shape[1] == 1  # type: ignore[attr-defined]


@pytest.mark.slow
def test_pseudo_labels_are_trained_on(drawn: Path, tmp_path: Path) -> None:
    settings = {"model": {"tuning": "probe"}, "pseudo": {"rounds": 1}}
    series = pseudo(series_config(drawn, tmp_path / "runs", **settings), quiet=True)
    student = series.dir.round(1)
    pseudo_labeled = student.data().pseudo
    assert pseudo_labeled is not None and pseudo_labeled.images > 0
    assert student.status().status == "finished"


def test_what_does_not_count_is_said_aloud(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(tiny(**PROBE), make_accelerator("fp32"), Console())
    said = " ".join(capsys.readouterr().out.split())
    assert "Probe trains on features of the frozen backbone (images and mirror images)" in said
    assert "other augmentation does not count" in said


@pytest.mark.parametrize("algorithm", ["uda", "fixmatch"])
def test_consistency_needs_more_than_features(tiny: Tiny, algorithm: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.tuning probe trains on features .* use tuning last-n or lora"):
        tiny(**PROBE, algorithm={"name": algorithm})


def _session(config: RunConfig) -> sessions.Session:
    return prepare(config, make_accelerator("fp32"), Console(quiet=True))[0]
