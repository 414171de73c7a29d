"""Single passes on a GPU: gradients under autocast, memory over steps, what is predicted there and on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpu_runs import PLAIN, UDA, Tiny, trained
from torch import Tensor

from ssl_mask import devices
from ssl_mask.algorithms.consistency import Consistency
from ssl_mask.algorithms.supervised import Supervised
from ssl_mask.algorithms.uda import UdaRule
from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.batches import train_batches
from ssl_mask.models.classifier import build_classifier
from ssl_mask.training.loop import train_steps
from ssl_mask.training.session import Session
from ssl_mask.types import Batch, Labeled, Unlabeled
from ssl_mask.workflows.predict import predict
from ssl_mask.workflows.train import prepare

pytestmark = pytest.mark.gpu
HEADS = {"a": 3, "b": 2}


def images(count: int, seed: int) -> Tensor:
    return torch.randint(256, (count, 32, 32, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def gradients(device: str, precision: torch.dtype, backbone: str = "test_vit") -> dict[str, Tensor]:
    """Of one step of UDA with live targets: the weak pass without gradient comes first, in the same autocast."""
    torch.manual_seed(0)
    model, _ = build_classifier(HEADS, backbone=backbone, weights="none", image_size=32, neck="none")
    model = model.to(device)
    algorithm = Consistency(
        supervised=Supervised(scale=20.0, margin=0.1), teacher=model, rule=UdaRule(0.2, 0.4), temperatures={}
    )
    labels = torch.arange(16).reshape(8, 2) % torch.tensor([3, 2])
    views = images(16, 3)
    batch = Batch(
        Labeled(images(8, 1).to(device), labels.to(device)), Unlabeled(images(16, 2).to(device), views.__getitem__)
    )
    half = precision != torch.float32
    with torch.autocast(device, precision) if half else nullcontext():
        losses = algorithm.losses(model, batch, 0.5)
    assert losses.terms["consistency"] > 0
    scale = 1024.0 if precision == torch.float16 else 1.0  # as a GradScaler does: small numbers become 0 in fp16
    (losses.total * scale).backward()
    return {k: p.grad.float().cpu() / scale for k, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_gradients_of_half_precision_point_where_those_of_fp32_do(device: str, precision: torch.dtype) -> None:
    """Also those of weights that autocast has cast, and kept, in the weak pass."""
    exact, half = gradients(device, torch.float32), gradients(device, precision)
    assert exact.keys() == half.keys()
    one, two = (torch.cat([g.flatten() for g in found.values()]) for found in (exact, half))
    cosine = float(torch.nn.functional.cosine_similarity(one, two, dim=0))
    print(f"{precision}: cosine {cosine:.5f}, length {float(two.norm() / one.norm()):.4f}")
    assert cosine > 0.98
    assert 0.9 < float(two.norm() / one.norm()) < 1.1
    unlike = [k for k, g in exact.items() if not 0.5 < float(half[k].norm() / g.norm().clamp_min(1e-12)) < 2]
    assert len(unlike) <= 0.05 * len(exact), unlike


@pytest.mark.parametrize("backbone", ["test_vit", "test_efficientnet"])
def test_gradients_of_fp32_are_those_of_a_cpu(device: str, backbone: str) -> None:
    own, cpu = (gradients(kind, torch.float32, backbone) for kind in (device, "cpu"))
    assert own.keys() == cpu.keys()
    whole = torch.cat([g.flatten() for g in cpu.values()]).norm()
    apart = {name: float((own[name] - g).norm() / (g.norm() + 0.01 * whole)) for name, g in cpu.items()}
    print(f"{backbone}: largest relative difference {max(apart.values()):.2e}")
    assert max(apart.values()) < 5e-3, apart


def session_of(config: RunConfig) -> Session:
    accelerator = devices.make_accelerator(config.train.precision)
    return prepare(config, accelerator, Console(quiet=True))[0]


def memory_of_steps(session: Session, device: str, steps: int) -> Iterator[tuple[int, int]]:
    """(bytes at the peak of a step, bytes that stay after it) of each step."""
    batches = train_batches(session.batches(workers=0), start=0, stop=steps, workers=0, pin=device == "cuda")
    for _ in train_steps(session.training, batches, start=0):
        if device == "cuda":
            torch.cuda.synchronize()
            yield torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
        else:
            yield 1, 1


def test_memory_is_bounded_by_the_batch_and_does_not_grow(tiny: Tiny, on: Callable[..., Any], device: str) -> None:
    """With μ unlabeled images per label, a step of UDA needs at most 1 + μ times the memory of a supervised one, and
    no more with a partial strong pass than with a full one."""
    mu, peaks = 2.0, {}
    # On a GPU large enough that activations are nearly all of it, and the workspaces of cuDNN little.
    batch_size, image_size = (32, 224) if device == "cuda" else (8, 32)
    plain = {
        "train": {**PLAIN, "steps": 12, "batch_size": batch_size, "precision": "fp32"},
        "model": {"image_size": image_size},
    }
    pool = {"data": {"unlabeled": ["extra"]}}
    kinds: dict[str, dict[str, Any]] = {
        "supervised": plain,
        "partial": {**plain, **pool, "algorithm": {**UDA, "mu": mu}},
        "full": {**plain, **pool, "algorithm": {**UDA, "mu": mu, "dense": True}},
    }
    for name, sections in kinds.items():
        with on(device):
            session = session_of(tiny(name=name, **sections))
            before = torch.cuda.memory_allocated() if device == "cuda" else 0
            steps = list(memory_of_steps(session, device, 12))
        assert len(steps) == 12
        left = [after for _, after in steps[2:]]
        peaks[name] = max(peak for peak, _ in steps[2:])
        print(f"{name}: peak {peaks[name] / 1e6:.1f} MB, of which {before / 1e6:.1f} MB before the first step")
        assert max(left) - min(left) <= 1e6, left  # the last batch is of another size with a partial strong pass
        del session
    if device == "cpu":
        pytest.skip("memory can be measured on a GPU only")
    print(f"UDA over supervised: {peaks['full'] / peaks['supervised']:.2f}, partial {peaks['partial']}")
    assert peaks["supervised"] < peaks["full"] <= (1 + mu) * 1.1 * peaks["supervised"]
    assert peaks["partial"] <= 1.02 * peaks["full"]


def test_predictions_are_those_of_a_cpu(
    tiny: Tiny, on: Callable[..., Any], device: str, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp32 within 1e-3. A GPU predicts in half precision on its own: near, and nearly always the same class."""
    with on(device):
        run = trained(tiny(train={**PLAIN, "steps": 20, "eval_every": 20, "precision": "fp32"}), device)

    def probs(kind: str, precision: str, workers: int = 0) -> np.ndarray[Any, Any]:
        with on(kind), monkeypatch.context() as patch:
            made = devices.make_accelerator(precision)
            assert made.device.type == kind
            patch.setattr(devices, "make_accelerator", lambda _: made)
            found = predict(
                [run.path], images=drawn / "extra", write=False, guard="off", quiet=True, workers=workers, tta=True
            )
            return found.probs

    cpu, gpu = probs("cpu", "fp32"), probs(device, "fp32")
    assert len(cpu) > 20 and cpu.std(axis=0).max() > 1e-3
    print(f"fp32: largest difference {np.abs(cpu - gpu).max():.2e}")
    np.testing.assert_allclose(gpu, cpu, atol=1e-3)
    half = probs(device, "bf16")
    same = float((half.argmax(axis=1) == cpu.argmax(axis=1)).mean())
    print(f"bf16: largest difference {np.abs(cpu - half).max():.2e}, the same class of {same:.1%}")
    assert np.abs(cpu - half).max() < 0.1 and same >= 0.9


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # of fork, from Python 3.12
def test_workers_and_pinned_memory_change_no_batch(tiny: Tiny, on: Callable[..., Any], device: str) -> None:
    """Processes forked after CUDA has started read and augment only; what they make is copied while others are made."""
    losses = []
    for workers in (0, 2):
        sections = {"train": {**PLAIN, "precision": "fp32"}, "algorithm": UDA, "data": {"unlabeled": ["extra"]}}
        with on(device):
            session = session_of(tiny(name=f"workers-{workers}", **sections))
            batches = train_batches(
                session.batches(workers=workers), start=0, stop=4, workers=workers, pin=device == "cuda"
            )
            if device == "cuda":
                first = next(iter(session_pinned(session, workers)))
                assert first.labeled.images.is_pinned() and first.unlabeled.weak.is_pinned()
            losses.append([float(found.total) for _, found in train_steps(session.training, batches, start=0)])
    assert len(losses[0]) == 4
    np.testing.assert_allclose(*losses, rtol=1e-3)


def session_pinned(session: Session, workers: int) -> Iterator[Batch]:
    return train_batches(session.batches(workers=workers), start=0, stop=1, workers=workers, pin=True)
