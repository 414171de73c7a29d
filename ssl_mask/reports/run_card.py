"""The run card: one page that says how good a run is, what that score is worth, and what it was made from.

`python -m ssl_mask.reports.run_card` shows the card of a made-up run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ssl_mask.data.predictions import PredictionTable, read_validation
from ssl_mask.evaluation.metrics import Interval, bootstrap, class_scores
from ssl_mask.guard.report import read_report
from ssl_mask.reports.comparison import comparison_text, verdict_of
from ssl_mask.reports.reference import reference_note, reference_score
from ssl_mask.reports.round_table import round_markdown
from ssl_mask.reports.score_table import class_cells
from ssl_mask.reports.tables import filled, markdown
from ssl_mask.runs.comparison import ReferenceScore
from ssl_mask.runs.environment import EnvironmentRecord
from ssl_mask.runs.records import BestScore, DataRecord, RunStatus
from ssl_mask.runs.run import RunDir
from ssl_mask.text import code, md, md_table

LEAKAGE = {
    "clean": "No photo and no group (person) that this run learned from is also in its validation or test set.",
    "photos-clean": "No photo that this run learned from is also in its validation or test set. Shared persons cannot "
    "be ruled out, because the data do not name them.",
    "not-checked": "Not everything was compared, so leakage cannot be ruled out for any score of this run.",
    "transductive-val": "This run trained on validation images (without their labels), so its validation score says "
    "little about new images.",
    "transductive-test": "This run trained on test images (without their labels), so its test score says little about "
    "new images.",
    "leaked-declared": "This run trained on images that are also in its validation or test set, with their labels: its "
    "scores measure memory.",
}
"""What each status means."""
WEIGHTS = {"live": "live weights", "ema": "averaged weights"}
PRECISION = {"no": "fp32"}
"""Accelerate's names of precisions, where people have another."""


def run_card(run: RunDir) -> str:
    """Markdown, from the files in the run folder.

    Raises:
        DataError: the run has not been evaluated yet, or one of its files is damaged.
    """
    status, data, environment = run.status(), run.data(), run.environment_record()
    parts = [
        f"# Run {md(run.name)}",
        *(_validated(run, status, data) if data.val_images else _not_validated(status)),
        *_rounds(status),
        *_unlabeled(status, data),
        *_leakage(run, status),
        "## Data",
        _facts(_data_facts(status, data)),
        "## Made with",
        _facts(_making(status, environment)),
        "The whole configuration is in `config.yaml`; every image with its SHA-256 is in `manifest.csv`.",
    ]
    return "\n\n".join(parts) + "\n"


def _validated(run: RunDir, status: RunStatus, data: DataRecord) -> list[str]:
    """The scores of a run, and what they are worth."""
    best, table = run.scores(), read_validation(run.validation)
    intervals = bootstrap(table.true, table.predicted, table.group, len(table.classes))
    return [
        *_verdict(status, best, data, intervals, reference_score(run)),
        "## Validation scores",
        _scores(best, intervals, grouped=data.grouped),
        "## Classes (validation)",
        class_section(table, "validation images"),
    ]


def _not_validated(status: RunStatus) -> list[str]:
    """What stands in place of the scores of a run that trained on all labels."""
    notes = [f"**Leakage: {status.leakage}.** {LEAKAGE[status.leakage]}"]
    if (study := status.study) is None:
        return ["**No validation of its own**: all labeled images were trained on, so nothing says how good it is.",
                f"- {notes[0]}"]  # fmt: skip
    f1 = study.macro_f1
    return [
        f"**No validation of its own**: all labeled images were trained on. The expected macro-F1 is the out-of-fold "
        f"score of {code(study.study)}: **{f1.value:.4f}** (95 % interval {f1.low:.3f} to {f1.high:.3f}).",
        f"- {notes[0]}",
    ]


def _verdict(
    status: RunStatus, best: BestScore, data: DataRecord, intervals: Mapping[str, Interval],
    reference: ReferenceScore | None,
) -> list[str]:  # fmt: skip
    """The score, and in a line each what limits its worth."""
    f1, accuracy = intervals["macro_f1"], intervals["accuracy"]
    score = (
        f"**Validation macro-F1 {f1.value:.4f}** (95 % interval {f1.low:.3f} to {f1.high:.3f}), accuracy "
        f"{accuracy.value:.4f}, on {data.val_images} images."
    )
    notes = [
        f"**Leakage: {status.leakage}.** {LEAKAGE[status.leakage]}",
        _selected(status, best),
        *([] if reference is None else [reference_note(reference, "this run")]),
    ]
    if not data.grouped:
        notes.append("**Intervals too narrow**: the data name no groups (persons), so each image counts by itself.")
    if status.rounds is None and data.unlabeled is not None:
        notes.append(f"**Unlabeled images**: {_worth(status)}")
    elif status.rounds is not None:
        notes.append(f"**Pseudo-labels**: {_best_round(status)}")
    return [score, "\n".join(f"- {note}" for note in notes)]


def _selected(status: RunStatus, best: BestScore) -> str:
    """What selected the checkpoint."""
    weights = f"{WEIGHTS[best.weights]} of step {best.step}"
    if status.study is None:
        return (
            f"**Optimistic**: the checkpoint ({weights}) was selected on this score. Only images that were not used "
            "for training or selection give an unbiased one (`sslmask evaluate`)."
        )
    f1 = status.study.macro_f1
    return (
        f"**One fold of {code(status.study.study)}**: the checkpoint ({weights}) was selected for all folds together. "
        f"The score of the study counts: out-of-fold macro-F1 {f1.value:.4f} (95 % interval {f1.low:.3f} to "
        f"{f1.high:.3f})."
    )


def _worth(status: RunStatus) -> str:
    """What is known of the unlabeled images' worth, in one sentence."""
    if status.comparison is not None and status.comparison.difference is not None:
        return verdict_of(status.comparison.difference)[0] + " See below."
    return (
        "No supervised baseline was trained, so nothing shows whether they helped. Train one with "
        "`sslmask uda --baseline`."
    )


def _best_round(status: RunStatus) -> str:
    first = md(status.rounds[0].taught_by or "") if status.rounds else ""
    if status.best_round == 0:
        return f"No round scored higher on validation than round 0 ({first}), whose weights these are."
    best = f"These are the weights of round {status.best_round}, the best on validation."
    if status.rounds and status.rounds[0].teachers is not None:
        return f"{best} Round 1 learned from the {first}."
    return f"{best} Round 0 learned from {first}."


def _scores(best: BestScore, intervals: Mapping[str, Interval], *, grouped: bool) -> str:
    names = {"macro_f1": "macro-F1", "accuracy": "accuracy"}
    rows = [(names[k], f"{i.value:.4f}", f"{i.low:.3f} to {i.high:.3f}") for k, i in intervals.items()]
    if len(best.heads) > 1:
        rows += [(f"accuracy, {head}", f"{value:.4f}", "") for head, value in best.heads.items()]
    rows.append(("calibration error", f"{best.ece:.3f}", ""))
    rows.append(("calibration error without temperatures", f"{best.ece_raw:.3f}", ""))
    return markdown(filled(("score", "value", f"95 % interval by {'group' if grouped else 'image'}"), rows))


def class_section(table: PredictionTable, images: str) -> str:
    """F1 of each class with its interval, as Markdown.

    Args:
        images: what the images of the table are called.
    """
    scores = class_scores(table.true, table.predicted, table.group, table.classes)
    missing = sum(not score.images for score in scores.values())
    note = f"Macro-F1 is the mean over all {len(scores)} classes"
    note += f"; the {missing} without {images} count as 0." if missing else "."
    return f"{markdown(class_cells(scores))}\n\n{note}"


def _rounds(status: RunStatus) -> list[str]:
    return (
        ["## Rounds of pseudo-labels", round_markdown(status.rounds, stopped=status.stopped)] if status.rounds else []
    )


def _unlabeled(status: RunStatus, data: DataRecord) -> list[str]:
    """The comparison with the supervised baseline, where there is one."""
    if data.unlabeled is None or status.rounds is not None or status.comparison is None:
        return []
    return ["## What the unlabeled images were worth", comparison_text(status.comparison)]


def _leakage(run: RunDir, status: RunStatus) -> list[str]:
    """What was declared, what the guard warned of, and what is not known."""
    parts: list[str] = []
    if status.declaration is not None:
        parts.append(f"Declared: {md(status.declaration.reason)} Allowed by: {md(status.declaration.allowed_by)}")
    if run.findings.is_file():
        found = read_report(run.findings)
        if found.verdict.warnings:
            parts.append("\n".join(f"- {md(text)}" for text in found.verdict.warnings))
        parts.append("What was compared and how is in `data_cards/`.")
    if status.seen is None:
        why = (
            "nobody knows where its weights or its pseudo-labels come from."
            if "unknown" in status.ancestors
            else "this run or one that it builds on was trained with the guard off."
        )
        parts.append(f"It is not recorded which images the weights have seen: {why}")
    return ["## Leakage", *parts] if parts else []


def _data_facts(status: RunStatus, data: DataRecord) -> list[tuple[str, str]]:
    groups = data.grouped
    validation = f"{data.val_images}" + (f" of {data.val_groups} groups" if groups else "")
    facts = [
        ("training images", f"{data.train_images}" + (f" of {data.train_groups} groups" if groups else "")),
        ("validation images", validation if data.val_images else "none: all labels are trained on"),
        ("groups", "named by the data; groups are never split" if groups else "not named by the data, so not checked"),
    ]
    if data.left_out:
        facts.append(("labeled images left out", f"{data.left_out}, listed in `left_out.csv`"))
    if data.unlabeled is not None:
        pool = data.unlabeled
        left_out = f" ({pool.left_out} left out)" if pool.left_out else ""
        facts.append(("unlabeled images", f"{pool.images} from {md(', '.join(pool.sources))}{left_out}"))
    if data.pseudo is not None:
        facts.append(("pseudo-labeled images", f"{data.pseudo.images} of {code(data.pseudo.table)}"))
    if status.ancestors:
        facts.append(("builds on", ", ".join(map(code, status.ancestors))))
    return [*facts, ("layout", md(data.layout)), ("content hash", code(data.content_hash))]


def _making(status: RunStatus, environment: EnvironmentRecord) -> list[tuple[str, str]]:
    return [
        ("command", code(" ".join(environment.command))),
        ("code", f"sslmask {environment.sslmask}, Python {environment.python}"),
        ("machine", md(machine(environment))),
        ("training", f"{status.step} of {status.steps} steps in {duration(status.seconds)}"),
        ("packages", ", ".join(f"{k} {v}" for k, v in environment.packages.items())),
    ]


def machine(environment: EnvironmentRecord) -> str:
    """Such as `1 process on CPU, fp32` or `2 processes on NVIDIA H100 80GB HBM3, bf16`."""
    count, kind = environment.processes, environment.device.split(":")[0]
    where = environment.gpu or kind.upper()
    precision = PRECISION.get(environment.precision, environment.precision)
    return f"{count} process{'es' if count > 1 else ''} on {where}, {precision}"


def duration(seconds: float) -> str:
    """Such as `45 s`, `12 min` or `3 h 05 min`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _facts(rows: Sequence[tuple[str, str]]) -> str:
    return md_table(("what", "value"), rows)


if __name__ == "__main__":
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from ssl_mask.reports import samples

    with TemporaryDirectory() as folder:
        print(run_card(samples.run(Path(folder) / "uda-001")))
