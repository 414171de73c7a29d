"""The rounds of pseudo-labels as tables for the terminal and, as Markdown, for the run card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

Row = Mapping[str, Any]


def round_table(rows: Sequence[Row]) -> Table:
    """A block of lines a round, with a line a factor; fits into 80 columns."""
    header = [
        "round", "believed", "right\non val", "really\nright", "found", "same", "flips", "macro-F1\n(95 %)", "acc.",
        "CPU\ns",
    ]  # fmt: skip
    header, blocks = _filled(header, [_block(r) for r in rows])
    table = Table(*header, title="Rounds (validation; intervals by group)", box=SIMPLE_HEAD, padding=0)
    for block in blocks:
        table.add_row(*block)
    return table


def _block(row: Row) -> list[str]:
    f1, audit, first = row["macro_f1"], row.get("audit"), row["round"] == 0
    score = [f"{f1['value']:.3f}\n{f1['low']:.3f}-{f1['high']:.3f}", f"{row['accuracy']['value']:.3f}"]
    score.append(f"{row['cpu_seconds']:.0f}")
    if first:
        return ["0", row["taught_by"], "", "", "", "", "", *score]
    heads = row["heads"]
    counts = [f"{row['selected']} of {row['pool']}", *(f"{n} {h['selected']}" for n, h in heads.items())]
    live = ["", *(_share(h["val_precision"]) for h in heads.values())]
    really = found = ""
    if audit is not None:
        known = [audit["factors"].get(n, audit["labels"]) for n in heads]  # one head `joint`: as a whole
        really = "\n".join(_share(part["precision"]) for part in (audit["labels"], *known))
        found = _share(audit["labels"]["recall"])
    agreement = "" if row["agreement"] is None else _share(row["agreement"])
    cells = ["\n".join(counts), "\n".join(live), really, found, agreement, str(row["flipped"])]
    return [str(row["round"]), *cells, *score]


def round_markdown(rows: Sequence[Row]) -> str:
    header, lines = round_lines(rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *lines))


def round_lines(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and cells; columns that no round fills are left out."""
    header = [
        "round", "believed", "right on validation", "really right (audit)", "found (audit)", "same as before",
        "flipped", "macro-F1", "accuracy", "CPU s",
    ]  # fmt: skip
    return _filled(header, [_cells(r) for r in rows])


def _filled(header: list[str], lines: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns that are empty in all lines."""
    filled = [i for i in range(len(header)) if any(line[i] for line in lines)]
    return [header[i] for i in filled], [[line[i] for i in filled] for line in lines]


def _cells(row: Row) -> list[str]:
    f1, audit = row["macro_f1"], row.get("audit")
    score = [
        f"{f1['value']:.3f} ({f1['low']:.3f} to {f1['high']:.3f})",
        f"{row['accuracy']['value']:.3f}",
        f"{row['cpu_seconds']:.0f}",
    ]
    if row["round"] == 0:
        return ["0", row["taught_by"], "", "", "", "", "", *score]
    heads = row["heads"].items()
    live = ", ".join(f"{n} {_share(h['val_precision'])}" for n, h in heads)
    counts = f"{row['selected']} of {row['pool']} (" + ", ".join(f"{n} {h['selected']}" for n, h in heads) + ")"
    really = found = ""
    if audit is not None:
        parts = {"all": audit["labels"], **audit["factors"]}
        really = ", ".join(f"{n} {_share(p['precision'])}" for n, p in parts.items())
        found = _share(audit["labels"]["recall"])
    agreement = "" if row["agreement"] is None else _share(row["agreement"])
    return [str(row["round"]), counts, live, really, found, agreement, str(row["flipped"]), *score]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def class_table(record: Row) -> Table:
    """One line a class: predicted, believed, and from which confidence on."""
    table = Table("", "class", "predicted", "believed", "from confidence", "bar", title=f"Round {record['round']}")
    for name, head in record["heads"].items():
        for number, (label, row) in enumerate(head["classes"].items()):
            bar = "never" if row["threshold"] is None else f"{row['threshold']:.3f}"
            first = name if number == 0 else ""
            table.add_row(first, label, str(row["predicted"]), str(row["selected"]), bar, row["source"])
    return table
