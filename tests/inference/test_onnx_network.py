"""Predictors as one network of torch: the same probabilities as predictors that join their networks with NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_runs import TINY

from ssl_mask.config import merge, resolve
from ssl_mask.console import Console
from ssl_mask.data.images import decode, fit
from ssl_mask.data.layouts.images import read_images
from ssl_mask.data.manifest import Manifest
from ssl_mask.devices import make_accelerator
from ssl_mask.errors import InputError
from ssl_mask.inference.mean_predictor import MeanPredictor
from ssl_mask.inference.onnx_network import reading_of, square_shapes, together
from ssl_mask.inference.predictor import Compute, Predictor
from ssl_mask.inference.product_predictor import ProductPredictor
from ssl_mask.inference.run_predictor import RunPredictor, load_run_predictor
from ssl_mask.workflows.train import train


def trained(root: Path, runs: Path, name: str, **sections: Any) -> RunPredictor:
    own = {"runs": str(runs), "name": name, "data": {"root": str(root)}, "train": {"steps": 2}}
    run = train(resolve([merge(merge(TINY, own), sections)], has_gpu=lambda: False), quiet=True)
    assert run is not None
    return load_run_predictor(run.dir, Compute(make_accelerator("fp32"), Console(quiet=True)))


@pytest.fixture(scope="module")
def networks(
    drawn: Path, tmp_path_factory: pytest.TempPathFactory, no_plots_in_module: None,  # noqa: ARG001
) -> dict[str, RunPredictor]:  # fmt: skip
    """Two of all factors, of other squares each; and one for each factor. Read only."""
    runs = tmp_path_factory.mktemp("networks")
    one = trained(drawn, runs, "one")
    other = trained(drawn, runs, "other", data={"resize": "squash", "depth": 16}, model={"image_size": 48})
    parts = {name: trained(drawn, runs, f"{name}-alone", data={"factor": name}) for name in one.schema.sizes}
    return {"one": one, "other": other, **parts}


@pytest.fixture(scope="module")
def rows(drawn: Path, networks: dict[str, RunPredictor]) -> Manifest:
    found = read_images(drawn / "extra", networks["one"].schema, networks["one"].submission)
    return found.with_rows(found.rows[:5])


def product(networks: dict[str, RunPredictor], ratio: NDArray[np.float64] | None) -> ProductPredictor:
    one = networks["one"]
    parts = {name: networks[name] for name in one.schema.sizes}
    return ProductPredictor("product", one.schema, one.submission, parts, one.prior, ratio)


def ratios(classes: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(0.2, 3, classes)


@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("kind", ["run", "mean", "product", "corrected", "mean of both"])
def test_the_network_says_what_the_predictor_says(
    networks: dict[str, RunPredictor], rows: Manifest, kind: str, tta: bool
) -> None:
    one, other = networks["one"], networks["other"]
    predictors: dict[str, Predictor] = {
        "run": one,
        "mean": MeanPredictor("mean", (one, other), (0.8, 0.2)),
        "product": product(networks, None),
        "corrected": product(networks, ratios(18)),
        "mean of both": MeanPredictor("both", (product(networks, ratios(18)), MeanPredictor("m", (other, one)))),
    }
    predictor = predictors[kind]
    shapes = square_shapes(predictor)
    assert len(shapes) == (2 if "mean" in kind else 1)
    photos = [decode(path) for path in rows.files]
    squares = [torch.from_numpy(np.stack([fit(p, s.size, s.resize) for p in photos])) for s in shapes]  # type: ignore[arg-type]
    with torch.no_grad():
        joint, *factors = together(predictor, shapes, tta=tta)(*squares)
    expected = predictor.probs(rows, tta=tta).probs
    np.testing.assert_allclose(joint.numpy(), expected, atol=2e-6)
    assert np.abs(expected - one.probs(rows, tta=not tta).probs).max() > 1e-5  # they can differ
    for found, (name, shares) in zip(factors, one.schema.marginals(expected).items(), strict=True):
        np.testing.assert_allclose(found.numpy(), shares, atol=2e-6, err_msg=name)


def test_networks_that_read_16_bits_differently_cannot_be_one(
    networks: dict[str, RunPredictor], drawn: Path, tmp_path: Path
) -> None:
    twelve = trained(drawn, tmp_path, "twelve", data={"depth": 12})
    with pytest.raises(InputError, match="depth 12 and 16"):
        reading_of(MeanPredictor("mean", (networks["one"], twelve)))
