"""The search space: what a file may say, and what is refused before anything trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssl_mask.config import RunConfig, resolve
from ssl_mask.errors import ConfigError
from ssl_mask.tuning.space import Choice, Range, changed, default_params, parse_space, read_space, value_of

BASE = resolve([{"preset": "none", "train": {"steps": 12}}])


def parsed(path: Path, text: str, base: RunConfig = BASE) -> dict[str, Any]:
    path.write_text(text)
    return parse_space(read_space(path), base, str(path))


def test_ranges_and_lists_of_any_setting(tmp_path: Path) -> None:
    space = parsed(
        tmp_path / "space.yaml",
        """
optim.lr: {low: 1e-4, high: 3e-3, log: true}
train: {batch_size: {low: 16, high: 64, step: 16}, epochs: [1, 2.5]}
model:
  backbone: [embedded, resnet18]
  freeze_norm: [true, false]
  mean: [[0.5, 0.5, 0.5], null]
loss.margin: {low: 0, high: 1}
algorithm.threshold: {low: 0.5, high: 0.9}
data.options.boundary: [58, 60]
""",
    )
    assert space == {
        "optim.lr": Range(1e-4, 3e-3, log=True),
        "train.batch_size": Range(16, 64, step=16, whole=True),
        "train.epochs": Choice((1, 2.5)),
        "model.backbone": Choice(("embedded", "resnet18")),
        "model.freeze_norm": Choice((True, False)),
        "model.mean": Choice(([0.5, 0.5, 0.5], None)),
        "loss.margin": Range(0.0, 1.0),
        "algorithm.threshold": Range(0.5, 0.9),
        "data.options.boundary": Choice((58, 60)),
    }
    assert isinstance(space["train.batch_size"].low, int) and isinstance(space["loss.margin"].high, float)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("optim.lrr: [1, 2]", "optim.lrr: no such setting. Did you mean 'optim.lr'"),
        ("optim: [1, 2]", "optim: no such setting."),
        ("optim.lr: []", "optim.lr: give two different values or more"),
        ("optim.lr: [0.1]", "optim.lr: give two different values or more"),
        ("optim.lr: [0.1, 0.2, 0.1]", "optim.lr: a value is in the list twice"),
        ("optim.lr: 0.1", "optim.lr: give a list of values, or low and high, not 0.1"),
        ("optim.lr: [0.1, fast]", "optim.lr: the value fast is refused: Input should be a valid number"),
        ("optim.lr: [0.1, -1]", "optim.lr: the value -1 is refused: Input should be greater than 0 (got -1)"),
        ("optim.lr: {low: 0, high: 1}", "optim.lr: the value 0.0 is refused: Input should be greater than 0"),
        ("loss.margin: {low: 0, high: 9}", "loss.margin: the value 9.0 is refused: Input should be less than 1.5"),
        ("optim.lr: {low: 2, high: 1}", "optim.lr: the range is empty: low 2 is not below high 1"),
        ("optim.lr: {low: 1, high: 1}", "optim.lr: the range is empty"),
        ("optim.lr: {low: 1}", "optim.lr: high: Field required"),
        ("optim.lr: {low: 1, high: 2, lag: true}", "optim.lr: lag: Extra inputs are not permitted"),
        ("optim.lr: {low: 1, high: .inf}", "optim.lr: high: Input should be a finite number"),
        ("optim.lr: {low: 1, high: 2, log: true, step: 1}", "optim.lr: log needs low above 0, and no step"),
        ("loss.margin: {low: 0, high: 1, log: true}", "loss.margin: log needs low above 0"),
        ("loss.margin: {low: 0, high: 1, step: 0.3}", "loss.margin: high must be low plus some steps"),
        ("train.batch_size: {low: 1.5, high: 4}", "train.batch_size: low, high and step must be whole numbers"),
        ("model.backbone: {low: 1, high: 4}", "model.backbone: it is not a number"),
        ("model.freeze_norm: {low: 0, high: 1}", "model.freeze_norm: it is not a number"),
        ("seed: [0, 1, 2]", "seed: cannot be searched: a seed is luck"),
        ("data.split_seed: [0, 1]", "data.split_seed: cannot be searched: a seed is luck"),
        ("data.folds: [3, 5]", "data.folds: cannot be searched: all trials are scored on the same images and folds"),
        ("guard.mode: [on, off]", "guard.mode: cannot be searched: the leakage guard"),
        ("preset: [laptop, gpu]", "preset: cannot be searched: name its settings one by one"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "space.yaml"
    with pytest.raises(ConfigError) as refused:
        parsed(path, line)
    assert refused.value.problem.startswith(f"The search space {path} has a problem:\n  {problem}")
    assert len(refused.value.problem.splitlines()) == 2


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        parsed(tmp_path / "space.yaml", "optim.lrr: [1, 2]\nloss.margin: [0.1, 0.2]\nseed: [1, 2]\n")
    assert len(refused.value.problem.splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "names no setting"), ("- a", "must hold `key: value` lines"), ("a: [1", "not valid YAML"), (None, "No file")],
)
def test_a_file_that_is_no_space(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "space.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        read_space(path)


def test_values_change_the_configuration_and_epochs_replace_steps() -> None:
    config = changed(BASE, {"train.epochs": 2, "optim.lr": 0.5, "model.mean": [0.1, 0.2, 0.3]})
    assert (config.train.steps, config.train.epochs, config.optim.lr) == (None, 2, 0.5)
    assert config.model.mean == (0.1, 0.2, 0.3) and value_of(config, "model.mean") == [0.1, 0.2, 0.3]
    assert changed(BASE, {}) == BASE


def test_settings_that_do_not_go_together_are_refused_when_they_meet() -> None:
    with pytest.raises(ConfigError, match="not a multiple of accumulate"):
        changed(BASE, {"train.batch_size": 6, "train.accumulate": 4})


def test_the_default_is_found_where_it_is_in_the_space(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    inside = parsed(path, "optim.lr: {low: 1e-4, high: 1e-2}\nmodel.mean: [[0.5, 0.5, 0.5], null]\n")
    assert default_params(BASE, inside) == {"optim.lr": BASE.optim.lr, "model.mean": "null"}
    for outside in ("optim.lr: {low: 1e-2, high: 1e-1}", "model.pooling: [gem, x]", "train.steps: {low: 5, high: 20}"):
        space = parsed(path, outside) if "x]" not in outside else {"model.pooling": Choice(("gem", "x"))}
        assert default_params(BASE, space) == ({"train.steps": 12} if "steps" in outside else {})
    stepped = parsed(path, "train.steps: {low: 5, high: 20, step: 5}")
    assert default_params(BASE, stepped) == {}
