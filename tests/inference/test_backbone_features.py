"""Features of a frozen backbone: equal to a plain forward pass, computed once, and the same bits from the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.image_set import ImageSet, open_images
from ssl_mask.data.layouts import read_dataset
from ssl_mask.devices import make_accelerator
from ssl_mask.inference.features import FrozenBackbone, frozen_backbone
from ssl_mask.inference.predictor import Compute
from ssl_mask.models.classifier import Classifier, build_classifier

SIZE = 32
Tiny = Callable[..., RunConfig]


def network(seed: int = 0, **options: Any) -> Classifier:
    torch.manual_seed(seed)
    settings = {"backbone": "test_efficientnet", "weights": "none", "image_size": SIZE, "embedding_size": 16}
    return build_classifier({"class": 2}, **{**settings, **options})[0]


@pytest.fixture
def images(drawn: Path, tiny: Tiny) -> ImageSet:
    rows = read_dataset(drawn, layout="auto", options={}, unlabeled=()).where("train")
    return open_images(rows.with_rows(rows.rows[:40]), tiny().data, SIZE)


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that really went through the network."""
    seen: list[int] = []
    pool = Classifier.pool

    def counted(self: Classifier, batch: torch.Tensor) -> torch.Tensor:
        seen.append(len(batch))
        return pool(self, batch)

    monkeypatch.setattr(Classifier, "pool", counted)
    return seen


def frozen(model: Classifier, config: RunConfig, size: int = SIZE) -> FrozenBackbone:
    return frozen_backbone(model, config, size, 40, Compute(make_accelerator("fp32"), Console(quiet=True), workers=0))


def cached(tiny: Tiny, folder: Path, **sections: Any) -> RunConfig:
    return tiny(**{**sections, "data": {"cache": str(folder), **sections.get("data", {})}})


@pytest.mark.parametrize("view", ["plain", "mirrored"])
def test_they_equal_a_plain_forward_pass(images: ImageSet, tiny: Tiny, tmp_path: Path, view: Any) -> None:
    model = network().train()
    features = frozen(model, cached(tiny, tmp_path)).features(images, view)
    pixels = np.stack([images.images.read(i) for i in range(len(images))])
    if view == "mirrored":
        pixels = pixels[:, :, ::-1].copy()
    with torch.no_grad():
        expected = torch.cat([model.eval().pool(torch.from_numpy(p[None])) for p in pixels])
    assert features.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(features), expected, atol=1e-5, rtol=1e-4)


def test_each_image_is_computed_once_and_its_bits_do_not_depend_on_the_cache(
    images: ImageSet, tiny: Tiny, tmp_path: Path, forwards: list[int]
) -> None:
    uncached = frozen(network(), tiny(data={"cache": "off"})).features(images)
    assert forwards == [32, 32]  # the last one is filled up: kernels round otherwise in batches of another size
    config = cached(tiny, tmp_path)
    first = frozen(network(), config).features(images.at(range(3, 36)))
    again = frozen(network(), config).features(images)
    assert forwards == [32, 32] * 2 + [32]
    both = frozen(network(), config).features(images.at([5, 39, 5]))
    assert len(forwards) == 5
    assert uncached.tobytes() == again.tobytes()
    assert first.tobytes() == uncached[3:36].tobytes()
    assert both.tobytes() == uncached[[5, 39, 5]].tobytes()
    assert frozen(network(), config).features(images.at([])).shape == (0, network().pooled_size)


def test_whatever_decides_them_has_a_folder_of_its_own(images: ImageSet, tiny: Tiny, tmp_path: Path) -> None:
    config = cached(tiny, tmp_path)
    normalised = network(mean=(0.1, 0.2, 0.3))
    others = [
        frozen(network(), config),
        frozen(network(seed=1), config),
        frozen(normalised, config),
        frozen(network(pooling="gem"), cached(tiny, tmp_path, model={"pooling": "gem"})),
        frozen(network(), config, size=64),
        frozen(network(), cached(tiny, tmp_path, data={"resize": "pad"})),
        frozen(network(), cached(tiny, tmp_path, data={"depth": 12})),
    ]
    assert len({f.folder for f in others}) == len(others)
    heads = network()
    torch.nn.init.zeros_(heads.heads["class"].weight)  # type: ignore[arg-type]
    assert frozen(heads, config).folder == others[0].folder  # what comes after the features does not matter
    del images


def test_adapters_that_have_learned_nothing_share_the_features_of_the_plain_network(
    drawn: Path, tiny: Tiny, tmp_path: Path, forwards: list[int]
) -> None:
    size, settings = 160, {"backbone": "test_vit", "image_size": 160}
    rows = read_dataset(drawn, layout="auto", options={}, unlabeled=()).where("train")
    config = cached(tiny, tmp_path, model={"backbone": "test_vit"})
    few = open_images(rows.with_rows(rows.rows[:2]), config.data, size)
    plain = frozen(network(**settings), config, size).features(few)
    adapted = network(**settings, tuning="lora")
    assert frozen(adapted, config, size).features(few).tobytes() == plain.tobytes()
    assert len(forwards) == 1
    assert frozen(adapted, tiny(data={"cache": "off"}), size).features(few).tobytes() == plain.tobytes()


def test_random_numbers_of_a_training_are_not_touched(images: ImageSet, tiny: Tiny, tmp_path: Path) -> None:
    model, config = network(dropout=0.5, drop_path=0.5), cached(tiny, tmp_path)
    torch.manual_seed(7)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    frozen(model, config).features(images)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()
