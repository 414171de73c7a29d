"""The curves of a study of folds: each fold thin, their mean thick, and the step that was chosen for all.

`python -m ssl_mask.reports.fold_plots` draws them from made-up folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_mask.reports.figures import COLOURS, curve, legend, new_figure, save_figure, whole_ticks
from ssl_mask.reports.plots import WEIGHTS
from ssl_mask.runs.folds import FoldsRecord

Evaluations = Sequence[Mapping[str, Any]]
"""Lines of a `metrics.jsonl` that are of an evaluation."""


def write_folds(path: Path, record: FoldsRecord, folds: Mapping[str, Evaluations]) -> None:
    save_figure(path, draw_folds(record, folds))


def draw_folds(record: FoldsRecord, folds: Mapping[str, Evaluations]) -> Any:
    """Macro-F1 and log-loss of validation by step.

    Args:
        record: the means over the folds, and which step was chosen.
        folds: name of each run -> its evaluations; those of the chosen kind of weights are drawn.
    """
    figure, ((scores, losses),) = new_figure(1, 2, (11, 4.4))
    chosen = WEIGHTS[record.weights][0]
    steps = [p.step for p in record.curves]
    for axis, key, title in ((scores, "macro_f1", "Validation macro-F1"), (losses, "nll", "Validation log-loss")):
        for number, evaluations in enumerate(folds.values()):
            own = [r for r in evaluations if r["weights"] == record.weights]
            label = f"each fold, {chosen}" if number == 0 else None
            axis.plot([r["step"] for r in own], [r[key] for r in own], color="0.72", lw=0.9, label=label)
        for number, (weights, (words, line)) in enumerate(WEIGHTS.items()):
            mean = [p for p in record.curves if p.weights == weights]
            values = [getattr(p, key) for p in mean]
            curve(axis, [p.step for p in mean], values, color=COLOURS[number], lw=2, ls=line, label=f"mean, {words}")
        axis.axvline(record.step, color="0.35", ls=":", lw=1.5)
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        whole_ticks(axis, min(steps), max(steps))
    best = next(p for p in record.curves if (p.step, p.weights) == (record.step, record.weights))
    scores.plot(
        [best.step], [best.macro_f1], marker="*", markersize=14, color=COLOURS[3], ls="none", zorder=5,
        label=f"for all folds: step {best.step}",
    )  # fmt: skip
    for axis in (scores, losses):
        legend(axis)
    figure.suptitle(f"{len(folds)} runs; mean macro-F1 {best.macro_f1:.4f} at step {best.step}, {chosen}", fontsize=11)
    return figure


if __name__ == "__main__":
    from tempfile import mkdtemp

    from ssl_mask.reports import study_samples

    folder = Path(mkdtemp(prefix="sslmask-plots-"))
    write_folds(folder / "folds.svg", *study_samples.folds())
    print(folder)
