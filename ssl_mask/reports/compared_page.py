"""The page of `sslmask runs compare`: verdicts, scores and cost, and the settings that differ.

`python -m ssl_mask.reports.compared_page` shows a made-up comparison.
"""

from __future__ import annotations

from collections.abc import Sequence

from ssl_mask.evaluation.metrics import Interval
from ssl_mask.reports.compared import Compared, Cost
from ssl_mask.reports.html.report.versus import Versus
from ssl_mask.reports.run_card import duration
from ssl_mask.reports.tables import Cells, filled, markdown
from ssl_mask.text import md

NOTE = (
    "Differences are of the images that both have predicted and were not trained on, in percentiles of a bootstrap "
    "that draws whole groups for both. Training time does not include the runs that a run builds on."
)


def comparison_page(compared: Sequence[Compared]) -> str:
    """Markdown: a verdict for each after the first, scores and cost, and the settings that differ."""
    first, *others = compared
    parts = [f"# {md(first.name)} against {md(', '.join(other.name for other in others))}"]
    parts += ["\n".join(_verdict(other.name, other.difference) for other in others if other.difference is not None)]
    parts += [markdown(score_cells(compared)), NOTE]
    settings = setting_cells(compared)
    parts += ["## Settings that differ", markdown(settings) if settings.rows else "None."]
    return "\n\n".join(parts) + "\n"


def _verdict(name: str, difference: Versus) -> str:
    words = {"better": "is better than", "worse": "is worse than"}.get(difference.verdict, "")
    told = f"{md(name)} {words} {md(difference.name)}" if words else f"{md(name)} and {md(difference.name)}: "
    told += "" if words else difference.verdict
    return (
        f"- **{told}.** Macro-F1 {_signed(difference.macro_f1)}, accuracy {_signed(difference.accuracy)} on "
        f"{difference.images} images of {difference.groups} groups (95 % intervals, paired)."
    )


def _signed(interval: Interval) -> str:
    return f"{interval.value:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"


def score_cells(compared: Sequence[Compared]) -> Cells:
    """A row per run: score with its leakage, difference from the first, what it took."""
    header = (
        "run", "macro-F1", "leakage", "images", "difference\nin macro-F1", "95 % interval", "runs", "steps",
        "training time", "CPU time",
    )  # fmt: skip
    return filled(header, [_row(one) for one in compared])


def _row(one: Compared) -> list[str]:
    cost, other = one.cost, one.difference
    shared = "" if other is None or other.images == one.images else f" ({other.images} shared)"
    interval = ["", ""]
    if other is not None:
        f1 = other.macro_f1
        interval = [f"{f1.value:+.4f}", f"{f1.low:+.4f} to {f1.high:+.4f}"]
    return [
        one.name, f"{one.macro_f1:.4f}", one.leakage, f"{one.images}{shared}", *interval,
        str(cost.runs) if cost.runs > 1 else "", str(cost.steps), duration(cost.seconds), duration(cost.cpu_seconds),
    ]  # fmt: skip


def setting_cells(compared: Sequence[Compared]) -> Cells:
    """A row per setting, a column per run."""
    rows = [(key, *(one.settings[key] for one in compared)) for key in compared[0].settings]
    return Cells(("setting", *(one.name for one in compared)), tuple(rows))


def made_up() -> list[Compared]:
    """Two runs and a study against the first of them."""

    def against(value: float, low: float, high: float) -> Versus:
        f1, accuracy = Interval(value, low, high), Interval(value / 2, low / 2, high / 2)
        return Versus("train-001", 480, 60, f1, accuracy, (), (), {})

    costs = [Cost(1, 400, 312.0, 598.0), Cost(1, 400, 640.0, 1201.0), Cost(5, 2000, 1560.0, 2990.0)]
    settings = [("0.001", "0", "light"), ("0.001", "0.2", "strong"), ("0.0003", "0", "light")]
    keys = ("optim.lr", "augment.mixup", "augment.preset")
    found = [None, against(0.031, 0.008, 0.055), against(0.012, -0.009, 0.034)]
    names, images, scores = ("train-001", "mixed", "study-001"), (480, 480, 2400), (0.4521, 0.4833, 0.4702)
    return [
        Compared(name, count, score, "photos-clean", cost, other, dict(zip(keys, own, strict=True)))
        for name, count, score, cost, other, own in zip(names, images, scores, costs, found, settings, strict=True)
    ]


if __name__ == "__main__":
    print(comparison_page(made_up()))
