"""What is refused before a study of folds trains, and what is only told. No image is read here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_records import best_score, run_status
from numpy.typing import NDArray

from ssl_mask import devices
from ssl_mask.config import RunConfig, merge, resolve
from ssl_mask.console import Console
from ssl_mask.data.load import read_manifest
from ssl_mask.data.manifest import Manifest
from ssl_mask.errors import ConfigError, DataError
from ssl_mask.files import write_json
from ssl_mask.reports import samples, study_samples
from ssl_mask.runs.folds import FoldsSettings, FoldStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.studies import fold_checks, folds
from ssl_mask.studies.fold_checks import checked_config
from ssl_mask.studies.members import Trainer
from ssl_mask.studies.refit import refit_config
from ssl_mask.training.algorithm import fixed_temperatures, refuse_unknown_names


def table(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    """A data set of a table: (label, group, split) per image; the images are never opened."""
    folder.mkdir()
    lines = ["image,label,group,split"]
    for number, cells in enumerate(rows):
        (folder / f"{number}.jpg").write_bytes(b"")
        lines.append(f"{number}.jpg,{','.join(cells)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def config(root: Path, /, **sections: Any) -> RunConfig:
    return resolve([{"preset": "none", "data": {"root": str(root)}}, sections], has_gpu=lambda: False)


def groups(label: str, count: int, split: str = "train", images: int = 2) -> list[tuple[str, str, str]]:
    return [(label, f"{label}{n}", split) for n in range(count) for _ in range(images)]


def check(root: Path, folds: int, repeats: int = 1, /, **sections: Any) -> RunConfig:
    asked = FoldsSettings(folds=folds, repeats=repeats)
    return checked_config(config(root, **sections), asked, Console())


def test_all_runs_get_the_length_that_their_folds_have_on_average(tmp_path: Path) -> None:
    """3 of 4 parts of 80 images are 60, of which 2 passes in batches of 8 are 15 steps."""
    data = table(tmp_path / "data", groups("a", 20) + groups("b", 20))
    found = check(data, 4, train={"epochs": 2, "batch_size": 8})
    assert (found.train.steps, found.train.epochs, found.data.folds) == (15, None, 4)
    assert found.train.eval_every == 3  # four evaluations of both kinds of weights on 20 images
    given = check(data, 4, train={"steps": 30, "eval_every": 7})
    assert (given.train.steps, given.train.eval_every) == (30, 7)


def test_a_given_split_must_be_given_up(tmp_path: Path) -> None:
    data = table(tmp_path / "data", groups("a", 6) + groups("b", 6) + [("a", "v", "val"), ("b", "w", "val")])
    with pytest.raises(ConfigError, match=r"its own validation split \(2 images\)") as refused:
        check(data, 3)
    assert "data.given_split=ignore" in refused.value.hint
    assert check(data, 3, data={"given_split": "ignore"}).data.folds == 3


def test_folds_need_validation(tmp_path: Path) -> None:
    data = table(tmp_path / "data", groups("a", 6))
    with pytest.raises(ConfigError, match="A study of folds needs validation"):
        check(data, 3, data={"validation": "none"})


def test_more_folds_than_groups_are_refused(tmp_path: Path) -> None:
    data = table(tmp_path / "data", groups("a", 3, images=5) + groups("b", 3, images=5))
    with pytest.raises(DataError, match="6 groups are too few for 7 folds"):
        check(data, 7)


def test_a_class_of_fewer_groups_than_folds_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(tmp_path / "data", groups("a", 20) + groups("rare", 3))
    check(data, 5)
    assert "Fewer groups than the 5 folds: rare (3). Some folds are validated without" in capsys.readouterr().out
    check(data, 3)
    assert "Fewer groups" not in capsys.readouterr().out


def test_a_fold_that_would_train_without_a_class_is_refused_in_any_repeat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a class has one group, the fold of this group has no image of it to train on."""
    data = table(tmp_path / "data", groups("a", 20) + groups("lone", 1))
    with pytest.raises(DataError, match=r"Class lone has only 1 group"):
        check(data, 4)
    check(data, 4, 2, data={"min_groups": 1})
    told = capsys.readouterr().out
    assert told.count("would train without class lone: all of its 1 groups") == 2
    assert "(split seed 0)" in told and "(split seed 1)" in told


def test_a_split_that_puts_all_groups_of_a_class_into_one_fold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = table(tmp_path / "data", groups("a", 6) + groups("pair", 2))
    check(data, 2, 2)

    def unlucky(labeled: Manifest, *, folds: int, seed: int) -> NDArray[np.int64]:
        usual = np.arange(len(labeled)) // 2 % folds
        return np.where((labeled.labels[:, 0] == 1) & (seed == 1), 0, usual)

    monkeypatch.setattr(fold_checks, "fold_numbers", unlucky)
    check(data, 2, 1)
    with pytest.raises(DataError, match=r"Fold 0 \(split seed 1\) would train without class pair: all of") as found:
        check(data, 2, 2)
    assert "--set data.min_groups=1" in found.value.hint


def test_every_run_keeps_its_split_whatever_is_changed(tmp_path: Path) -> None:
    data = table(tmp_path / "data", groups("a", 6) + groups("b", 6))
    settings = config(data, data={"split_seed": 7}, runs=str(tmp_path / "runs"))
    study = folds.create_folds(tmp_path / "runs/s", "uda", settings, FoldsSettings(folds=3, repeats=2))
    assert [run.name for run in study.members()] == [
        "fold-0", "fold-1", "fold-2", "repeat-1-fold-0", "repeat-1-fold-1", "repeat-1-fold-2",
    ]  # fmt: skip
    assert FoldStudy(study.study).settings() == FoldsSettings(folds=3, repeats=2)
    changes = {"data": {"fold": 0, "on_bad": "skip"}, "seed": 5}
    made = study.member_config(settings, 1, 2, changes)
    assert (made.data.fold, made.data.split_seed, made.data.on_bad, made.seed) == (2, 8, "skip", 5)
    assert (made.train.keep, made.name, made.runs) == ("all", "repeat-1-fold-2", study.path)


def test_a_study_says_how_long_the_rest_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By what the runs took that were trained now: the first was finished before, the others take 90 s each."""
    data = table(tmp_path / "data", groups("a", 6) + groups("b", 6))
    settings = config(data, runs=str(tmp_path / "r"))
    study = folds.create_folds(tmp_path / "r/s", "train", settings, FoldsSettings(folds=4))
    clock = iter([1000.0, 1090.0, 1180.0, 1270.0])
    monkeypatch.setattr(folds, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    write_run(study.members()[0])

    def train(config: RunConfig, **_: Any) -> None:
        write_run(study.study.run(str(config.name)))

    each = folds._train_each(study, settings, {}, Trainer(train, devices.make_accelerator("fp32"), Console()))
    assert list(each) == [1, 2, 3, 4]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Fold ")]
    assert [line.partition("weights)")[2] for line in lines] == [
        "", "; about 3.0 minutes left", "; about 1.5 minutes left", ""
    ]  # fmt: skip


def write_run(run: RunDir) -> None:
    run.path.mkdir(exist_ok=True)
    write_json(run.status_file, run_status(status="finished", best=best_score()).to_json())
    run.card.write_text("")


def test_a_refit_is_the_study_on_all_labels_for_the_common_step(tmp_path: Path) -> None:
    """Thresholds on calibrated confidences have no validation there, so they get the temperatures of the folds."""
    data = table(tmp_path / "data", groups("a", 6) + groups("b", 6))
    settings = config(data, algorithm={"name": "fixmatch"}, train={"steps": 9, "patience": 3}, runs=str(tmp_path / "r"))
    study = folds.create_folds(tmp_path / "r/s", "uda", settings, FoldsSettings(folds=3, refit=True))
    record, _ = study_samples.folds()
    made = refit_config(study, record, {"seed": 4})
    assert (made.data.validation, made.seed, made.name, made.runs) == ("none", 4, "refit", study.path)
    assert (made.train.stop_at, made.train.steps, made.train.last_weights) == (record.step, 9, record.weights)
    assert (made.train.patience, made.algorithm.temperature) == (0, record.temperatures)
    fixed = refit_config(study, record, {"algorithm": {"temperature": 2.0}})
    assert fixed.algorithm.temperature == 2.0


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"optim": {"schedule": "plateau"}}, "optim.schedule plateau"),
        ({"train": {"patience": 2}}, "train.patience"),
        ({"algorithm": {"name": "uda"}}, "algorithm.temperature calibrated"),
    ],
)
def test_what_waits_for_validation_is_refused_without_it(tmp_path: Path, sections: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.validation none evaluates nothing, but {key}"):
        config(tmp_path, **merge(sections, {"data": {"validation": "none"}}))
    assert config(tmp_path, **sections).data.validation == "fold"


def test_a_given_split_is_kept_ignored_or_trained_on(tmp_path: Path) -> None:
    data = table(tmp_path / "data", groups("a", 6) + groups("b", 6) + [("a", "v", "val"), ("b", "w", "val")])

    def sizes(**asked: Any) -> tuple[int, int]:
        rows = read_manifest(config(data, data={"folds": 3, **asked}).data, Console(quiet=True))
        return len(rows.where("train")), len(rows.where("val"))

    assert sizes() == (24, 2)
    ignored = [sizes(given_split="ignore", fold=fold) for fold in range(3)]
    assert sum(val for _, val in ignored) == 26 and {train + val for train, val in ignored} == {26}
    assert sizes(validation="none") == (26, 0)


def test_temperatures_may_be_given_per_head(tmp_path: Path) -> None:
    heads = {"colour": 2.0, "size": 0.5, "condition": 1.0}
    given = config(tmp_path, algorithm={"name": "uda", "temperature": heads})
    assert fixed_temperatures(given, samples.SCHEMA) == heads
    one = config(tmp_path, algorithm={"name": "uda", "temperature": 3})
    assert fixed_temperatures(one, samples.SCHEMA) == dict.fromkeys(heads, 3.0)
    for wrong, problem in (({**heads, "shape": 1.0}, "no head 'shape'"), ({"colour": 1.0}, "'size' has none")):
        asked = config(tmp_path, algorithm={"name": "uda", "temperature": wrong})
        with pytest.raises(ConfigError, match=rf"algorithm\.temperature: .*{problem}"):
            refuse_unknown_names(asked, samples.SCHEMA)


def test_what_a_resumed_run_will_do_again_is_not_kept(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    line = {"kind": "train", "loss": 1.0, "terms": {}, "stats": {}, "lr": 0.1, "images_per_second": 1.0}
    for step in (2, 4):
        run.log(step=step, **line)
        for weights in ("live", "ema"):
            for file in run.kept(step, weights):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"")
    run.forget_after(2)
    assert sorted(p.name for p in run.all_kept.iterdir()) == [
        "000002-ema.parquet", "000002-ema.safetensors", "000002-live.parquet", "000002-live.safetensors",
    ]  # fmt: skip
