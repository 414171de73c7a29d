"""The run folder: the only file that knows file names inside a run.

runs/train-001/
├── run.json             verb, status, steps done, best scores
├── config.yaml          the whole resolved configuration
├── environment.json     code version, packages, machine, command line
├── manifest.csv         every image with its group, side, labels and SHA-256
├── left_out.csv         labeled images that are not used, and why; only where there are some
├── corrections.csv      data.corrections as it was when the run began
├── unlabeled.csv        uda: every unlabeled image with its SHA-256, and why one was left out
├── data_cards/          a card a pool, and findings.json: what the leakage guard compared and found
├── pseudo_labels.csv    a round: the pseudo-labels it trains on; pool.parquet, selection.json: where they come from
├── metrics.jsonl        a line every few steps and every evaluation
├── checkpoints/         best.safetensors (to predict), last.state (to continue), seen-*.npz (what was trained on);
│                        with train.keep=all: kept/<step>-<weights>.*, of every evaluation
├── validation.parquet   what the best weights say of every validation image
├── reference.parquet    the same of a probe, which the run should beat; reference.json: how it was made
├── plots/               curves.svg, confusion.svg; uda: consistency.svg
├── trackers/            what TensorBoard and others keep (train.trackers)
├── rounds/              pseudo: its rounds, a study of runs
├── predictions/<pool>/  predictions.csv, probabilities.parquet, predictions.provenance.json
├── report.html          all of it in pictures, once asked for; review.html: the labels to look at
└── run_card.md          all of it in words
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ssl_mask.config import RunConfig, read_config_file, validate
from ssl_mask.errors import DataError
from ssl_mask.files import holding, write_json
from ssl_mask.runs.base import read_record, update_record
from ssl_mask.runs.environment import EnvironmentRecord
from ssl_mask.runs.metrics import append_metrics, cpu_seconds, forget_metrics_after, read_metrics
from ssl_mask.runs.records import AuditRecord, BestScore, DataRecord, RunStatus
from ssl_mask.runs.reference import ReferenceRecord
from ssl_mask.runs.selected import SelectionRecord


class KeptFiles(NamedTuple):
    """What is kept of one evaluation (`train.keep=all`)."""

    weights: Path
    validation: Path
    """What they predict of the validation images."""


@dataclass(frozen=True)
class RunDir:
    """Paths inside one run."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def status_file(self) -> Path:
        return self.path / "run.json"

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.csv"

    @property
    def left_out(self) -> Path:
        return self.path / "left_out.csv"

    @property
    def corrections(self) -> Path:
        """What `data.corrections` said, with who said it and why."""
        return self.path / "corrections.csv"

    @property
    def unlabeled(self) -> Path:
        return self.path / "unlabeled.csv"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def all_kept(self) -> Path:
        """With `train.keep=all`: what was kept of every evaluation."""
        return self.path / "checkpoints" / "kept"

    def kept(self, step: int, weights: str) -> KeptFiles:
        """What was kept of one evaluation."""
        name = self.all_kept / f"{step:06d}-{weights}"
        return KeptFiles(name.with_suffix(".safetensors"), name.with_suffix(".parquet"))

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last.state"

    def seen(self, role: str) -> Path:
        return self.path / "checkpoints" / f"seen-{role}.npz"

    @property
    def data_cards(self) -> Path:
        return self.path / "data_cards"

    @property
    def findings(self) -> Path:
        return self.path / "data_cards" / "findings.json"

    @property
    def validation(self) -> Path:
        return self.path / "validation.parquet"

    @property
    def reference(self) -> Path:
        return self.path / "reference.parquet"

    @property
    def reference_file(self) -> Path:
        """Written after `reference`."""
        return self.path / "reference.json"

    @property
    def pseudo_labels(self) -> Path:
        return self.path / "pseudo_labels.csv"

    @property
    def pool(self) -> Path:
        return self.path / "pool.parquet"

    @property
    def selection(self) -> Path:
        return self.path / "selection.json"

    @property
    def rounds(self) -> Path:
        """Of `sslmask pseudo`: the study of its rounds."""
        return self.path / "rounds"

    def round(self, number: int) -> RunDir:
        return RunDir(self.rounds / round_name(number))

    @property
    def audit(self) -> Path:
        return self.path / "audit.json"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def trackers(self) -> Path:
        """What trackers write (`train.trackers`)."""
        return self.path / "trackers"

    @property
    def card(self) -> Path:
        return self.path / "run_card.md"

    def predictions(self, pool: str) -> Path:
        return self.path / "predictions" / pool

    def status(self) -> RunStatus:
        """The content of run.json.

        Raises:
            DataError: missing or damaged.
        """
        if not self.status_file.is_file():
            raise DataError(f"{self.path} is not a run: it has no run.json.", hint="List the runs: sslmask runs")
        hint = "Restore it from a copy, or delete this folder and train again."
        return read_record(self.status_file, RunStatus, hint=hint)

    def update(self, **changes: Any) -> None:
        """Change run.json, atomically. The new record is checked before it is written."""
        changes["updated"] = time.time()
        if self.status_file.exists():
            record = update_record(self.status(), changes)
        else:
            record = RunStatus.model_validate(changes)
        write_json(self.status_file, record.to_json())

    def scores(self) -> BestScore:
        """Validation scores of the best weights.

        Raises:
            DataError: nothing has been evaluated yet.
        """
        status = self.status()
        if status.best is None and status.data is not None and not status.data.val_images:
            raise DataError(
                f"{self.path} has no validation of its own.", hint="Take a run that has one (data.validation fold)."
            )
        if status.best is None:
            raise DataError(f"{self.path} has not been evaluated yet.", hint=f"Resume it: --resume {self.path}")
        return status.best

    def data(self) -> DataRecord:
        """The data that the run was trained and validated on.

        Raises:
            DataError: the run stopped before its data was recorded.
        """
        status = self.status()
        if status.data is None:
            raise DataError(f"{self.status_file} does not say what the run was trained on.", hint="Train again.")
        return status.data

    def selection_record(self) -> SelectionRecord:
        """The content of selection.json. Raises DataError when it is missing or damaged."""
        hint = f"Delete {self.path} and resume its study: the round is selected again."
        return read_record(self.selection, SelectionRecord, hint=hint)

    def reference_record(self) -> ReferenceRecord | None:
        """The content of reference.json; None where the run has no reference. Raises DataError when it is damaged."""
        hint = f"Delete {self.reference_file}: the run is then shown without its reference."
        return read_record(self.reference_file, ReferenceRecord, hint=hint) if self.reference_file.exists() else None

    def environment_record(self) -> EnvironmentRecord:
        """The content of environment.json. Raises DataError when it is missing or damaged."""
        return read_record(self.environment, EnvironmentRecord, hint="Restore it from a copy, or train again.")

    def audit_record(self) -> AuditRecord:
        """Of a round: the content of audit.json. Raises DataError when it is missing or damaged."""
        return read_record(self.audit, AuditRecord, hint=f"Delete {self.audit}: it is then left out.")

    def config(self) -> RunConfig:
        return validate(read_config_file(self.config_file), self.config_file)

    def trained_config(self) -> RunConfig:
        """The configuration with the folder of the data set as it was found then.

        A relative one names another folder for who works in another folder; it is kept where the old one is gone.
        """
        config, status = self.config(), self.status()
        if status.data is None or not Path(status.data.root).is_dir():
            return config
        return config.model_copy(update={"data": config.data.model_copy(update={"root": Path(status.data.root)})})

    def log(self, **record: Any) -> None:
        """Append a line to metrics.jsonl."""
        append_metrics(self.metrics, record)

    def records(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last one that a kill has torn is left out.

        Raises:
            DataError: damage elsewhere; names the line.
        """
        return read_metrics(self.metrics) if self.metrics.exists() else []

    def cpu_seconds(self) -> float:
        """CPU time up to the last evaluation, without validation up to the end; of rounds that of all of them.

        Raises:
            DataError: none is logged, or a line is damaged.
        """
        status = self.status()
        if status.cpu_seconds is not None:
            return status.cpu_seconds
        if not self.metrics.exists() and status.rounds:
            return sum(r.cpu_seconds for r in status.rounds)
        return cpu_seconds(self.metrics)

    def forget_after(self, step: int) -> None:
        """Drop records later than `step`: a resumed run will write them again."""
        forget_metrics_after(self.metrics, step)
        for file in self.all_kept.glob("[0-9]*-*"):
            if int(file.name.split("-")[0]) > step:
                file.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. Raises DataError when another one works on it."""
        with holding(self.path / ".lock") as free:
            if not free:
                raise DataError(f"Another process is working on {self.path}.", hint="Wait for it, or stop it.")
            yield


def round_name(number: int) -> str:
    return f"{number:02d}"
