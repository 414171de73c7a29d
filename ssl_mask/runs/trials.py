"""A study of trials: a search over settings, and what its winner is worth.

runs/tune-001/                 sslmask tune --space space.yaml
├── study.json                 the search: its space, its size, the default configuration
├── journal.log                Optuna's journal: what was asked, and what came out of it
├── trials/000/, 001/, …       a study of folds each, with trial.json once it has ended; 000 is the default
├── confirm/split-3/default/   the default and the winner on other splits, a study of folds each
├── verdict.json               written last: gain in the search, confirmed gain, recommended or not
├── best.yaml                  the winner, for `--config`
└── trials.csv, tune_card.md, plots/
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt

from ssl_mask.files import holding, storage
from ssl_mask.runs.base import Count, Finite, NotNegative, Record, Share, read_record
from ssl_mask.runs.comparison import IntervalRecord
from ssl_mask.runs.folds import FoldStudy
from ssl_mask.runs.study import Study, StudyFiles

Metric = Literal["macro_f1", "nll"]
DEFAULT = 0
"""Number of the trial that is the default configuration."""


class TuneSettings(Record):
    """What a search is made of, as study.json keeps it."""

    space: dict[str, Any]
    """Key of a setting -> a list of its values, or `low`, `high`, `log`, `step`; as the file has it."""
    space_file: str
    trials: PositiveInt
    folds: int = Field(ge=2)
    repeats: PositiveInt = 1
    metric: Metric = "macro_f1"
    confirm: Count = 2
    """Other splits on which the winner is compared with the default."""


class TrialRecord(Record):
    """trial.json: a trial that has ended."""

    number: Count
    params: dict[str, Any]
    """Key of a setting -> its value; of the default: none."""
    state: Literal["finished", "pruned", "failed"]
    reason: str = ""
    """Why it failed or was pruned."""
    curve: tuple[Finite, ...] = ()
    """The metric after one fold, two folds, …: the best of the mean of their validation curves."""
    macro_f1: IntervalRecord | None = None
    """Out-of-fold, pooled, at the common step."""
    nll: NotNegative | None = None
    step: Count | None = None
    weights: Literal["live", "ema"] | None = None
    cpu_seconds: NotNegative = 0.0

    def value(self, metric: Metric) -> float:
        """What the search looks at, of a finished trial."""
        assert self.macro_f1 is not None and self.nll is not None
        return self.macro_f1.value if metric == "macro_f1" else self.nll


class SplitRecord(Record):
    """The default and the winner on another split."""

    split_seed: Count
    default: Share
    """Macro-F1, out-of-fold."""
    winner: Share


class VerdictRecord(Record):
    """verdict.json."""

    winner: Count
    params: dict[str, Any]
    search_gain: Finite | None
    """Macro-F1 of the winner less that of the default, on the folds of the search. None: the default failed."""
    confirmed: IntervalRecord | None = None
    """The same on other splits, with a 95 % interval, paired, by group. None: not compared."""
    splits: tuple[SplitRecord, ...] = ()
    images: Count = 0
    groups: Count = 0
    grouped: bool = True
    recommended: bool
    reason: str = ""
    """Why it was not compared."""


@dataclass(frozen=True)
class TrialStudy(StudyFiles):
    """A study whose members are studies of folds that differ in the settings of a search."""

    @property
    def journal(self) -> Path:
        return self.path / "journal.log"

    def trial(self, number: int) -> FoldStudy:
        return FoldStudy(Study(self.path / "trials" / f"{number:03d}"))

    def trial_file(self, number: int) -> Path:
        return self.trial(number).path / "trial.json"

    def confirmation(self, split_seed: int, number: int) -> FoldStudy:
        """A trial on another split."""
        name = "default" if number == DEFAULT else f"trial-{number:03d}"
        return FoldStudy(Study(self.path / "confirm" / f"split-{split_seed}" / name))

    @property
    def verdict_file(self) -> Path:
        return self.path / "verdict.json"

    @property
    def best(self) -> Path:
        return self.path / "best.yaml"

    @property
    def table(self) -> Path:
        return self.path / "trials.csv"

    @property
    def card(self) -> Path:
        return self.path / "tune_card.md"

    def settings(self) -> TuneSettings:
        """Raises DataError when study.json is missing or damaged."""
        return self.study.settings_as(TuneSettings)

    def record(self, number: int) -> TrialRecord:
        """How a trial ended. Raises DataError when its trial.json is missing or damaged."""
        return read_record(self.trial_file(number), TrialRecord, hint="Restore it from a copy, or begin a new search.")

    def verdict(self) -> VerdictRecord:
        """The content of verdict.json. Raises DataError when it is missing or damaged."""
        hint = f"Make it anew: sslmask tune --resume {self.path}"
        return read_record(self.verdict_file, VerdictRecord, hint=hint)

    def holding(self, member: FoldStudy) -> AbstractContextManager[bool]:
        """Hold a trial for this process; yields whether no other one holds it. A killed process holds nothing."""
        lock = member.path.with_name(f".{member.path.name}.lock")
        with storage(lock):
            lock.parent.mkdir(parents=True, exist_ok=True)
        return holding(lock)

    def is_held(self, number: int) -> bool:
        """Whether some process works on a trial."""
        with self.holding(self.trial(number)) as free:
            return not free
