"""What to do next, with the command: from the facts of a run alone, the most important first."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from ssl_mask.config import DataConfig, nest, parse_assignments
from ssl_mask.errors import ConfigError
from ssl_mask.evaluation.metrics import Interval
from ssl_mask.guard.status import Mark
from ssl_mask.reports.html.subject import Subject
from ssl_mask.runs.comparison import ReferenceScore
from ssl_mask.runs.records import RunStatus


class Step(NamedTuple):
    """Why, and a command."""

    why: str
    command: str


READING = (
    "layout", "options", "target", "folds", "split_seed", "given_split", "min_groups", "corrections", "extra_labels",
    "on_bad", "outside_root", "max_pixels", "depth", "resize",
)  # fmt: skip
"""Settings without which a command would read other labels, another split, or nothing."""


def data_flags(data: DataConfig) -> str:
    """With what a command reads a data set in the same way, such as `--data faces --set data.layout=table`."""
    here, usual = data.model_dump(mode="json"), DataConfig().model_dump(mode="json")
    settings = [_assignment(f"data.{key}", here[key]) for key in READING if here[key] != usual[key]]
    return " ".join(["--data", shlex.quote(str(data.root)), *(f"--set {shlex.quote(s)}" for s in settings)])


def train_corrected(data: DataConfig) -> str:
    """The command that trains with the file that the review page saves, in the place of an earlier one."""
    return f"sslmask train {data_flags(data.model_copy(update={'corrections': Path('corrections.csv')}))}"


def _assignment(key: str, value: Any) -> str:
    """For `--set`; in quotes only where YAML would take the words for something else."""
    plain = f"{key}={value}"
    try:
        understood = isinstance(value, str) and parse_assignments([plain]) == nest(key, value)
    except ConfigError:
        understood = False
    return plain if understood else f"{key}={json.dumps(value, ensure_ascii=False)}"


def next_steps(
    subject: Subject, status: RunStatus, mark: Mark, f1: Interval | None, reference: ReferenceScore | None, doubts: int
) -> list[Step]:
    """At most five steps.

    Args:
        status: of the first run.
        mark: the worst of all runs.
        f1: macro-F1 of the predictions; None: there are none.
        doubts: labels that the predictions contradict.
    """
    steps: list[Step] = []
    kind, where = subject.source.kind, shlex.quote(str(subject.source.path))
    data = data_flags(subject.reading)
    if mark.status == "not-checked":
        steps.append(Step("Nobody has checked for leakage yet: compare all images before you trust a score.",
                          f"sslmask audit {data}"))  # fmt: skip
    elif mark.status in {"leaked-declared", "transductive-val"}:
        steps.append(Step("These scores are not of new images. Train without the shared ones for an honest score.",
                          f"sslmask audit {data} --drop-list drop.csv"))  # fmt: skip
    if reference is not None and reference.difference.macro_f1.low <= 0:
        steps.append(Step("Training is not shown to beat a simple probe of the frozen backbone: train less, or use it.",
                          f"sslmask train --config probe_laptop {data}"))  # fmt: skip
    if doubts:
        steps.append(Step(f"Look at the labels that the predictions contradict ({doubts}), and correct those that are "
                          "wrong.",
                          f"sslmask review {where}"))  # fmt: skip
    if kind == "run" and f1 is not None:
        steps.append(Step("One validation set is little: let every label be predicted by a model that has not seen it.",
                          f"sslmask train {data} --folds 5"))  # fmt: skip
    made_with = status.data
    if made_with is not None and made_with.unlabeled is None and made_with.pseudo is None:
        steps.append(Step("Unlabeled images may help. The baseline shows whether they do.",
                          f"sslmask uda {data} --unlabeled FOLDER --baseline"))  # fmt: skip
    steps.append(Step("Predict the test images.", f"sslmask predict --run {where}"))
    return steps[:5]
