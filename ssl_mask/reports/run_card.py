"""The run card: one page that says what a run is, on what, how good, and what has not been checked."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ssl_mask.data.predictions import PredictionTable, read_predictions
from ssl_mask.evaluation.metrics import bootstrap, confusion, f1_per_class
from ssl_mask.reports.comparison import comparison_text
from ssl_mask.reports.round_table import round_markdown
from ssl_mask.runs.records import BestScore, RunStatus
from ssl_mask.runs.run import RunDir

SAID = {
    "clean": "No image or group that this run learned from stands in its validation or test images.",
    "not-checked": "Not everything that could leak has been looked at, so no score of this run is known to be clean.",
    "transductive-val": "**This run trained on validation images** (without their labels): its validation score is no "
    "measure of new images.",
    "transductive-test": "**This run trained on test images** (without their labels): a test score of it is no measure "
    "of new images.",
    "leaked-declared": "**This run trained on images that are also in its evaluation pools, with labels**: its scores "
    "measure memory.",
}
"""One sentence a status."""


def run_card(run: RunDir) -> str:
    """Markdown, from the files in the run folder."""
    status = run.status()
    environment = json.loads(run.environment.read_text(encoding="utf-8"))
    table = read_predictions(run.validation)
    data, best = run.data(), run.scores()
    parts = [
        f"# Run {run.name}",
        *_leakage(run, status),
        "## Score",
        _score(best, table, grouped=data.grouped),
        "## Each class (validation)",
        _per_class(table),
        *_rounds(status),
        *_unlabeled(status),
        "## Data",
        _table(
            ("what", "value"),
            [
                ("layout", data.layout),
                ("train", f"{data.train_images} images, {data.train_groups} groups"),
                ("validation", f"{data.val_images} images, {data.val_groups} groups"),
                ("groups", "given by the source" if data.grouped else "NOT CHECKED: the source names none"),
                ("content hash", f"`{data.content_hash}`"),
            ],
        ),
        "## Made with",
        _table(
            ("what", "value"),
            [
                ("code", f"sslmask {environment['sslmask']}"),
                ("command", f"`{' '.join(environment['command'])}`"),
                ("machine", f"{environment['processes']} x {environment['device']}, {environment['precision']}"),
                ("steps", f"{status.step} of {status.steps}, {status.seconds:.0f} s"),
                ("packages", ", ".join(f"{k} {v}" for k, v in environment["packages"].items())),
            ],
        ),
        "The whole configuration is in `config.yaml`, every image with its SHA-256 in `manifest.csv`.",
    ]
    return "\n\n".join(parts) + "\n"


def _leakage(run: RunDir, status: RunStatus) -> list[str]:
    """The mark in one sentence, what was declared, and what was not looked at."""
    parts = [f"Leakage: **{status.leakage}**. {SAID[status.leakage]}"]
    if status.declaration is not None:
        parts.append(f"Declared: {status.declaration.reason} Allowed by: {status.declaration.allowed_by}")
    if run.findings.is_file():
        found = json.loads(run.findings.read_text(encoding="utf-8"))
        parts += [f"- {text}" for text in found["verdict"]["warnings"]]
        parts.append("What was compared, and how: `data_cards/`.")
    if not status.seen:
        unknown = "unknown" in status.ancestors
        why = "nobody knows which run made its pseudo-labels" if unknown else "this run or one that it builds on"
        parts.append(f"What it has seen is not kept: {why}" + ("." if unknown else " was trained with the guard off."))
    return parts


def _rounds(status: RunStatus) -> list[str]:
    """What pseudo-labels did, round by round."""
    if not status.rounds:
        return []
    best, first = status.best_round, status.rounds[0].taught_by
    verdict = (
        f"**No round of pseudo-labels beat round 0** ({first}) on validation."
        if best == 0
        else f"These are the weights of round {best}, the best on validation; round 0 knew {first}."
    )
    return ["## Rounds of pseudo-labels", verdict, round_markdown(status.rounds)]


def _unlabeled(status: RunStatus) -> list[str]:
    """What the unlabeled images were, and what they were worth."""
    pool = status.data.unlabeled if status.data is not None else None
    if pool is None or status.rounds is not None:
        return []
    used = f"{pool.images} unlabeled images of {', '.join(pool.sources)} ({pool.left_out} left out)."
    if status.comparison is not None:
        return ["## What the unlabeled images were worth", used, comparison_text(status.comparison)]
    missing = "**No labels-only twin was trained**: nothing here shows that they helped (`sslmask uda --baseline`)."
    return ["## What the unlabeled images were worth", f"{used} {missing}"]


def _score(best: BestScore, table: PredictionTable, *, grouped: bool) -> str:
    intervals = bootstrap(table.true, table.predicted, table.group, len(table.classes))
    by = "group" if grouped else "image (no groups: too narrow)"
    rows = [(k.replace("_", "-"), f"{i.value:.4f}", f"{i.low:.3f} to {i.high:.3f}") for k, i in intervals.items()]
    rows += [(f"accuracy, {head}", f"{value:.4f}", "") for head, value in best.heads.items()]
    rows.append(("calibration error (raw)", f"{best.ece:.3f} ({best.ece_raw:.3f})", ""))
    which = f"{best.weights} weights of step {best.step}, chosen by this very score, so it flatters a little"
    return _table(("validation", "value", f"95 % interval by {by}"), rows) + f"\n\nBest of the run: {which}."


def _per_class(table: PredictionTable) -> str:
    matrix = confusion(table.true, table.predicted, len(table.classes))
    support = matrix.sum(axis=1)
    rows = [(n, f"{f:.3f}", str(int(s))) for n, f, s in zip(table.classes, f1_per_class(matrix), support, strict=True)]
    return _table(("class", "F1", "images"), rows)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
