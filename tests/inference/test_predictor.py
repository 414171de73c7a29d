"""Predictors against one photo at a time: probabilities, embeddings, the mean of several, unreadable photos."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY

from ssl_mask.config import merge, resolve
from ssl_mask.console import Console
from ssl_mask.data.images import decode, fit
from ssl_mask.data.layouts.images import read_images
from ssl_mask.data.manifest import Manifest
from ssl_mask.devices import make_accelerator
from ssl_mask.errors import ImageError, ModelError
from ssl_mask.inference import run_predictor
from ssl_mask.inference.load import load_predictor
from ssl_mask.inference.mean_predictor import MeanPredictor
from ssl_mask.inference.predictor import Compute
from ssl_mask.inference.run_predictor import RunPredictor, load_run_predictor
from ssl_mask.runs.sources import Source, run_source
from ssl_mask.runs.view import Run
from ssl_mask.workflows.train import train


def trained(data: Path, runs: Path, name: str, size: int, width: int) -> Run:
    model = {"image_size": size, "embedding_size": width}
    own = {"runs": str(runs), "name": name, "data": {"root": str(data)}, "model": model, "train": {"steps": 2}}
    run = train(resolve([merge(TINY, own)], has_gpu=lambda: False), quiet=True)
    assert run is not None
    return run


@pytest.fixture(scope="module")
def runs(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """Of different image sizes and embedding widths. Read only."""
    folder = tmp_path_factory.mktemp("predictors")
    return trained(drawn, folder, "small", 32, 16), trained(drawn, folder, "large", 48, 24)


def compute() -> Compute:
    return Compute(make_accelerator("fp32"), Console(quiet=True), batch_size=3)


def photos_of(folder: Path, predictor: RunPredictor) -> Manifest:
    """Eight photos, by file name."""
    rows = read_images(folder, predictor.schema, predictor.source.metadata.submission)
    return rows.with_rows(rows.rows[:8])


def slow(predictor: RunPredictor, path: Path, *, mirrored: bool = False) -> tuple[list[float], list[float]]:
    """(probabilities of the joint classes, embedding of length 1) of one photo, straight from its file."""
    image = fit(decode(path), predictor.size)
    image = image[:, ::-1].copy() if mirrored else image
    with torch.inference_mode():
        logits = predictor.model(torch.from_numpy(image)[None])
        (embedding,) = predictor.model.embed(torch.from_numpy(image)[None]).tolist()
    probs = [1.0]
    for name, z in logits.items():
        scaled = [math.exp(v / predictor.source.metadata.temperatures[name]) for v in z[0].tolist()]
        probs = [p * v / sum(scaled) for p in probs for v in scaled]
    length = math.sqrt(sum(v * v for v in embedding))
    return probs, [v / length for v in embedding]


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_a_run_predicts_what_a_slow_loop_does(runs: tuple[Run, Run], drawn: Path, cache: str) -> None:
    predictor = load_run_predictor(runs[0].dir, compute(), cache=cache)
    rows = photos_of(drawn / "extra", predictor)
    plain, averaged, embeddings = predictor.probs(rows), predictor.probs(rows, tta=True), predictor.embed(rows).vectors
    assert predictor.name == "small"
    assert [s.run.path for s in predictor.sources] == [runs[0].path]
    assert [r.path for r in plain.manifest.rows] == [r.path for r in rows.rows]
    assert all(r.digest for r in plain.manifest.rows)
    assert not plain.unreadable
    assert (embeddings.shape, embeddings.dtype) == ((8, 16), np.float32)
    for i, path in enumerate(rows.files):
        probs, embedding = slow(predictor, path)
        mirrored, _ = slow(predictor, path, mirrored=True)
        np.testing.assert_allclose(plain.probs[i], probs, atol=2e-5)
        np.testing.assert_allclose(averaged.probs[i], (np.asarray(probs) + mirrored) / 2, atol=2e-5)
        np.testing.assert_allclose(embeddings[i], embedding, atol=2e-5)


def test_several_runs_are_their_mean(runs: tuple[Run, Run], drawn: Path) -> None:
    """A dot product of embeddings is the mean of the cosines that each run sees."""
    mean = load_predictor([run_source(r.dir) for r in runs], compute())
    own = [load_run_predictor(r.dir, compute()) for r in runs]
    rows = photos_of(drawn / "extra", own[0])
    probs, embeddings = mean.probs(rows).probs, mean.embed(rows).vectors
    assert mean.name == "small+large"
    assert [s.run.path for s in mean.sources] == [r.path for r in runs]
    assert (embeddings.shape, embeddings.dtype, probs.dtype) == ((8, 40), np.float32, np.float32)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    each = [[slow(p, path) for path in rows.files] for p in own]
    for i in range(8):
        np.testing.assert_allclose(probs[i], np.mean([e[i][0] for e in each], axis=0), atol=2e-5)
        for j in range(8):
            expected = sum(sum(a * b for a, b in zip(e[i][1], e[j][1], strict=True)) for e in each) / 2
            assert float(embeddings[i] @ embeddings[j]) == pytest.approx(expected, abs=2e-5)


def test_runs_that_read_alike_open_each_image_once(
    runs: tuple[Run, Run], drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = (run_source(r.dir) for r in runs)
    mean = load_predictor([Source(drawn, "folds", (small, large, small))], compute(), cache="off")
    own = [load_run_predictor(r.dir, compute(), cache="off") for r in runs]
    rows = photos_of(drawn / "extra", own[0])
    first, second = (p.probs(rows, tta=True).probs for p in own)
    opened: list[int] = []
    real = run_predictor.open_images

    def counted(asked: Manifest, reading: Any, size: int, **options: Any) -> Any:
        opened.append(size)
        return real(asked, reading, size, **options)

    monkeypatch.setattr(run_predictor, "open_images", counted)
    np.testing.assert_allclose(mean.probs(rows, tta=True).probs, (2 * first + second) / 3, atol=1e-6)
    assert opened == [32, 48]


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_unreadable_photos_are_named_and_nan(runs: tuple[Run, Run], drawn: Path, tmp_path: Path, cache: str) -> None:
    folder = Path(shutil.copytree(drawn / "extra", tmp_path / "photos"))
    mean = load_predictor([run_source(r.dir) for r in runs], compute(), cache=cache)
    rows = photos_of(folder, load_run_predictor(runs[0].dir, compute()))
    whole = mean.probs(rows).probs
    rows.files[2].write_bytes(b"no picture")
    rows.files[5].unlink()
    with pytest.raises(ImageError):
        mean.probs(rows)
    with pytest.raises(ImageError):
        mean.embed(rows)
    found, embeddings = mean.probs(rows, on_bad="skip"), mean.embed(rows, on_bad="skip").vectors
    assert sorted(found.unreadable) == [2, 5]
    assert all(rows.rows[i].path in why for i, why in found.unreadable.items())
    assert [r.path for r in found.manifest.rows] == [r.path for r in rows.rows]
    assert np.flatnonzero(np.isnan(found.probs).all(axis=1)).tolist() == [2, 5]
    assert np.flatnonzero(np.isnan(embeddings).any(axis=1)).tolist() == [2, 5]
    readable = [0, 1, 3, 4, 6, 7]
    np.testing.assert_allclose(found.probs[readable], whole[readable], atol=1e-6)


def test_no_readable_photo_is_no_error(runs: tuple[Run, Run], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    predictor = load_run_predictor(runs[0].dir, compute())
    rows = read_images(tmp_path, predictor.schema, predictor.source.metadata.submission)
    found = predictor.probs(rows, on_bad="skip")
    assert (found.probs.shape, list(found.unreadable)) == ((1, 18), [0])
    assert predictor.embed(rows, on_bad="skip").vectors.shape == (1, 16)


def test_runs_of_other_classes_have_no_mean(runs: tuple[Run, Run], drawn: Path, tmp_path: Path) -> None:
    root = tmp_path / "folders"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for i, photo in enumerate(sorted((drawn / "extra").iterdir())[:8]):
            shutil.copy(photo, root / name / f"{name}{i}.jpg")
    other = trained(root, tmp_path / "runs", "other", 32, 16)
    with pytest.raises(ModelError, match="other was trained for other classes than small"):
        MeanPredictor("both", tuple(load_run_predictor(r.dir, compute()) for r in (runs[0], other)))


def test_each_source_counts_by_its_weight_however_many_members_it_has(runs: tuple[Run, Run], drawn: Path) -> None:
    """A study of three runs and a run: by default half and half, within the study a third of the half each."""
    small, large = (run_source(r.dir) for r in runs)
    study = Source(runs[0].path.parent / "s", "folds", (small, large, large))
    own = [load_run_predictor(r.dir, compute()) for r in runs]
    rows = photos_of(drawn / "extra", own[0])
    first, second = (p.probs(rows).probs.astype(np.float64) for p in own)
    inside = (first + 2 * second) / 3
    for weights, share in ((None, 0.5), ((3.0, 1.0), 0.75), ((1.0, 0.0), 1.0)):
        mean = load_predictor([study, small], compute(), weights=weights)
        np.testing.assert_allclose(mean.probs(rows).probs, share * inside + (1 - share) * first, atol=1e-6)
        assert len(mean.sources) == (3 if share == 1 else 4)
        cosine = mean.embed(rows).vectors @ mean.embed(rows).vectors.T
        each = [p.embed(rows).vectors @ p.embed(rows).vectors.T for p in own]
        np.testing.assert_allclose(
            cosine, share * (each[0] + 2 * each[1]) / 3 + (1 - share) * each[0], atol=1e-5
        )  # fmt: skip
    assert mean.name == "s" and mean.prior.sum() == pytest.approx(1)
