"""What all rounds of pseudo-labels by folds have in common: how each fold splits the data, its teachers, the pool."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from accelerate import Accelerator

from ssl_mask.config import DataConfig, RunConfig
from ssl_mask.console import Console
from ssl_mask.data.digests import digest_files
from ssl_mask.data.image_set import cache_folder
from ssl_mask.data.load import read_manifest
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.unlabeled import unlabeled_rows
from ssl_mask.guard.gate import run_gate
from ssl_mask.pseudo_labeling.honest import has_validation, honest_models, named_models
from ssl_mask.runs.folds import FoldsSettings
from ssl_mask.runs.sources import Source, find_source


def called(repeat: int, fold: int) -> str:
    """A fold in messages."""
    return f"fold {fold}" + (f" of repeat {repeat}" if repeat else "")


@dataclass(frozen=True)
class Setting:
    """What every round needs: read and guarded once, and only when a round needs it."""

    config: RunConfig
    asked: FoldsSettings
    accelerator: Accelerator
    console: Console

    @property
    def folds(self) -> list[tuple[int, int]]:
        """(repeat, fold) of each student."""
        return [(repeat, fold) for repeat in range(self.asked.repeats) for fold in range(self.asked.folds)]

    def split(self, repeat: int, fold: int) -> DataConfig:
        own = {"folds": self.asked.folds, "fold": fold, "split_seed": self.config.data.split_seed + repeat}
        return self.config.data.model_copy(update=own)

    @cached_property
    def manifests(self) -> dict[tuple[int, int], Manifest]:
        """The data set as each student's fold splits it."""
        return {fold: read_manifest(self.split(*fold), Console(quiet=True)) for fold in self.folds}

    @cached_property
    def labeled(self) -> Manifest:
        """All labeled rows, with digests."""
        rows = next(iter(self.manifests.values())).where("train", "val")
        return rows.with_digests(digest_files(rows.files, cache_folder(self.config.data, len(rows), 1)))

    def val(self, repeat: int, fold: int) -> Manifest:
        """The validation rows of a student, with digests."""
        paths = {row.path for row in self.manifests[repeat, fold].where("val").rows}
        return self.labeled.with_rows(row for row in self.labeled.rows if row.path in paths)

    @cached_property
    def named(self) -> dict[tuple[int, int], tuple[Source, ...]]:
        """Of each student the named teachers that have not seen its fold; of none where none are named.

        Raises:
            DataError: no such run, or one that is not finished.
            OverlapError: each of them has seen a fold.
        """
        if not self.config.pseudo.teachers:
            return dict.fromkeys(self.folds, ())
        models = named_models(self.config.pseudo.teachers, self.config.runs, self.labeled.schema)
        said = self.console if self.config.guard.leaked else Console(quiet=True)
        return {
            fold: honest_models(models, self.val(*fold), said, leaked=self.config.guard.leaked, student=called(*fold))
            for fold in self.folds
        }

    @property
    def round_zero(self) -> str | None:
        """The only teacher, if it is a study of these folds: its score compares with those of the rounds."""
        if len(self.config.pseudo.teachers) != 1:
            return None
        source = find_source(self.config.pseudo.teachers[0], self.config.runs)
        same = (
            source.kind == "folds"
            and len(source.members) == len(self.folds)
            and all(has_validation(run, self.val(*fold)) for run, fold in zip(source.members, self.folds, strict=True))
        )
        return str(source.path) if same else None

    @cached_property
    def overlapping(self) -> frozenset[str]:
        """Digests of the unlabeled images that are copies of labeled or test images: all folds have one pool.

        Raises:
            GuardError: there are some, and nobody said what to do about it.
        """
        manifest = next(iter(self.manifests.values()))
        pool = unlabeled_rows(self.config.data, manifest)
        named = {"val": manifest.where("train", "val"), "unlabeled": pool}
        return run_gate(self.config, manifest, named, self.accelerator, self.console).dropped("unlabeled")
