"""What can predict: a run, or a study whose runs predict together. Whatever takes `--run` looks it up here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_mask.errors import DataError
from ssl_mask.runs.folds import FoldStudy
from ssl_mask.runs.run import RunDir, find_run
from ssl_mask.runs.study import find_study


@dataclass(frozen=True)
class Source:
    """A run, or a finished study of folds."""

    path: Path
    """Of the run or the study; predictions go below it."""
    members: tuple[RunDir, ...]
    """The runs whose weights predict; the mean of their calibrated probabilities counts."""
    table: Path
    """Predictions of labeled images by models that have not seen their groups: validation of a run, or out-of-fold."""

    @property
    def name(self) -> str:
        return self.path.name


def find_source(reference: str | Path, runs: Path) -> Source:
    """A run or a study by path, by name in `runs`, or `latest`.

    Raises:
        DataError: no such run, or a study that is not finished.
    """
    found = None if str(reference) == "latest" else find_study(reference, runs)
    if found is not None and found.record().kind == "folds":
        folds = FoldStudy(found)
        if not folds.finished:
            verb = found.record().verb
            raise DataError(
                f"{folds.path} is not finished: not all of its folds are trained.",
                hint=f"Finish it: sslmask {verb} --resume {folds.path}",
            )
        return Source(folds.path, folds.members(), folds.oof)
    run = find_run(reference, runs)
    return Source(run.path, (run,), run.validation)
