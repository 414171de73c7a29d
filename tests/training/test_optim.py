"""Learning rates against torch's own schedules; parameter groups; clipping."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from ssl_mask.training.optim import Schedule, build_optimizer, clipper, lr_scale


def a_model() -> nn.Module:
    return nn.ModuleDict({"backbone": nn.Linear(3, 3), "neck": nn.BatchNorm1d(3), "heads": nn.Linear(3, 2)})


def make(kind: str = "adamw", backbone: float = 0.1) -> torch.optim.Optimizer:
    return build_optimizer(a_model(), kind=kind, lr=0.5, backbone_lr_scale=backbone, weight_decay=0.01, momentum=0.9)


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_vectors_are_not_decayed_and_the_backbone_has_its_own_rate(kind: str) -> None:
    groups = {(g["peak_lr"], g["weight_decay"]): [p.ndim for p in g["params"]] for g in make(kind).param_groups}
    assert groups == {(0.05, 0.01): [2], (0.05, 0.0): [1], (0.5, 0.0): [1, 1, 1], (0.5, 0.01): [2]}


@pytest.mark.parametrize("name", ["test_vit", "test_vit3", "test_convnext", "test_efficientnet"])
def test_layer_decay_is_timms(name: str) -> None:
    """timm's own groups of the network with a classifier, which stands where our neck and heads do."""
    net = timm.create_model(name, num_classes=3)
    expected: dict[nn.Parameter, tuple[float, float]] = {}
    for group in param_groups_layer_decay(net, weight_decay=0.01, layer_decay=0.7):
        expected |= dict.fromkeys(group["params"], (group["lr_scale"], group["weight_decay"]))
    holder = nn.ModuleDict({"backbone": net, "heads": nn.Linear(3, 2)})
    optimizer = build_optimizer(
        holder, kind="adamw", lr=0.5, backbone_lr_scale=0.1, weight_decay=0.01, momentum=0.9, layer_decay=0.7
    )
    found = {p: (g["peak_lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert [found.pop(p) for p in holder["heads"].parameters()] == [(0.5, 0.01), (0.5, 0.0)]
    assert found.keys() == expected.keys()
    assert len({scale for scale, _ in expected.values()}) > 4
    for parameter, (scale, decay) in expected.items():
        assert found[parameter] == (pytest.approx(0.5 * 0.1 * scale), decay)


def test_layer_decay_of_one_makes_the_groups_of_none() -> None:
    model = nn.ModuleDict({"backbone": timm.create_model("test_vit", num_classes=0), "heads": nn.Linear(64, 2)})
    settings: dict[str, Any] = {
        "kind": "sgd",
        "lr": 0.5,
        "backbone_lr_scale": 0.1,
        "weight_decay": 0.01,
        "momentum": 0.9,
    }
    assert len(build_optimizer(model, **settings).param_groups) == 4
    assert len(build_optimizer(model, **settings, layer_decay=1.0).param_groups) == 4


def test_cosine_equals_torch() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([parameter], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=50, eta_min=0.1)
    for step in range(50):
        assert lr_scale("cosine", step / 50, warmup=0.0, final=0.1) == pytest.approx(schedule.get_last_lr()[0])
        reference.step()
        schedule.step()


def test_one_cycle_equals_torch() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([parameter], lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            reference, max_lr=1.0, total_steps=101, pct_start=31 / 101, cycle_momentum=False, final_div_factor=1e9
        )
    for step in range(100):
        ours = lr_scale("one_cycle", step / 100, warmup=0.3, final=0.0)
        assert ours == pytest.approx(schedule.get_last_lr()[0], abs=1e-6)
        reference.step()
        schedule.step()


def test_warm_up_rises_linearly_and_no_step_is_wasted() -> None:
    optimizer = make()
    schedule = Schedule("cosine", 100, 0.1, 0.0, 3)
    scales = [schedule.set(optimizer, step) for step in range(100)]
    assert all(s > 0 for s in scales)
    assert scales.index(max(scales)) in (9, 10)
    assert scales[4] == pytest.approx(5 * scales[0])
    assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["peak_lr"] * scales[-1]


def test_plateau_halves_after_patience_and_remembers_it() -> None:
    schedule = Schedule("plateau", 100, 0.0, 0.0, 2)
    for score in (0.5, 0.4, 0.5, 0.6, 0.1):
        schedule.scored(score)
    assert schedule.factor == 0.5
    other = Schedule("plateau", 100, 0.0, 0.0, 2)
    other.load_state_dict(schedule.state_dict())
    other.scored(0.2)
    assert other.factor == 0.25


def test_clipping_bounds_the_norm_and_agc_bounds_each_unit() -> None:
    model = a_model()
    for p in model.parameters():
        p.grad = torch.full_like(p, 100.0)
    clip = clipper(clip_norm=1.0, agc=None)
    assert clip is not None
    clip(model)
    total = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    assert total == pytest.approx(1.0, rel=1e-4)
    for p in model.parameters():
        p.grad = torch.full_like(p, 100.0)
    agc = clipper(clip_norm=None, agc=0.01)
    assert agc is not None
    agc(model)
    for p in (q for q in model.parameters() if q.ndim == 2 and q.grad is not None):
        assert torch.all(p.grad.norm(dim=1) <= 0.0101 * p.norm(dim=1).clamp_min(1e-3))
    assert clipper(clip_norm=None, agc=None) is None
