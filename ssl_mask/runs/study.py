"""A study: a folder of named runs with one configuration each, resumed as a whole.

runs/study-001/          sslmask uda --baseline --seeds 0,1
├── study.json           the verb and the kind, its settings, the configuration
├── seed-0/, seed-0-labels-only/, …
└── comparison.json, comparison.md

runs/pseudo-001/         sslmask pseudo: itself a run, whose weights are those of its best round
├── run.json, config.yaml, checkpoints/best.safetensors, …
├── plots/rounds.svg
└── rounds/              its study
    ├── study.json
    └── 00/, 01/, …      an ordinary run each, with the pseudo-labels that it trains on

What is on the disk decides what is done next: a finished run is never redone, a begun one is resumed, and what was
killed before its first save is made anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ssl_mask.config import RunConfig, merge, validate
from ssl_mask.errors import DataError, InputError, Interrupted
from ssl_mask.files import storage, write_json
from ssl_mask.runs.base import AnyRecord, Record, parse_record, read_record
from ssl_mask.runs.run import RunDir

State = Literal["new", "begun", "finished"]
Kind = Literal["seeds", "folds", "factors", "rounds", "trials"]
"""What the runs of a study differ in."""
Train = Callable[[RunConfig, Path | None], object]
"""Trains a run of this configuration; with a folder, continues the run in it."""


class StudyRecord(Record):
    """study.json."""

    verb: str
    """`sslmask <verb> --resume` continues it."""
    kind: Kind
    settings: dict[str, Any]
    """Of the verb, such as the seeds."""
    config: dict[str, Any]
    """What all runs have in common."""


@dataclass(frozen=True)
class Study:
    """Several runs in one folder."""

    path: Path

    @property
    def record_file(self) -> Path:
        return self.path / "study.json"

    @property
    def home(self) -> Path:
        """What a user calls it: the folder, or the run that it is a part of."""
        return self.path.parent if self.path.name == "rounds" else self.path

    @property
    def comparison(self) -> Path:
        return self.path / "comparison.json"

    @property
    def card(self) -> Path:
        return self.path / "comparison.md"

    def record(self) -> StudyRecord:
        """The content of study.json. Raises DataError when it is missing or damaged."""
        return read_record(self.record_file, StudyRecord, hint="Restore it from a copy, or begin a new study.")

    def settings_as(self, kind: type[AnyRecord]) -> AnyRecord:
        """The settings in study.json. Raises DataError when it is missing or damaged."""
        hint = "Restore it from a copy, or begin a new study."
        where, settings = f"{self.record_file}: settings", self.record().settings
        return parse_record(kind, settings, where, error=DataError, hint=hint)

    def run(self, name: str) -> RunDir:
        return RunDir(self.path / name)

    def member(self, config: RunConfig, name: str, **changes: Any) -> RunConfig:
        """The configuration of the run `name`: that of the study, with what `changes` says merged into it."""
        tree = merge(config.model_dump(mode="json"), changes)
        return validate({**tree, "runs": str(self.path), "name": name})

    def state(self, name: str) -> State:
        """How far a run is. One without a saved state is `new`: nothing of it can be continued."""
        run = self.run(name)
        if not run.status_file.is_file():
            return "new"
        if run.status().status == "finished" and run.card.is_file():
            return "finished"
        return "begun" if run.last.is_file() else "new"

    def settle(self, name: str) -> State:
        """The state of a run, once the remains of a training that was killed before its first save are removed."""
        state = self.state(name)
        if state == "new" and self.run(name).path.is_dir():
            clear(self.run(name))
        return state

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the study for this process. Raises DataError when another one works on it."""
        with RunDir(self.home).locked():
            yield


@dataclass(frozen=True)
class StudyFiles:
    """What every study has beside its runs. Each kind adds its own."""

    study: Study

    @property
    def path(self) -> Path:
        return self.study.path

    @property
    def card(self) -> Path:
        return self.path / "study_card.md"

    @property
    def plots(self) -> Path:
        return self.path / "plots"


def create_study(path: Path, verb: str, kind: Kind, config: RunConfig, settings: Mapping[str, Any]) -> Study:
    """A fresh study in a folder."""
    study = Study(path)
    record = StudyRecord(verb=verb, kind=kind, settings=dict(settings), config=config.model_dump(mode="json"))
    write_json(study.record_file, record.to_json())
    return study


def find_study(reference: str | Path, runs: Path) -> Study | None:
    """A study by path or by name in `runs`, or None where it is none."""
    for path in (Path(reference), runs / reference):
        run = RunDir(path)
        study = Study(run.rounds if run.status_file.is_file() else path)
        if study.record_file.is_file():
            return study
    return None


def list_studies(runs: Path) -> list[Study]:
    """The studies in a folder, by name. That of the rounds of a run is not among them: the run stands for it."""
    return [Study(record.parent) for record in sorted(runs.glob("[!.]*/study.json"))]


def resumed_study(reference: str | Path, runs: Path, verb: str) -> Study:
    """The study that a verb is to continue.

    Raises:
        InputError: it is no study, or one of another verb.
    """
    found = find_study(reference, runs)
    if found is None:
        raise InputError(f"{reference} is not a study.", hint="Resume a single run with its own verb and no --seeds.")
    made_by = found.record().verb
    if made_by != verb:
        hint = f"Continue with: sslmask {made_by} --resume {reference}"
        raise InputError(f"{reference} is a study that sslmask {made_by} made.", hint=hint)
    return found


def train_members(
    study: Study, members: Iterable[RunConfig], train: Train, decide: Callable[[Callable[[], State]], State]
) -> None:
    """Train what is not finished of a study, in the order of its members.

    Args:
        members: made by `study.member`. A generator may make one after another: it goes on when a run is finished.
        train: called for each run that is new, or begun (then with its folder).
        decide: gives what the first process finds on the disk to all: each would look at another moment.

    Raises:
        Interrupted: finished runs and the state of the begun one are saved; says how to continue.
    """
    try:
        for config in members:
            name = str(config.name)
            state = decide(partial(study.settle, name))
            if state != "finished":
                train(config, study.run(name).path if state == "begun" else None)
    except (Interrupted, KeyboardInterrupt) as stopped:
        hint = f"Continue with: sslmask {study.record().verb} --resume {study.home}"
        if isinstance(stopped, Interrupted):
            raise Interrupted(stopped.problem, signal_number=stopped.exit_code - 128, hint=hint) from None
        raise Interrupted.by(stopped, "finished runs are saved.", hint=hint) from None


def clear(run: RunDir) -> None:
    """Remove what there is of a training, but not its selected pseudo-labels.

    The status goes first: a folder without it is no run.
    """
    with storage(run.path):
        run.status_file.unlink(missing_ok=True)
        for path in sorted(run.path.iterdir()):
            if path not in {run.pseudo_labels, run.pool, run.selection}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not any(run.path.iterdir()):
            run.path.rmdir()
