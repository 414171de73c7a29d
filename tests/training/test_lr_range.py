"""The learning rate range test: its ramp, its smoothing, its rule, and that it is the run's own recipe."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import commands

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.devices import make_accelerator
from ssl_mask.errors import ConfigError
from ssl_mask.runs.view import Run
from ssl_mask.training import lr_range
from ssl_mask.training.loop import Training
from ssl_mask.training.lr_range import LrRange, Ramp, range_test, smoothed
from ssl_mask.types import Losses
from ssl_mask.workflows.find_lr import FoundLr, find_lr, tell
from ssl_mask.workflows.train import prepare, train

Tiny = Callable[..., RunConfig]


def test_smoothing_is_the_weighted_mean_of_pandas() -> None:
    losses = np.random.default_rng(0).normal(3, 1, 50)
    expected = pd.Series(losses).ewm(alpha=0.1, adjust=True).mean()
    np.testing.assert_allclose(smoothed(losses.tolist(), 0.9), expected)


@pytest.mark.parametrize("turn", [1e-4, 1e-3, 1e-2])
def test_the_rule_is_half_of_the_rate_where_a_curve_of_known_shape_turns(turn: float) -> None:
    rates = np.logspace(-6, 0, 100)
    losses = 3 + np.log10(rates / turn) ** 2  # lowest at `turn`
    found = LrRange(tuple(rates), tuple(losses), tuple(losses), diverged=True).suggested
    assert found is not None
    assert abs(np.log10(2 * found / turn)) < 6 / 99


def test_nothing_is_suggested_where_the_loss_only_rises() -> None:
    rates, losses = tuple(np.logspace(-6, 0, 50)), tuple(np.linspace(1, 2, 50))
    assert LrRange(rates, losses, losses, diverged=False).suggested is None
    assert LrRange((), (), (), diverged=True).suggested is None


def test_each_group_keeps_its_share_of_a_rate_that_rises_by_a_factor() -> None:
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [w], "peak_lr": p, "lr": 0.0} for w, p in zip(weights, (3e-3, 3e-4))])  # noqa: B905
    ramp = Ramp("constant", 7, 0.0, 1.0, 1, peak=3e-3, lowest=1e-6, highest=1.0)
    seen = []
    for step in range(7):
        ramp.set(optimizer, step)
        seen.append([g["lr"] for g in optimizer.param_groups])
    np.testing.assert_allclose([heads for heads, _ in seen], 10.0 ** np.arange(-6, 1))
    np.testing.assert_allclose([backbone / heads for heads, backbone in seen], 0.1)


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"model": {"tuning": "last-n", "tuned_stages": 1}},
        {"model": {"tuning": "probe"}, "augment": {"preset": "flip"}},
    ],
    ids=["full", "last stages", "probe"],
)  # fmt: skip
def test_it_is_the_recipe_of_the_run_and_leaves_none(tiny: Tiny, tmp_path: Path, own: dict[str, Any]) -> None:
    config = tiny(**own)
    found = find_lr(config, steps=14, out=tmp_path / "range.csv", quiet=True)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["range.csv", "range.svg"]
    assert not config.runs.exists()
    with found.table.open() as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_allclose([float(r["lr"]) for r in rows], found.range.rates)
    np.testing.assert_allclose([float(r["loss"]) for r in rows], found.range.losses)
    ratios = np.divide(found.range.rates[1:], found.range.rates[:-1])
    np.testing.assert_allclose(ratios, 10 ** (6 / 13))
    run = train(config, quiet=True)
    assert isinstance(run, Run)
    first = next(r for r in run.history if r["kind"] == "train")  # before the first step changes anything
    assert found.range.losses[0] == pytest.approx(first["loss"], abs=1e-5)


def test_it_ends_at_the_first_step_at_four_times_the_lowest(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses are made up; the rates are what the optimizer of the run's own recipe has at each step."""
    made, used = [4.0 - 0.2 * n for n in range(15)] + [30.0] * 30, []

    def steps(training: Training, batches: object, *, start: int) -> Iterator[tuple[int, Losses]]:  # noqa: ARG001
        for step, loss in enumerate(made):
            training.schedule.set(training.optimizer, step)
            used.append(max(g["lr"] for g in training.optimizer.param_groups))
            yield step + 1, Losses({"label": torch.tensor(loss)}, {})

    monkeypatch.setattr(lr_range, "train_steps", steps)
    session, _, _ = prepare(tiny(optim={"lr": 3e-3}), make_accelerator("fp32"), Console(quiet=True))
    found = range_test(session, 60, lambda done, loss: None, highest=1.0)  # noqa: ARG005
    means = pd.Series(made).ewm(alpha=0.05, adjust=True).mean()
    first = int(np.argmax(means > 4 * means.cummin()))
    assert 15 < first < 44
    assert found.diverged and len(found.losses) == first + 1
    np.testing.assert_allclose(found.rates, used[: first + 1])


def test_it_ends_where_the_loss_is_not_finite(tiny: Tiny) -> None:
    config = tiny(optim={"optimizer": "sgd"})
    session, _, _ = prepare(config, make_accelerator("fp32"), Console(quiet=True))
    told: list[int] = []
    found = range_test(session, 60, lambda done, loss: told.append(done), highest=1e6)  # noqa: ARG005
    assert found.diverged
    assert 10 < len(found.losses) < 60
    assert told == list(range(1, len(found.losses) + 1))


@pytest.mark.parametrize("flag", ["--folds 3", "--resume latest", "--refit", "--dry-run"])
def test_what_makes_no_sense_with_it_is_refused(
    flag: str, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = commands(monkeypatch, capsys)("train", "--data", str(drawn), "--find-lr", *flag.split())
    assert code == 3
    assert flag.split(maxsplit=1)[0] in said and "--find-lr" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("turns", [True, False])
def test_a_loss_that_falls_to_the_end_of_the_range_is_told(turns: bool, capsys: pytest.CaptureFixture[str]) -> None:
    losses = (*np.linspace(5, 2, 30), *((3.0,) if turns else ()))
    found = LrRange(tuple(np.logspace(-6, 0, len(losses))), losses, losses, diverged=False)
    tell(FoundLr(found, Path("a.csv"), Path("a.svg")), 1e-3, Console())
    said = capsys.readouterr().out
    assert f"--set optim.lr={found.suggested:.1e}" in said
    assert ("not known" in said) != turns


def test_factor_models_are_refused(tiny: Tiny) -> None:
    with pytest.raises(ConfigError, match="range test"):
        find_lr(tiny(factors={"mask": {}}), quiet=True)
