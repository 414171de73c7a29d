"""`train.batch_size: auto` on a GPU: a real lack of memory ends the search, and what was tried leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from gpu_runs import PLAIN, Tiny, trained

from ssl_mask.training import batch_size

pytestmark = pytest.mark.gpu
LIMIT = 1.5e9
"""Bytes: eight images of 224 pixels train in it with a ResNet-50 in fp32, 256 do not."""


@pytest.fixture
def little_memory(device: str) -> Iterator[None]:
    if device != "cuda":
        yield
        return
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(LIMIT / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.usefixtures("little_memory")
def test_what_is_found_trains(tiny: Tiny, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "SHARE", 0)  # of few images, too
    tried: dict[int, bool] = {}
    left: list[int] = []
    fits = batch_size.fits

    def noted(config, data, model, size, batch):  # type: ignore[no-untyped-def]
        tried[batch] = fits(config, data, model, size, batch)
        left.append(torch.cuda.memory_allocated())
        return tried[batch]

    monkeypatch.setattr(batch_size, "fits", noted)
    network = {"backbone": "resnet50", "weights": "none", "image_size": 224} if device == "cuda" else {}
    train = {**PLAIN, "steps": 2, "eval_every": 2, "precision": "fp32", "batch_size": "auto"}
    run = trained(tiny(train=train, **({"model": network} if network else {})), device)
    if device == "cuda":
        assert run.config.train.batch_size == max(size for size, there in tried.items() if there)
        assert list(tried.values())[-1] is False
        assert max(left) - min(left) < 50e6
    else:
        assert run.config.train.batch_size == 32
