"""The students of a round by folds: who teaches each, which labels it has, and what its run has of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssl_mask.config import DataConfig, RunConfig
from ssl_mask.console import Console
from ssl_mask.data.load import TrainingData, load_training_data, read_manifest
from ssl_mask.data.manifest import Manifest
from ssl_mask.guard.teachers import learned_by
from ssl_mask.pseudo_labeling.fold_setting import Setting, called
from ssl_mask.pseudo_labeling.folds import Student
from ssl_mask.pseudo_labeling.honest import honest_models
from ssl_mask.pseudo_labeling.round import image_size
from ssl_mask.runs.folds import FoldStudy, member_name
from ssl_mask.runs.rounds import RoundStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source, run_source


def is_missing(folds: FoldStudy, repeat: int, fold: int) -> bool:
    """Whether a student of a round has neither begun nor got its pseudo-labels."""
    name = member_name(repeat, fold)
    return folds.study.settle(name) == "new" and not folds.study.run(name).pseudo_labels.is_file()


def round_config(config: RunConfig, number: int) -> RunConfig:
    """What all runs of a round have in common. Round 0 knows labels only, whatever the algorithm of the others."""
    if number > 0:
        return config
    return config.model_copy(update={"algorithm": config.algorithm.model_copy(update={"name": "supervised"})})


def student_of(setting: Setting, whole: RoundStudy, number: int, at: tuple[int, int]) -> Student:
    """A student of a round: its teachers are the models of its fold of the round before, or the named ones."""
    repeat, fold = at
    name, named = member_name(repeat, fold), setting.named[at]
    before = whole.round(number - 1)
    if number == 1 and named:
        teachers = named
    else:
        models = {run_source(run): learned_by(run) for run in before.members()} if before.finished else {}
        quiet = setting.console if setting.config.guard.leaked else Console(quiet=True)
        teachers = honest_models(
            models, setting.val(*at), quiet, leaked=setting.config.guard.leaked, student=called(*at)
        )
        teachers += named if setting.config.pseudo.keep_teachers else ()
    data = open_labeled(setting, setting.split(repeat, fold), setting.manifests[at], teachers)
    last = before.study.run(name) if number > 1 else None
    return Student(whole.round(number).study.run(name), called(*at).capitalize(), data, teachers, last, repeat)


def open_labeled(
    setting: Setting, config: DataConfig, manifest: Manifest, teachers: tuple[Source, ...]
) -> TrainingData:
    """The labeled images of a student, at the size that its first teacher reads."""
    size = image_size(teachers[0])
    return load_training_data(manifest, config, size, setting.accelerator, Console(quiet=True), unlabeled=False)


def refit_student(setting: Setting, run: RunDir, students: Sequence[Student]) -> Student:
    """The model on all labels: all teachers of a round teach it, and it is validated on nothing."""
    config = setting.config.data.model_copy(update={"validation": "none"})
    manifest = read_manifest(config, Console(quiet=True))
    teachers = tuple(dict.fromkeys(teacher for student in students for teacher in student.teachers))
    return Student(run, "Refit", open_labeled(setting, config, manifest, teachers), teachers, None)


def changes_of(config: RunConfig, whole: RoundStudy, number: int, repeat: int, fold: int) -> Mapping[str, Any]:
    """What the run of a student has of its own: its pseudo-labels and, if asked, the weights that it starts from."""
    name, before = member_name(repeat, fold), whole.round(number - 1)
    run = whole.round(number).study.run(name)
    changes: dict[str, Any] = {"data": {"pseudo_labels": str(run.pseudo_labels)}}
    if config.pseudo.warm_start and before.finished:
        changes["init_from"] = str(before.study.run(name).path)
    return changes
