"""The averaged model against a slow loop."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ssl_mask.training.ema import make_ema


def a_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_average_equals_a_slow_loop_with_warm_up() -> None:
    model = a_model()
    ema = make_ema(model, 0.3)
    assert ema is not None
    expected = {k: v.clone() for k, v in model.state_dict().items()}
    for step in range(6):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        model(torch.randn(5, 3))  # moves the batch statistics
        ema.update(step)
        decay = min(0.3, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in ema.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])


def test_frozen_weights_and_restored_states_are_followed() -> None:
    model = a_model()
    model[0].weight.requires_grad_(False)  # type: ignore[union-attr]
    ema = make_ema(model, 0.5)
    assert ema is not None
    state = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model[2].weight.zero_()  # type: ignore[operator,union-attr]
    model.load_state_dict(state)
    with torch.no_grad():
        model[2].weight.fill_(1.0)  # type: ignore[operator,union-attr]
    ema.update(1000)
    torch.testing.assert_close(ema.module[2].weight, (state["2.weight"] + 1) / 2)  # type: ignore[index]
    torch.testing.assert_close(ema.module[0].weight, state["0.weight"])  # type: ignore[index]
    assert not ema.module.training
    assert make_ema(model, 0.0) is None
