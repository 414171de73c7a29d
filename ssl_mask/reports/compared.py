"""Runs and studies side by side: the paired difference from the first, what each took, and the settings that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ssl_mask.config import RunConfig, validate
from ssl_mask.errors import DataError, InputError
from ssl_mask.evaluation.metrics import macro_f1
from ssl_mask.guard.lineage import mark_of
from ssl_mask.guard.status import worst_mark
from ssl_mask.reports.html.report.settings import PLACES, leaves, said
from ssl_mask.reports.html.report.versus import Versus, versus
from ssl_mask.reports.html.subject import Subject, subject_of
from ssl_mask.reports.run_card import machine
from ssl_mask.runs.records import LeakageStatus
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.sources import Source, find_source
from ssl_mask.runs.study import Study


class Cost(NamedTuple):
    """What the trainings of a run or a study took, without those of the runs that it builds on."""

    runs: int
    steps: int
    """Of all runs."""
    seconds: float
    """Of all runs, one after the other; of rounds of pseudo-labels that of their trainings."""
    cpu_seconds: float
    """Of the first process."""


class Compared(NamedTuple):
    """A run or a study, and how it differs from the first one."""

    name: str
    images: int
    """Of its validation, or out of fold."""
    macro_f1: float
    """On all of them."""
    leakage: LeakageStatus
    cost: Cost
    difference: Versus | None
    """None: it is the first."""
    settings: dict[str, str]
    """Where the settings of one of all are different: key -> the value, in words."""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        other = self.difference
        return {
            **self._asdict(), "cost": self.cost._asdict(),
            "difference": other and {
                "from": other.name, "images": other.images, "groups": other.groups, "verdict": other.verdict,
                "macro_f1": other.macro_f1._asdict(), "accuracy": other.accuracy._asdict(),
            },
        }  # fmt: skip


def compare_sources(references: Sequence[str | Path], runs: Path) -> list[Compared]:
    """Compare runs, studies or galleries with the first of them. Reads no image.

    Args:
        references: each a name, a path or `latest`.
        runs: folder of the runs.

    Raises:
        InputError: fewer than two, or one twice.
        DataError: one has no validation, predicts other classes, or shares no validation image with the first; a file
            is missing or damaged.
    """
    sources = [find_source(reference, runs) for reference in references]
    places = [source.path.resolve() for source in sources]
    if len(set(places)) < max(2, len(places)):
        hint = "Name them: sslmask runs compare train-001 train-002"
        raise InputError("A comparison needs two or more different runs or studies.", hint=hint)
    names = _names(sources)
    subjects = [subject_of(source) for source in sources]
    for name, subject in zip(names, subjects, strict=True):
        if subject.table is None:
            hint = "Compare the study of folds that it belongs to, or a run that has a validation set."
            raise DataError(f"{name} was trained on all labels and has no validation images.", hint=hint)
    settings = _differing([dict(_settings(subject)) for subject in subjects])
    return [
        _compared(name, subject, own, None if i == 0 else _versus(subject, subjects[0], name, names[0]))
        for i, (name, subject, own) in enumerate(zip(names, subjects, settings, strict=True))
    ]


def _names(sources: Sequence[Source]) -> list[str]:
    """As short as they can be without two being alike: `fold-0` of two studies are named with their studies."""
    parts = [source.path.resolve().parts for source in sources]
    length = next(n for n in range(1, max(map(len, parts)) + 1) if len({own[-n:] for own in parts}) == len(parts))
    return ["/".join(own[-length:]) for own in parts]


def _versus(subject: Subject, first: Subject, name: str, first_name: str) -> Versus:
    """Raises DataError where they cannot be compared; the message names both."""
    assert subject.table is not None and first.table is not None
    try:
        return versus(subject.table, first.table, first_name)
    except DataError as error:
        raise DataError(f"{name} and {first_name} cannot be compared: {error.problem}", hint=error.hint) from None


def _compared(name: str, subject: Subject, settings: dict[str, str], difference: Versus | None) -> Compared:
    table = subject.table
    assert table is not None
    own = [mark_of(subject.source.gallery.record())] if subject.source.kind == "gallery" else []
    mark = worst_mark([*own, *(mark_of(run.status()) for run in subject.runs)])
    score = macro_f1(table.true, table.predicted, len(table.classes))
    return Compared(name, len(table), score, mark.status, cost_of(subject.source), difference, settings)


def cost_of(source: Source) -> Cost:
    """What the trainings of a run or a study took. Raises DataError when a record of a run is missing or damaged."""
    statuses = [(run, run.status()) for run in trained_runs(source)]
    return Cost(
        len(statuses),
        sum(status.step for _, status in statuses),
        sum(status.seconds for _, status in statuses),
        sum(run.cpu_seconds() for run, _ in statuses),
    )


def trained_runs(source: Source) -> Iterator[RunDir]:
    """The runs whose training made what predicts: of rounds all of them, without baselines and models on all labels."""
    if source.kind in {"run", "rounds"}:
        rounds = sorted(p.parent for p in (source.path / "rounds").rglob("run.json") if p.parent.name != "refit")
        yield from map(RunDir, rounds or ([source.path] if source.kind == "run" else []))
    else:
        yield from (run for part in source.parts for run in trained_runs(part))


def _settings(subject: Subject) -> Iterator[tuple[str, str]]:
    """What a run was made with: settings, then data, code and machine."""
    source, run = subject.source, subject.runs[0]
    if source.kind != "run":
        yield "kind", source.kind
    for key, value in leaves(config_of(source).model_dump(mode="json")):
        if key not in PLACES:
            yield key, said(value)
    data, made = run.data(), run.environment_record()
    yield "data", f"{data.train_images + data.val_images} images, {data.content_hash[:8]}"
    if data.unlabeled is not None:
        yield "unlabeled images", f"{data.unlabeled.images} images, {data.unlabeled.content_hash[:8]}"
    yield "code", f"sslmask {made.sslmask}"
    yield "machine", machine(made)


def config_of(source: Source) -> RunConfig:
    """The configuration of a run, or what all runs of a study have in common."""
    if source.kind == "gallery":
        return config_of(source.parts[0])
    study = Study(source.path)
    return validate(study.record().config) if study.record_file.is_file() else RunDir(source.members[0].path).config()


def _differing(settings: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Of each, the settings that are not the same in all."""
    keys = dict.fromkeys(key for own in settings for key in own)
    kept = [key for key in keys if len({own.get(key, "not set") for own in settings}) > 1]
    return [{key: own.get(key, "not set") for key in kept} for own in settings]
