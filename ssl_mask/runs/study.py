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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ssl_mask.config import RunConfig, merge, validate
from ssl_mask.errors import DataError, InputError
from ssl_mask.files import storage, write_json
from ssl_mask.runs.base import AnyRecord, Record, parse_record, read_record
from ssl_mask.runs.create import create_folder
from ssl_mask.runs.run import RunDir

State = Literal["new", "begun", "finished"]
Kind = Literal["seeds", "folds", "factors", "rounds", "trials"]
"""What the runs of a study differ in."""


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

    def change_settings(self, **changes: Any) -> None:
        """Let study.json ask for more than the study began with."""
        record = self.record()
        write_json(self.record_file, {**record.to_json(), "settings": {**record.settings, **changes}})

    @property
    def how_to_go_on(self) -> str:
        """A command."""
        return f"sslmask {self.record().verb} --resume {self.home}"

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


@dataclass(frozen=True)
class OofStudy(StudyFiles):
    """A study whose runs predict every labeled image, out of fold, once all are finished."""

    @property
    def oof(self) -> Path:
        return self.path / "oof.parquet"

    @property
    def record_file(self) -> Path:
        return self.path / "oof.json"

    @property
    def finished(self) -> bool:
        """Whether all runs are trained and what they predict is written."""
        return self.record_file.is_file()


def create_study(path: Path, verb: str, kind: Kind, config: RunConfig, settings: Mapping[str, Any]) -> Study:
    """A fresh study in a folder."""
    study = Study(path)
    record = StudyRecord(verb=verb, kind=kind, settings=dict(settings), config=config.model_dump(mode="json"))
    write_json(study.record_file, record.to_json())
    return study


def begin_study(config: RunConfig, prefix: str, verb: str, kind: Kind, settings: Mapping[str, Any]) -> Study:
    """A fresh study in `config.runs`, named `config.name` or `<prefix>-001`. Raises InputError where it is taken."""

    def build(folder: Path, _: str) -> None:
        create_study(folder, verb, kind, config, settings)

    return Study(create_folder(config, prefix, build))


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
