"""A study of folds: what it leaves, and that stopping it anywhere changes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import TINY

from ssl_mask import devices
from ssl_mask.config import RunConfig, merge, resolve
from ssl_mask.console import Console
from ssl_mask.data.load import read_manifest
from ssl_mask.data.predictions import read_validation
from ssl_mask.errors import DataError
from ssl_mask.evaluation.metrics import bootstrap, macro_f1
from ssl_mask.inference.predictor import Compute
from ssl_mask.inference.run_predictor import load_run_predictor
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.folds import FoldsSettings, FoldStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.studies import fold_results
from ssl_mask.studies.folds import create_folds, run_folds
from ssl_mask.studies.members import Trainer
from ssl_mask.workflows.folds import train_folds
from ssl_mask.workflows.train import train


class Stopped(BaseException):
    """A kill: nothing in the package handles it."""


def settings(data: Path, runs: Path, **sections: Any) -> RunConfig:
    base = merge(TINY, {"runs": str(runs), "data": {"root": str(data), "folds": 5}})
    return resolve([base, {"train": {"epochs": 1, "steps": None, "eval_every": None}}, sections], has_gpu=lambda: False)


def quietly(study: FoldStudy, **how: Any) -> None:
    run_folds(study, Trainer(train, devices.make_accelerator("fp32"), Console(quiet=True), quiet=True), **how)


@dataclass
class Made:
    """A finished study, what it was before its runs were settled, and what was seen on the way."""

    study: FoldStudy
    finished: Path
    unsettled: Path
    after: list[int] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)
    """Files of the first run when the study was stopped behind it -> time of their last change."""

    def begin(self, folder: Path) -> FoldStudy:
        """The study as it was in one of the two folders, in its own place."""
        shutil.rmtree(self.study.path)
        shutil.copytree(folder, self.study.path)
        return self.study


def times(folder: Path) -> dict[str, int]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in files}


@pytest.fixture(scope="module")
def made(drawn: Path, tmp_path_factory: pytest.TempPathFactory, no_plots_in_module: None) -> Made:  # noqa: ARG001
    """Stopped behind the first run, continued, and stopped once more before its results are written."""
    work = tmp_path_factory.mktemp("folds")
    config = settings(drawn, work / "runs")
    study = create_folds(work / "runs/s", "train", config, FoldsSettings(folds=2, refit=True))
    made = Made(study, work / "finished", work / "unsettled")

    def stop_behind_the_first(finished: int) -> None:
        raise Stopped if finished == 1 else AssertionError

    with pytest.raises(Stopped):
        quietly(study, after=stop_behind_the_first)
    made.first = times(study.path / "fold-0")
    with pytest.MonkeyPatch.context() as patch:

        def keep_copy(own: FoldStudy, console: Console) -> Any:  # noqa: ARG001
            shutil.copytree(own.path, made.unsettled)
            raise Stopped

        patch.setattr("ssl_mask.studies.folds.settle", keep_copy)
        plain = {"augment": {**config.augment.model_dump(), "preset": "none"}}
        with pytest.raises(Stopped):
            quietly(study, after=made.after.append, changes={(0, 0): plain, (0, 1): plain})
    again = train_folds(config, resume=study.path, quiet=True)
    assert again == study
    shutil.copytree(study.path, made.finished)
    return made


def contents(folder: Path) -> dict[str, Any]:
    """File -> what it says, without times."""

    def told(path: Path) -> Any:
        if path.name != "run.json":
            return path.read_bytes()
        return {k: v for k, v in json.loads(path.read_bytes()).items() if k != "updated"}

    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    return {p.relative_to(folder).as_posix(): told(p) for p in files}


def test_what_was_finished_is_left_alone_and_only_new_runs_are_changed(made: Made) -> None:
    assert times(made.unsettled / "fold-0") == made.first
    kept = RunDir(made.unsettled / "fold-0")
    assert kept.config().augment.preset == "light"
    assert RunDir(made.unsettled / "fold-1").config().augment.preset == "none"
    assert made.after == [1, 2]


def test_all_runs_have_equal_steps_and_evaluations_and_their_own_fold(made: Made) -> None:
    configs = [run.config() for run in made.study.members()]
    assert [(c.data.folds, c.data.fold, c.data.split_seed) for c in configs] == [(2, 0, 0), (2, 1, 0)]
    assert len({(c.train.steps, c.train.epochs, c.train.eval_every) for c in configs}) == 1
    assert configs[0].train.steps == round(42 / 8)  # one pass over half of 84 images
    assert {c.train.keep for c in configs} == {"all"}


def test_the_out_of_fold_table_is_what_the_runs_say_of_images_that_they_have_not_seen(made: Made) -> None:
    study, record = made.study, made.study.record()
    oof = read_validation(study.oof)
    labeled = read_manifest(study.members()[0].config().data, Console(quiet=True)).where("train", "val")
    assert oof.path.tolist() == sorted(r.path for r in labeled.rows)
    compute = Compute(devices.make_accelerator("fp32"), Console(quiet=True))
    for fold, run in enumerate(study.members()):
        rows = read_manifest(run.config().data, Console(quiet=True)).where("val")
        said = load_run_predictor(run, compute).probs(rows).probs
        place = [oof.path.tolist().index(row.path) for row in rows.rows]
        np.testing.assert_allclose(oof.probs[place], said, atol=1e-5)
        assert (oof.fold[place] == fold).all() and (oof.true[place] == rows.joint).all()
        metadata, table = read_metadata(run.best), read_validation(run.validation)
        best = run.scores()
        assert metadata.best == best and metadata.temperatures == best.temperatures == record.temperatures
        assert (best.step, best.weights) == (record.step, record.weights)
        assert best.macro_f1 == macro_f1(table.true, table.predicted, len(table.classes))
        assert run.status().study is not None and run.status().study.macro_f1 == record.macro_f1
    score = bootstrap(oof.true, oof.predicted, oof.group, len(oof.classes))
    assert record.macro_f1.model_dump() == score["macro_f1"]._asdict()
    assert record.members == ("fold-0", "fold-1") and (record.images, record.groups) == (84, 12)
    assert record.leakage == "not-checked"  # as its runs: the guard was off
    assert all("kept" not in name for name in contents(study.path))


def test_the_card_says_the_score_and_the_runs_point_to_it(made: Made) -> None:
    record, card = made.study.record(), made.study.card.read_text()
    for words in (f"Out-of-fold macro-F1 {record.macro_f1.value:.4f}", "fold-1", f"step ({record.step}", "not-checked"):
        assert words in card
    assert f"One fold of `{made.study.path}`" in (made.study.path / "fold-0/run_card.md").read_text()


def test_the_refit_is_the_training_on_all_labels_stopped_at_the_common_step(made: Made, tmp_path: Path) -> None:
    record, run = made.study.record(), made.study.refit
    status, metadata = run.status(), read_metadata(run.best)
    assert (status.best, status.step, status.steps) == (None, record.step, record.step)
    assert run.cpu_seconds() > 0
    assert metadata.best is None and metadata.origin.step == record.step and metadata.origin.weights == record.weights
    assert metadata.temperatures == record.temperatures
    assert (run.data().train_images, run.data().val_images, run.data().val_groups) == (84, 0, 0)
    card = run.card.read_text()
    assert "**No validation of its own**" in card and f"**{record.macro_f1.value:.4f}**" in card
    assert str(made.study.path) in card and "Validation scores" not in card
    with pytest.raises(DataError, match="has no validation of its own"):
        run.scores()
    # The same training on its whole schedule passes through the same weights.
    whole = run.config().train.model_copy(update={"stop_at": None, "save_every": record.step, "keep": "best"})
    going_on = run.config().model_copy(update={"train": whole, "runs": tmp_path, "name": "whole"})
    saved: dict[str, torch.Tensor] = {}
    with pytest.MonkeyPatch.context() as patch:

        def look(session: Any, *_: Any) -> None:
            if session.progress.step == record.step:
                source = session.training.model if record.weights == "live" else session.training.ema.module
                saved.update({k: v.clone() for k, v in source.state_dict().items()})

        patch.setattr("ssl_mask.training.fit.save", look)
        train(going_on, quiet=True)
    weights = load_file(run.best)
    assert weights.keys() == saved.keys() and all(torch.equal(weights[k], saved[k]) for k in weights)


STOPS: dict[str, tuple[str, int]] = {
    "before the second run gets its predictions": ("write_table", 2),
    "before the last kept weights are removed": ("storage", 2),
    "before oof.json": ("write_json", 1),
    "before the first run gets its weights": ("write_checkpoint", 1),
    "before the second run gets its card": ("run_card", 2),
    "before oof.parquet": ("write_table", 3),
    "before the card": ("study_card", 1),
    "before the first kept weights are removed": ("storage", 1),
}
"""Where a study is killed -> a function of `fold_results` and which call of it."""
QUICK = list(STOPS)[:2]


@pytest.mark.parametrize("where", [*QUICK, *(pytest.param(stop, marks=pytest.mark.slow) for stop in list(STOPS)[2:])])
def test_killed_while_its_results_are_written_it_ends_with_the_same_bytes(
    made: Made, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, (name, call) = made.begin(made.unsettled), STOPS[where]
    calls, function = iter(range(1, 100)), getattr(fold_results, name)

    def killed(*given: Any, **more: Any) -> Any:
        if next(calls) == call:
            raise Stopped
        return function(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(fold_results, name, killed)
        with pytest.raises(Stopped):
            quietly(study)
    quietly(study)
    now = contents(study.path)
    assert now == {name: told for name, told in contents(made.finished).items() if not name.startswith("refit/")}


def test_a_study_whose_data_changed_is_refused(made: Made, faces: Path) -> None:
    study = made.begin(made.unsettled)
    record = json.loads(study.study.record_file.read_text())
    record["config"]["data"]["root"] = str(faces)
    study.study.record_file.write_text(json.dumps(record))
    image = next((faces / "train").rglob("*.jpg"))
    image.write_bytes(image.read_bytes() + b"more")
    with pytest.raises(DataError, match=r"is not what .* began with: .*\(1 such images\)"):
        quietly(study)


def test_runs_of_different_data_are_never_pooled(made: Made) -> None:
    study = made.begin(made.unsettled)
    manifest = study.members()[1].manifest
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join([lines[0], lines[1].replace(lines[1].split(",")[5], "0" * 64), *lines[2:]]))
    with pytest.raises(DataError, match="is not the same image or label in all runs"):
        fold_results.settle(study, Console(quiet=True))
    manifest.write_text("".join(line for line in lines if ",val," not in line))
    with pytest.raises(DataError, match="is validated by no fold"):
        fold_results.settle(study, Console(quiet=True))
