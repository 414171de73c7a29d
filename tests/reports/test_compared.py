"""Runs compared: the paired difference against an independent bootstrap, what it cost, and which settings differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from page_runs import PLAIN, make_run
from sklearn.metrics import f1_score

from ssl_mask.config import RunConfig, load_config, to_yaml
from ssl_mask.data.predictions import read_validation, write_table
from ssl_mask.errors import DataError, InputError
from ssl_mask.files import write_text
from ssl_mask.reports.compared import Compared, compare_sources, cost_of
from ssl_mask.reports.compared_page import comparison_page
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source
from ssl_mask.runs.study import create_study


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, seed in (("a", 1), ("b", 2)):
        make_run(tmp_path / "runs" / name, tmp_path, seed=seed)
    return tmp_path / "runs"


def settings(run: Path, **changes: object) -> None:
    write_text(run / "config.yaml", to_yaml(load_config(changes, preset="laptop")))


def slow_difference(runs: Path, draws: int) -> tuple[float, float, float]:
    """Macro-F1 of b less a by scikit-learn, image by image and group by group."""
    first, second = (read_validation(runs / name / "validation.parquet") for name in "ab")

    def score(true: list[int], predicted: list[int]) -> float:
        return float(f1_score(true, predicted, labels=sorted(set(true)), average="macro", zero_division=0))

    def difference(rows: list[int]) -> float:
        true = [int(first.true[i]) for i in rows]
        return score(true, [int(second.predicted[i]) for i in rows]) - score(
            true, [int(first.predicted[i]) for i in rows]
        )

    groups = sorted(set(first.group.tolist()))
    members = {g: [i for i in range(len(first)) if first.group[i] == g] for g in groups}
    rng = np.random.default_rng(99)
    drawn = [
        difference([i for g in rng.choice(groups, len(groups)).tolist() for i in members[g]]) for _ in range(draws)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return difference(list(range(len(first)))), float(low), float(high)


def test_the_difference_is_that_of_a_slow_bootstrap_by_group(runs: Path) -> None:
    first, second = compare_sources(["a", "b"], runs)
    assert first.difference is None and second.difference is not None
    value, low, high = slow_difference(runs, 150)
    found = second.difference.macro_f1
    assert found.value == pytest.approx(value, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05)
    assert (second.difference.images, second.difference.groups) == (60, 15)
    assert f"{value:+.4f}" in comparison_page([first, second])
    swapped = compare_sources(["b", "a"], runs)[1].difference
    assert swapped is not None and swapped.macro_f1.value == pytest.approx(-value, abs=1e-12)


def test_only_images_that_both_have_predicted_count(runs: Path, tmp_path: Path) -> None:
    digests = [f"{i + 40:064x}" for i in range(60)]  # 20 of them are of the others
    make_run(runs / "c", tmp_path, seed=1, digests=digests, names=[f"{i + 40:03d}.png" for i in range(60)])
    table = read_validation(runs / "a" / "validation.parquet")
    moved = read_validation(runs / "c" / "validation.parquet")
    moved.true[:20] = table.true[40:]
    write_table(runs / "c" / "validation.parquet", moved)
    other = compare_sources(["a", "c"], runs)[1]
    assert other.difference is not None and other.difference.images == 20
    assert "| 60 (20 shared) |" in comparison_page(compare_sources(["a", "c"], runs))


def refused(runs: Path, *names: str) -> DataError | InputError:
    with pytest.raises(InputError) as error:
        compare_sources(names, runs)
    return error.value


def test_what_shares_no_image_is_refused_by_name(runs: Path, tmp_path: Path) -> None:
    make_run(runs / "c", tmp_path, digests=[f"{i + 1000:064x}" for i in range(60)])
    error = refused(runs, "a", "b", "c")
    assert error.problem == "c and a cannot be compared: a has predicted none of these images."
    assert "data.split_seed" in error.hint


def test_one_run_alone_or_twice_is_refused(runs: Path) -> None:
    for names in (["a"], ["a", "a"], ["a", str(runs / "a")], ["a", "b", "a"]):
        assert "two or more different runs" in refused(runs, *names).problem
    assert "No run 'd'" in refused(runs, "a", "d").problem


def test_a_run_on_all_labels_is_refused(runs: Path) -> None:
    run = RunDir(runs / "b")
    run.update(data={**run.data().to_json(), "val_images": 0})
    run.validation.unlink()
    assert refused(runs, "a", "b").problem.startswith("b was trained on all labels")


def test_settings_that_differ_are_listed_and_no_others(runs: Path) -> None:
    settings(runs / "a", optim={"lr": 0.001}, train={"steps": 500}, runs="x", name="one")
    settings(runs / "b", optim={"lr": 0.002}, train={"steps": 500}, model={"backbone": "resnet18"}, runs="y")
    run = RunDir(runs / "b")
    run.update(data={**run.data().to_json(), "train_images": 1680})
    first, second = compare_sources(["a", "b"], runs)
    a, b = first.settings, second.settings
    assert a.keys() == b.keys() == {"optim.lr", "model.backbone", "data"}
    assert (a["optim.lr"], b["optim.lr"], b["model.backbone"]) == ("0.001", "0.002", "resnet18")
    page = comparison_page([first, second])
    assert "| setting | a | b |" in page and "| optim.lr | 0.001 | 0.002 |" in page and "train.steps" not in page


def test_names_that_are_alike_are_told_apart(runs: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "other" / "a", tmp_path, seed=3)
    found = compare_sources(["a", tmp_path / "other" / "a"], runs)
    assert [one.name for one in found] == ["runs/a", "other/a"]


@pytest.mark.parametrize("kind", ["run", "rounds", "folds"])
def test_the_cost_is_that_of_every_training_but_baselines_and_refits(
    tmp_path: Path, kind: str, made: Callable[[Path, float], RunDir]
) -> None:
    top = tmp_path / "top"
    if kind == "run":
        source = Source(made(top, 2.0).path, "run")
    elif kind == "folds":
        parts = [Source(made(top / f"fold-{i}", 1.0 + i).path, "run") for i in range(2)]
        made(top / "refit", 100.0)
        create_study(top, "train", "folds", RunConfig(), {"folds": 2})
        source = Source(top, "folds", tuple(parts))
    else:  # a run of pseudo-labels: three rounds below it, and its own status says their sum
        made(top, 6.0)
        for i in range(3):
            made(top / "rounds" / f"{i:02d}", 1.0 + i)
        made(top / "rounds" / "02" / "refit", 100.0)
        source = Source(top, "run")
    cost = cost_of(source)
    expected = {"run": (1, 10, 2.0, 4.0), "folds": (2, 20, 3.0, 6.0), "rounds": (3, 30, 6.0, 12.0)}[kind]
    assert cost == pytest.approx(expected)


@pytest.fixture
def made() -> Callable[[Path, float], RunDir]:
    from made_records import best_score, data_record, run_status

    from ssl_mask.files import write_json

    def make(folder: Path, seconds: float) -> RunDir:
        status = run_status(
            status="finished", step=10, steps=10, seconds=seconds, best=best_score(), data=data_record(),
            cpu_seconds=2 * seconds,
        )  # fmt: skip
        write_json(folder / "run.json", status.to_json())
        return RunDir(folder)

    return make


def test_a_page_shows_names_as_they_are(runs: Path, tmp_path: Path) -> None:
    make_run(runs / "*c*|", tmp_path, seed=2)
    page = comparison_page(compare_sources(["a", "*c*|"], runs))
    assert r"\*c\*\|" in page and "*c*|" not in page.replace(r"\*c\*\|", "")


def test_json_has_all_of_it(runs: Path) -> None:
    first, second = (one.to_json() for one in compare_sources(["a", "b"], runs))
    assert first["difference"] is None and second["difference"]["from"] == "a"
    assert second["difference"]["macro_f1"].keys() == {"value", "low", "high"}
    assert second["difference"]["verdict"] in {"better", "worse", "no difference can be shown"}
    assert isinstance(compare_sources(["a", "b"], runs)[0], Compared) and len(PLAIN.joint_classes) == 6
