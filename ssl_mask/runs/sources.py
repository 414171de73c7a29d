"""What can predict: a run, or a study whose runs predict together. Whatever takes `--run` looks it up here.

| kind | what it is | together they are |
| --- | --- | --- |
| run | a run; also `sslmask pseudo`, which has the weights of its best round | |
| folds | a study of folds | the mean of its folds; `refit/` is a run of its own |
| rounds | rounds of pseudo-labels by folds | the folds of the best round |
| seeds | a study of seeds | the mean of its runs, without the baselines |
| factors | a study of factor models; `STUDY/refit`: its models on all labels | the product of its factors |
| gallery | labeled images, embedded by one of the above | the votes of the nearest persons (groups) |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssl_mask.data.manifest import Submission
from ssl_mask.data.schema import LabelSchema
from ssl_mask.errors import DataError, InputError
from ssl_mask.runs.checkpoint import read_metadata
from ssl_mask.runs.factors import FactorsRecord, FactorStudy
from ssl_mask.runs.find import find_run, is_exported, list_runs
from ssl_mask.runs.folds import REFIT, FoldStudy
from ssl_mask.runs.gallery import GalleryDir, GalleryRecord, find_gallery, is_gallery
from ssl_mask.runs.records import CheckpointMetadata
from ssl_mask.runs.rounds import RoundStudy
from ssl_mask.runs.run import RunDir
from ssl_mask.runs.seeds import seed_runs
from ssl_mask.runs.study import Study, find_study, list_studies

SourceKind = Literal["run", "folds", "rounds", "seeds", "factors", "gallery"]


@dataclass(frozen=True)
class Source:
    """A run, or a finished study."""

    path: Path
    """Of the run or the study; predictions go below it."""
    kind: SourceKind
    parts: tuple[Source, ...] = ()
    """What predicts together: all alike, or of `factors` one for each factor, in order; of a gallery what embeds its
    images; nothing of a run."""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def members(self) -> tuple[RunDir, ...]:
        """The runs whose weights predict."""
        return tuple(m for part in self.parts for m in part.members) if self.parts else (RunDir(self.path),)

    @property
    def models(self) -> tuple[Source, ...]:
        """What predicts alone: each run, and of factor models those of one fold, which share their training groups."""
        if self.kind == "gallery":
            return (self,)
        if self.kind == "factors":
            each = [part.models for part in self.parts]
            return tuple(Source(self.path, "factors", parts) for parts in zip(*each, strict=True))
        return tuple(model for part in self.parts for model in part.models) or (self,)

    @property
    def tables(self) -> tuple[Path, ...]:
        """Predictions of labeled images by models that have not seen their groups: validation of a run, out-of-fold
        predictions of a study of folds; of several tables of the same images, their mean counts."""
        if self.kind == "gallery":
            own = self.gallery.validation(self.gallery.record())
            return () if own is None else (own,)
        if self.kind == "folds":
            return (FoldStudy(Study(self.path)).oof,)
        if self.kind == "factors":
            return (self.factor_study.oof,)
        return tuple(t for part in self.parts for t in part.tables) or (RunDir(self.path).validation,)

    @property
    def schema(self) -> LabelSchema:
        """The classes that it predicts. Raises ModelError when a checkpoint is missing or damaged."""
        return self._about.label_schema

    @property
    def submission(self) -> Submission:
        """How answers are written. Raises ModelError when a checkpoint is missing or damaged."""
        return self._about.submission

    @property
    def factor_study(self) -> FactorStudy:
        """Of kind `factors`: the study, also where its models on all labels predict (`refit`)."""
        return FactorStudy(Study(self.path.parent if self.path.name == REFIT else self.path))

    @property
    def gallery(self) -> GalleryDir:
        """Of kind `gallery`."""
        return GalleryDir(self.path)

    @property
    def _about(self) -> CheckpointMetadata | FactorsRecord | GalleryRecord:
        """What says of itself: the checkpoint of its first member, or the record of joined factors or of a gallery."""
        if self.kind == "gallery":
            return self.gallery.record()
        if self.kind == "factors":
            return self.factor_study.record()
        return read_metadata(self.members[0].best)

    @property
    def updated(self) -> float:
        """When a member was last changed, in seconds since 1970."""
        return max(member.status().updated for member in self.members)

    def predictions(self, pool: str) -> Path:
        """The folder for predictions of a pool of images."""
        return self.path / "predictions" / pool


def run_source(run: RunDir) -> Source:
    """A run as a source."""
    return Source(run.path, "run")


def find_source(reference: str | Path, runs: Path) -> Source:
    """A run, a study or a gallery by path or by name in `runs`; `latest`: the run or finished study changed last.

    Neither the runs of a study alone nor galleries count as `latest`.

    Raises:
        DataError: no such run, a study that is not finished, one that does not predict, or an exported network.
    """
    if is_exported(reference):
        raise DataError(
            f"{reference} is an exported network, which cannot be used here.",
            hint="Name the run that it was made from. `sslmask predict` takes it, alone.",
        )
    if str(reference) == "latest":
        found = [*list_sources(runs)]
        if not found:
            raise DataError(f"No run with a checkpoint in {runs.absolute()}.", hint="Train one first: sslmask train")
        return max(found, key=lambda source: source.updated)
    if any(map(is_gallery, (Path(reference), runs / reference))):
        return gallery_source(find_gallery(reference, runs), runs)
    above = find_study(Path(reference).parent, runs) if Path(reference).name == REFIT else None
    if above is not None and above.record().kind == "factors":
        return refit_source(FactorStudy(above))
    study = find_study(reference, runs)
    if study is None or study.path != study.home:  # the rounds of a run, which has the weights of the best one
        return run_source(find_run(reference, runs))
    return study_source(study)


def find_networks(reference: str | Path, runs: Path) -> Source:
    """As `find_source`, for what takes the networks out of a run or a study.

    Raises:
        InputError: an exported network or a gallery.
    """
    if is_exported(reference):
        raise InputError(f"{reference} is exported already.", hint="Name the run or the study that it was made from.")
    source = find_source(reference, runs)
    if source.kind == "gallery":
        raise InputError(
            f"{source.path} is a gallery, which predicts by its images.",
            hint=f"Name what embeds its images: {source.parts[0].path}",
        )
    return source


def gallery_source(gallery: GalleryDir, runs: Path) -> Source:
    """A gallery and what embeds its images, where it was or beside the gallery.

    Raises:
        DataError: gallery.json is damaged, or what embeds is not there any more.
    """
    named = Path(gallery.record().source)
    place = next((p for p in (named, gallery.path.parent / named.name) if p.is_dir()), None)
    if place is None:
        raise DataError(
            f"{named}, whose network {gallery.path} needs, is not there any more.",
            hint="Restore it, or build the gallery anew with another run.",
        )
    return Source(gallery.path, "gallery", (find_source(place.absolute(), runs),))


def study_source(study: Study) -> Source:
    """The runs of a study that predict together.

    Raises:
        DataError: not all of them are trained, or the runs of such a study do not predict together.
    """
    record = study.record()
    if record.kind == "rounds":
        rounds = RoundStudy(study)
        finished = rounds.finished
        parts = [study_source(rounds.best.study)] if finished else []
    elif record.kind == "folds":
        folds = FoldStudy(study)
        finished, parts = folds.finished, [*map(run_source, folds.members())]
    elif record.kind == "seeds":
        finished, parts = study.comparison.is_file(), [*map(run_source, seed_runs(study))]
    elif record.kind == "factors":
        factors = FactorStudy(study)
        finished = factors.finished
        parts = [_factor_source(factors, name) for name in factors.settings().parts] if finished else []
    else:
        raise DataError(
            f"{study.path} is a search: its trials do not predict together.",
            hint=f"Train its winner: sslmask train --config {study.path}/best.yaml. Or name a trial: "
            f"--run {study.path}/trials/000",
        )
    if not finished:
        raise DataError(
            f"{study.path} is not finished: not all of its runs are trained.",
            hint=f"Finish it: sslmask {record.verb} --resume {study.path}",
        )
    return Source(study.path, record.kind, tuple(parts))


def refit_source(factors: FactorStudy) -> Source:
    """The models on all labels of a study of factor models. Raises DataError when they are not all trained."""
    asked, runs = factors.settings(), list[RunDir]()
    if factors.finished and asked.folds is not None:
        runs = [FoldStudy(Study(factors.folder(name))).refit for name in asked.parts]
    if not runs or not all(run.best.is_file() and run.status().status == "finished" for run in runs):
        raise DataError(
            f"{factors.path} has no models on all labels yet.", hint=f"Train them: {factors.study.how_to_go_on} --refit"
        )
    return Source(factors.path / REFIT, "factors", tuple(map(run_source, runs)))


def _factor_source(factors: FactorStudy, name: str) -> Source:
    folder = factors.folder(name)
    return run_source(RunDir(folder)) if factors.settings().folds is None else study_source(Study(folder))


def list_sources(runs: Path) -> Iterator[Source]:
    """Every run with a checkpoint in a folder that is part of no study, and every finished study that predicts."""
    alone = (run for run in list_runs(runs) if not Study(run.path.parent).record_file.is_file())
    yield from (run_source(run) for run in alone if run.best.is_file())
    for study in list_studies(runs):
        try:
            yield study_source(study)
        except DataError:
            continue
