"""What all rounds of pseudo-labels of a run have in common: the data set, the teachers, the pool."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from accelerate import Accelerator

from ssl_mask.config import RunConfig
from ssl_mask.console import Console
from ssl_mask.data.digests import digest_files
from ssl_mask.data.load import read_manifest
from ssl_mask.data.manifest import Manifest
from ssl_mask.data.unlabeled import unlabeled_rows
from ssl_mask.guard.gate import run_gate
from ssl_mask.pseudo_labeling.honest import has_validation, honest_models, named_models
from ssl_mask.runs.sources import Source


@dataclass(frozen=True)
class Pool:
    """What every round selects from: read and guarded once, and only when a round needs it."""

    config: RunConfig
    accelerator: Accelerator
    console: Console

    @cached_property
    def manifest(self) -> Manifest:
        """The data set, split."""
        return read_manifest(self.config.data, Console(quiet=True))

    def guard(self) -> None:
        """Raises GuardError now instead of before the first round that selects."""
        _ = self.overlapping

    @cached_property
    def val(self) -> Manifest:
        """The validation rows, with digests."""
        val = self.manifest.where("val")
        return val.with_digests(digest_files(val.files, None))

    @cached_property
    def teachers(self) -> tuple[Source, ...]:
        """The models of `pseudo.teachers` that have not learned from validation images; none where none is named.

        Raises:
            DataError: no such run, or one that is not finished.
            OverlapError: each of them has.
        """
        if not self.config.pseudo.teachers:
            return ()
        models = named_models(self.config.pseudo.teachers, self.config.runs, self.manifest.schema)
        return honest_models(models, self.val, self.console, leaked=self.config.guard.leaked)

    @property
    def round_zero(self) -> str | None:
        """The run that serves as round 0: the only teacher, if its score compares with those of the rounds."""
        alone = self.teachers[0] if len(self.teachers) == 1 and self.teachers[0].kind == "run" else None
        same = alone is not None and has_validation(alone.members[0], self.val)
        return str(alone.path) if alone is not None and same else None

    @cached_property
    def overlapping(self) -> frozenset[str]:
        """Digests of the unlabeled images that must be left out.

        Raises:
            GuardError: the pool overlaps validation or test images, and nobody said what to do about it.
        """
        if self.config.pseudo.from_predictions is not None:
            return frozenset()
        named = {"train": self.manifest.where("train"), "val": self.manifest.where("val")}
        named["unlabeled"] = unlabeled_rows(self.config.data, self.manifest)
        return run_gate(self.config, self.manifest, named, self.accelerator, self.console).dropped("unlabeled")
