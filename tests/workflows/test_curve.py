"""`sslmask curve`: nested shares of the groups, equal steps, the same images scored, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score
from tiny_runs import TINY

from ssl_mask.config import RunConfig, merge, resolve
from ssl_mask.data.predictions import read_predictions
from ssl_mask.errors import ConfigError, InputError, Interrupted
from ssl_mask.evaluation.metrics import Interval
from ssl_mask.evaluation.power_law import Forecast, PowerLaw
from ssl_mask.runs.folds import FoldStudy
from ssl_mask.runs.study import Study
from ssl_mask.workflows import curve as workflow
from ssl_mask.workflows.curve import CurveSize, LearningCurve, doubts_of, learning_curve

SHARES = (0.4, 0.7, 1.0)


@pytest.fixture(scope="module")
def config(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    own = {"runs": str(tmp_path_factory.mktemp("curve") / "runs"), "data": {"root": str(drawn), "min_groups": 1},
           "train": {"reference": "off"}}  # fmt: skip
    return resolve([merge(TINY, own)], has_gpu=lambda: False)


@pytest.fixture(scope="module")
def made(config: RunConfig, no_plots_in_module: None) -> LearningCurve:  # noqa: ARG001
    found = learning_curve(config, fractions=SHARES, folds=2, out=config.runs.parent / "curve.json", quiet=True)
    assert found is not None
    return found


def labeled_groups(study: Path, fold: int) -> set[str]:
    """Groups that a fold was trained on, by the file that it left."""
    lines = (study / f"fold-{fold}" / "manifest.csv").read_text().splitlines()
    header = lines[0].split(",")
    rows = [dict(zip(header, line.split(","), strict=False)) for line in lines[1:]]
    return {row["group"] for row in rows if row["split"] == "train"}


def test_sizes_are_nested_and_differ_in_nothing_else(made: LearningCurve) -> None:
    assert [size.groups for size in made.sizes] == [2, 4, 6]  # of 6 in each half of 12 persons
    for fold in (0, 1):
        small, middle, whole = (labeled_groups(size.study, fold) for size in made.sizes)
        assert (len(small), len(middle), len(whole)) == (2, 4, 6) and small < middle < whole
    configs = [FoldStudy(Study(size.study)).study.record().config for size in made.sizes]
    for each in configs:
        each["name"] = each["data"]["labeled_groups"] = None
    assert configs[0] == configs[1] == configs[2]


def test_every_size_is_scored_on_the_same_images_by_models_that_have_not_seen_their_group(made: LearningCurve) -> None:
    tables = [read_predictions(size.study / "oof.parquet") for size in made.sizes]
    assert {len(table) for table in tables} == {12 * 7}
    for table, size in zip(tables, made.sizes, strict=True):
        for fold in (0, 1):
            assert not set(table.group[table.fold == fold]) & labeled_groups(size.study, fold)
        expected = f1_score(
            table.true, table.predicted, average="macro", labels=range(len(table.classes)), zero_division=0
        )
        assert size.macro_f1.value == pytest.approx(expected)


def test_the_files_say_what_the_result_says(made: LearningCurve) -> None:
    told = json.loads(made.table.read_text())
    assert told["twice"]["groups"] == 12 and told["plot"] == str(made.plot) and made.plot.is_file()
    assert [size["macro_f1"]["value"] for size in told["sizes"]] == [size.macro_f1.value for size in made.sizes]
    law = PowerLaw(**told["law"])
    assert told["twice"]["macro_f1"]["value"] == pytest.approx(1 - law.error(12))


def test_what_is_finished_is_not_trained_again(
    config: RunConfig, made: LearningCurve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for size in made.sizes for path in size.study.rglob("best.safetensors")}
    again = learning_curve(config, fractions=SHARES, folds=2, out=tmp_path / "again.json", quiet=True)
    assert again is not None and again.sizes == made.sizes and again.forecast == made.forecast
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # one that is gone is trained, the others are not
    monkeypatch.setattr(workflow, "train_folds", stops_at(workflow.train_folds, made.sizes[1].study))
    moved = made.sizes[1].study.rename(tmp_path / "kept")
    with pytest.raises(Interrupted) as stopped:
        learning_curve(config, fractions=SHARES, folds=2, out=tmp_path / "more.json", quiet=True)
    assert "same command" in stopped.value.hint and not (tmp_path / "more.json").exists()
    shutil.move(moved, made.sizes[1].study)


def stops_at(train: Callable[..., object], at: Path) -> Callable[..., object]:
    def trained(config: RunConfig, **how: object) -> object:
        if config.runs / str(config.name) == at:
            raise Interrupted("Stopped", signal_number=2)
        return train(config, **how)

    return trained


def test_a_study_with_other_settings_is_no_point_of_the_curve(config: RunConfig, made: LearningCurve) -> None:  # noqa: ARG001
    other = config.model_copy(update={"optim": config.optim.model_copy(update={"lr": 0.5})})
    with pytest.raises(InputError, match="trained with other settings") as refused:
        learning_curve(other, fractions=SHARES, folds=2, quiet=True)
    assert "--name" in refused.value.hint


@pytest.mark.parametrize("fractions", [(0.5, 1.0), (0.2, 0.5, 0.9), (0.5, 0.2, 1.0), (0.0, 0.5, 1.0), (0.5, 0.5, 1.0)])
def test_fractions_of_no_curve_are_refused(config: RunConfig, fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="--fractions"):
        learning_curve(config, fractions=fractions, folds=2, quiet=True)


def test_what_cannot_be_a_curve_is_refused(config: RunConfig) -> None:
    given = config.model_copy(update={"data": config.data.model_copy(update={"labeled_groups": 3})})
    with pytest.raises(ConfigError, match=r"data\.labeled_groups"):
        learning_curve(given, quiet=True)
    with pytest.raises(InputError, match="6 training groups are too few for 4 different sizes"):
        learning_curve(config, fractions=(0.1, 0.15, 0.2, 1), folds=2, quiet=True)


def sized(*scores: float) -> list[CurveSize]:
    return [
        CurveSize(Path("x"), 10.0 * (i + 1), Interval(s, s, s), Interval(s, s, s), "clean")
        for i, s in enumerate(scores)
    ]


def test_a_forecast_is_doubted_for_three_reasons() -> None:
    good = Forecast(PowerLaw(0.1, 1, 0.5), Interval(0.8, 0.7, 0.9), Interval(0.1, 0.02, 0.2), 0.71)
    assert doubts_of(sized(0.5, 0.6, 0.7), good) == ()
    assert "holds zero" in doubts_of(sized(0.5, 0.6, 0.7), replace_gain(good, -0.01))[0]
    assert "0.760 for the largest one, which has 0.700" in doubts_of(sized(0.5, 0.6, 0.7), good._replace(check=0.76))[0]
    assert "does not rise" in doubts_of(sized(0.7, 0.6, 0.7), good)[0]


def replace_gain(found: Forecast, low: float) -> Forecast:
    return found._replace(gain=found.gain._replace(low=low))


def test_numbers_of_groups_are_means_over_folds_that_differ(config: RunConfig) -> None:
    assert workflow.training_groups(config, 2) == [6, 6]
    three = config.model_copy(update={"data": config.data.model_copy(update={"folds": 5})})
    found = workflow.training_groups(three, 5)
    assert sum(12 - n for n in found) == 12 and np.mean(found) == pytest.approx(9.6)
