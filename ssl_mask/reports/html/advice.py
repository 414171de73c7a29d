"""What to do next, with the command: from the facts of a run alone, the most important first."""

from __future__ import annotations

from typing import NamedTuple

from ssl_mask.evaluation.metrics import Interval
from ssl_mask.guard.status import Mark
from ssl_mask.reports.html.subject import Subject
from ssl_mask.runs.comparison import ReferenceScore
from ssl_mask.runs.records import RunStatus


class Step(NamedTuple):
    """Why, and a command."""

    why: str
    command: str


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
    kind, where = subject.source.kind, subject.source.path
    if mark.status == "not-checked":
        steps.append(Step("Nobody has checked for leakage yet: compare all images before you trust a score.",
                          "sslmask audit"))  # fmt: skip
    elif mark.status in {"leaked-declared", "transductive-val"}:
        steps.append(Step("These scores are not of new images. Train without the shared ones for an honest score.",
                          "sslmask audit --drop-list drop.csv"))  # fmt: skip
    if reference is not None and reference.difference.macro_f1.low <= 0:
        steps.append(Step("Training is not shown to beat a simple probe of the frozen backbone: train less, or use it.",
                          "sslmask train --config probe_laptop"))  # fmt: skip
    if doubts:
        steps.append(Step(f"Look at the labels that the predictions contradict ({doubts}), and correct those that are "
                          "wrong.",
                          f"sslmask review {where}"))  # fmt: skip
    if kind == "run" and f1 is not None:
        steps.append(Step("One validation set is little: let every label be predicted by a model that has not seen it.",
                          "sslmask train --folds 5"))  # fmt: skip
    data = status.data
    if data is not None and data.unlabeled is None and data.pseudo is None:
        steps.append(Step("Unlabeled images may help. The baseline shows whether they do.",
                          "sslmask uda --unlabeled FOLDER --baseline"))  # fmt: skip
    steps.append(Step("Predict the test images.", f"sslmask predict --run {where}"))
    return steps[:5]
