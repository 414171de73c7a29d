"""All plots of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_mask.data.schema import LabelSchema
from ssl_mask.reports import confusion_plot, plots
from ssl_mask.runs.run import RunDir


def draw_run(
    run: RunDir, schema: LabelSchema, consistency: Mapping[str, Sequence[str]] | None, folder: Path,
    *, suffix: str = ".svg",
) -> list[Path]:  # fmt: skip
    """Write them into a folder; returns their paths.

    Args:
        consistency: classes of each head that unlabeled images have targets of; None: there are none.
        suffix: the format, such as `.png`.
    """
    made = [folder / f"curves{suffix}"]
    plots.write_curves(made[0], run.records())
    if consistency is not None:
        made.append(folder / f"consistency{suffix}")
        plots.write_consistency(made[-1], run.records(), consistency)
    if run.validation.is_file():
        made.append(folder / f"confusion{suffix}")
        confusion_plot.write_confusion(made[-1], run.validation, schema)
    return made
