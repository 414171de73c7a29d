"""The saved state: what was saved comes back; what is damaged, foreign or hostile is one error and runs no code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ssl_mask.errors import MismatchError, ModelError
from ssl_mask.training.optim import Schedule, build_optimizer
from ssl_mask.training.progress import Progress
from ssl_mask.training.state import load_state, save_state

Content = dict[str, Any]


def training_of(seed: int, width: int = 3) -> Any:
    """A network that has made a step."""
    torch.manual_seed(seed)
    model = nn.Linear(2, width)
    optimizer = build_optimizer(model, kind="adamw", lr=0.1, backbone_lr_scale=1, weight_decay=0.1, momentum=0.9)
    schedule = Schedule("constant", 4, warmup=0, final=0, patience=1)
    schedule.set(optimizer, 0)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    algorithm = SimpleNamespace(state_dict=dict, load_state_dict=lambda state: None)  # noqa: ARG005
    accelerator = SimpleNamespace(scaler=None, device=torch.device("cpu"))
    return SimpleNamespace(
        accelerator=accelerator,
        model=model,
        live=model,
        optimizer=optimizer,
        schedule=schedule,
        ema=None,
        algorithm=algorithm,
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_state(tmp_path / "last.state", training_of(0), Progress(step=3, seconds=1.5).to_json(), origin="o")
    return tmp_path / "last.state"


def test_what_was_saved_comes_back(saved: Path) -> None:
    other = training_of(1)
    progress = Progress.from_json(load_state(saved, other, origin="o"), "x")
    assert progress == Progress(step=3, seconds=1.5)
    expected = training_of(0)
    assert torch.equal(other.model.weight, expected.model.weight)
    one, two = (t.optimizer.state_dict()["state"][0]["exp_avg"] for t in (other, expected))
    assert torch.equal(one, two)
    with pytest.raises(MismatchError):
        load_state(saved, other, origin="another")
    with pytest.raises(MismatchError):
        load_state(saved, other, origin="another", earlier=("a third",))
    assert load_state(saved, other, origin="another", earlier=("a third", "o")) == progress.to_json()


def without(content: Content, *keys: Any) -> None:
    for key in keys[:-1]:
        content = content[key]
    del content[keys[-1]]


def replaced(content: Content, value: Any, *keys: Any) -> None:
    for key in keys[:-1]:
        content = content[key]
    content[keys[-1]] = value


DAMAGE: dict[str, Callable[[Content], object]] = {
    "no model": lambda c: without(c, "model"),
    "no optimizer": lambda c: without(c, "optimizer"),
    "no schedule": lambda c: without(c, "schedule"),
    "no progress": lambda c: without(c, "progress"),
    "no origin": lambda c: without(c, "made_by"),
    "a list for a schedule": lambda c: replaced(c, [1], "schedule"),
    "no factor": lambda c: without(c, "schedule", "factor"),
    "a word for a rate": lambda c: replaced(c, "x", "optimizer", "param_groups", 0, "lr"),
    "no decay": lambda c: without(c, "optimizer", "param_groups", 0, "weight_decay"),
    "an average of another shape": lambda c: replaced(c, torch.zeros(9), "optimizer", "state", 0, "exp_avg"),
    "an average without end": lambda c: replaced(c, torch.zeros(1).expand(10**12), "optimizer", "state", 0, "exp_avg"),
    "a parameter too many": lambda c: replaced(c, {"exp_avg": torch.zeros(9)}, "optimizer", "state", 7),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_each_damage_is_one_error(saved: Path, name: str) -> None:
    content = torch.load(saved, weights_only=True)
    DAMAGE[name](content)
    torch.save(content, saved)
    with pytest.raises((ModelError, MismatchError), match=r"last\.state") as caught:
        load_state(saved, training_of(1), origin="o")
    assert "\n" not in caught.value.problem


def test_another_network_is_refused(saved: Path) -> None:
    with pytest.raises(ModelError, match=r"last\.state is damaged: Error\(s\) in loading state_dict"):
        load_state(saved, training_of(1, width=4), origin="o")


@pytest.mark.parametrize(
    "change", [{"step": -1}, {"step": "x"}, {"waited": None}, {"cpu": float("nan")}, {"best": {"step": 1}}, {"zzz": 1}]
)
def test_a_progress_is_a_checked_record(change: Content) -> None:
    with pytest.raises(ModelError, match=r"^last\.state is damaged: "):
        Progress.from_json({**Progress(step=3).to_json(), **change}, "last.state")


class Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("how", ["torch", "old torch", "pickle", "old pickle"])
def test_code_is_not_run_and_no_way_to_run_it_is_named(saved: Path, tmp_path: Path, how: str) -> None:
    content = {"model": Malice(tmp_path / "ran")}
    if how.endswith("torch"):
        torch.save(content, saved, _use_new_zipfile_serialization=how == "torch")
    else:
        saved.write_bytes(pickle.dumps(content, protocol=0 if how.startswith("old") else None))
    with pytest.raises(ModelError, match="such a file could run code, so it is not read") as caught:
        load_state(saved, training_of(1), origin="o")
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_without_a_saved_state_the_message_says_how_it_may_have_gone(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"There is no saved state .*last\.state") as refused:
        load_state(tmp_path / "last.state", training_of(0), origin="a")
    assert "sslmask runs gc" in refused.value.hint and "--init-from" in refused.value.hint
