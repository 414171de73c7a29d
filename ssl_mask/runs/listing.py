"""What is in a folder of runs: runs and studies, the members of studies below them, and galleries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ssl_mask.errors import InputError, MismatchError
from ssl_mask.runs.base import Count, Record, Share
from ssl_mask.runs.factors import FactorsRecord, FactorStudy
from ssl_mask.runs.find import list_runs
from ssl_mask.runs.folds import FoldsRecord, FoldStudy
from ssl_mask.runs.gallery import GalleryDir, list_galleries
from ssl_mask.runs.records import LeakageStatus, RoundSummary, RunStatus
from ssl_mask.runs.rounds import RoundStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seeds import Seeds, baseline_name, seed_runs
from ssl_mask.runs.study import Kind, Study
from ssl_mask.runs.trials import TrialStudy

MEMBERS = ("*", "rounds/*", "trials/*")
"""Where the runs and studies are that a study is made of."""


class StudySummary(Record):
    """A study in one line."""

    verb: str
    kind: Kind
    status: str
    """`finished`, that of the first member that is not (`running`, `interrupted`, `failed`), `unfinished` or
    `not begun`."""
    done: Count
    """Members that are finished."""
    total: Count
    macro_f1: Share | None
    """None: nothing to score yet."""
    accuracy: Share | None
    score: Literal["OOF", "val", "mean", "best"]
    """Out of fold; of one validation set; the mean validation of the runs; or the best trial's, out of fold: chosen on
    it, so optimistic."""
    leakage: LeakageStatus
    started: str


class GallerySummary(Record):
    """A gallery in one line."""

    kind: Literal["gallery"]
    source: str
    """Path of the run or the study that embeds its images."""
    images: Count
    classes: Count
    """Joint classes."""
    leakage: LeakageStatus


@dataclass(frozen=True)
class Entry:
    """A run, a study or a gallery in a folder of runs."""

    name: str
    """Its path below the folder."""
    depth: int
    """0, or how many studies it is inside of."""
    run: RunStatus | None = None
    study: StudySummary | None = None
    gallery: GallerySummary | None = None
    damage: str = ""
    """Why it cannot be read."""


def list_entries(folder: Path, *, members: bool = True) -> Iterator[Entry]:
    """Runs and studies in a folder by name, each study before its members; then galleries by name.

    Args:
        members: also what studies are made of.
    """
    found = {run.path for run in list_runs(folder)} | {p.parent for p in folder.glob("[!.]*/study.json")}
    for path in sorted(found):
        if not _is_study(path.parent):  # a member comes after its study
            yield from _entries(folder, path, 0, members=members)
    for gallery in list_galleries(folder):
        try:
            yield Entry(gallery.name, 0, gallery=summary_of_gallery(gallery))
        except (InputError, MismatchError) as error:
            yield Entry(gallery.name, 0, damage=error.problem)


def _entries(folder: Path, path: Path, depth: int, *, members: bool) -> Iterator[Entry]:
    run, study, name = RunDir(path), Study(path), path.relative_to(folder).as_posix()
    try:
        if run.status_file.is_file():
            yield Entry(name, depth, run=run.status())
        else:
            yield Entry(name, depth, study=summary_of(study))
    except InputError as error:
        yield Entry(name, depth, damage=error.problem)
    for member in members_of(study) if members else ():
        yield from _entries(folder, member, depth + 1, members=True)


def members_of(study: Study) -> list[Path]:
    """The folders of the runs and studies that a study is made of, or a run of rounds, as far as they are begun."""
    found = {p for pattern in MEMBERS for p in study.path.glob(pattern) if not p.name.startswith(".")}
    return sorted(p for p in found if RunDir(p).status_file.is_file() or (_is_study(p) and p.name != "rounds"))


def _is_study(path: Path) -> bool:
    return Study(path).record_file.is_file()


def summary_of_gallery(gallery: GalleryDir) -> GallerySummary:
    """A gallery in one line. Raises DataError, MismatchError when gallery.json is damaged or was changed."""
    record = gallery.record()
    return GallerySummary(
        kind="gallery", source=record.source, images=record.images, leakage=record.leakage,
        classes=len(record.label_schema.joint_classes),
    )  # fmt: skip


def summary_of(study: Study) -> StudySummary:
    """A study in one line. Raises DataError when its record, or the status of a member, is missing or damaged."""
    record = study.record()
    summarise = {"folds": _folds, "factors": _factors, "rounds": _rounds, "seeds": _seeds, "trials": _trials}
    return summarise[record.kind](study)


def _folds(study: Study) -> StudySummary:
    folds = FoldStudy(study)
    members = [run.path for run in (*folds.members(), *([folds.refit] if folds.settings().refit else []))]
    return _scored(study, members, folds.record() if folds.finished else None)


def _factors(study: Study) -> StudySummary:
    factors = FactorStudy(study)
    asked = factors.settings()
    members = [factors.folder(name) for name in asked.parts]
    found = _scored(study, members, factors.record() if factors.finished else None)
    return found if asked.folds is not None else found.model_copy(update={"score": "val"})


def _scored(study: Study, members: Sequence[Path], found: FoldsRecord | FactorsRecord | None) -> StudySummary:
    """A study whose members have one score together, once all are finished."""
    so_far = _so_far(study, members)
    if found is None:
        return so_far
    return so_far.model_copy(update=_score(found) | {"leakage": found.leakage})


def _score(found: FoldsRecord | FactorsRecord | RoundSummary) -> dict[str, float]:
    return {"macro_f1": found.macro_f1.value, "accuracy": found.accuracy.value}


def _rounds(study: Study) -> StudySummary:
    rounds = RoundStudy(study)
    so_far = _so_far(study, [rounds.round(number).path for number in range(rounds.settings().rounds + 1)])
    if not rounds.record_file.is_file():
        return so_far
    found = rounds.record()
    changes = _score(found.rounds[found.best_round]) | {"leakage": found.leakage}
    return so_far.model_copy(update=changes | ({"status": "finished"} if found.finished else {}))


def _seeds(study: Study) -> StudySummary:
    asked = study.settings_as(Seeds)
    ours = seed_runs(study)
    baselines = [study.run(baseline_name(seed)) for seed in asked.seeds if asked.baseline]
    so_far = _so_far(study, [run.path for run in (*ours, *baselines)])
    best = [run.status().best for run in ours if run.status_file.is_file()]
    known = [score for score in best if score is not None]
    mean = {key: sum(getattr(s, key) for s in known) / len(known) for key in ("macro_f1", "accuracy") if known}
    return so_far.model_copy(update={"score": "mean", **mean})


def _trials(study: Study) -> StudySummary:
    trials = TrialStudy(study)
    numbers = range(trials.settings().trials)
    ended = [trials.record(number) for number in numbers if trials.trial_file(number).is_file()]
    scored = [(r.macro_f1.value, r.number) for r in ended if r.macro_f1 is not None]
    changes: dict[str, Any] = {"score": "best", "done": len(ended), "total": len(numbers)}
    if scored:
        value, number = max(scored)
        changes |= {"macro_f1": value, "leakage": trials.trial(number).record().leakage}
    status = "finished" if trials.verdict_file.is_file() else "running" if ended else "not begun"
    return _so_far(study, []).model_copy(update=changes | {"status": status})


def _so_far(study: Study, members: Sequence[Path]) -> StudySummary:
    """A study by what its members, runs or studies, say of themselves, without a score."""
    record = study.record()
    done = [path for path in members if _finished(path)]
    statuses = [run.status() for run in _runs(members)]
    begun: list[str] = [s.status for s in statuses if s.status != "finished"]
    status = "finished" if len(done) == len(members) else (begun or ["unfinished" if done else "not begun"])[0]
    return StudySummary(
        verb=record.verb, kind=record.kind, status=status, done=len(done), total=len(members), macro_f1=None,
        accuracy=None, score="OOF", started=min((s.started for s in statuses), default=""),
        leakage=max((s.leakage for s in statuses), key=get_args(LeakageStatus).index, default="not-checked"),
    )  # fmt: skip


def _runs(members: Sequence[Path]) -> Iterator[RunDir]:
    """The runs among members and inside of them, as far as they are begun."""
    for path in members:
        if RunDir(path).status_file.is_file():
            yield RunDir(path)
        elif _is_study(path):
            yield from _runs(members_of(Study(path)))


def _finished(path: Path) -> bool:
    run = RunDir(path)
    if run.status_file.is_file():
        return run.status().status == "finished"
    return _is_study(path) and summary_of(Study(path)).status == "finished"
