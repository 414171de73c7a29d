"""Semi-supervised against labels-only, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def comparison_card(name: str, result: Mapping[str, Any]) -> str:
    """Markdown of a study's result."""
    return f"# Study {name}\n\n{comparison_text(result)}\n"


def comparison_text(result: Mapping[str, Any]) -> str:
    """What the unlabeled images were worth: a verdict, the interval and a line a seed."""
    lines = [_verdict(result["difference"])] if "difference" in result else []
    header = (
        "| seed | labels only: macro-F1, accuracy | with unlabeled: macro-F1, accuracy | CPU s | at equal CPU time |"
    )
    table = [header, "| --- | --- | --- | --- | --- |"]
    for row in result["rows"]:
        twin, ours, early = row.get("labels_only"), row["ours"], row.get("ours_at_equal_cpu")
        seconds = (
            f"{ours['cpu_seconds']:.0f}" if twin is None else f"{twin['cpu_seconds']:.0f} / {ours['cpu_seconds']:.0f}"
        )
        cells = [str(row["seed"]), _pair(twin), _pair(ours), seconds, _pair(early)]
        table.append(f"| {' | '.join(cells)} |")
    note = (
        "Validation, best evaluation of each run. `At equal CPU time` is the best that the run with unlabeled images "
        "had reached when it had used what its twin used; its schedule was made for more."
    )
    return "\n\n".join([*lines, "\n".join(table), note])


def _pair(scores: Mapping[str, Any] | None) -> str:
    return "" if scores is None else f"{scores['macro_f1']:.4f}, {scores['accuracy']:.4f}"


def _verdict(difference: Mapping[str, Mapping[str, float]]) -> str:
    f1, accuracy = difference["macro_f1"], difference["accuracy"]
    if f1["low"] > 0:
        word = "**The unlabeled images helped.**"
    elif f1["high"] < 0:
        word = "**The unlabeled images did harm.**"
    else:
        word = "**No difference can be shown**: the interval holds 0."
    return (
        f"{word} With unlabeled less labels only, validation macro-F1 {f1['value']:+.4f} "
        f"(95 % interval {f1['low']:+.4f} to {f1['high']:+.4f}), accuracy {accuracy['value']:+.4f} "
        f"({accuracy['low']:+.4f} to {accuracy['high']:+.4f}); paired, by group, equal optimizer steps."
    )
