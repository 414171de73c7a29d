"""The table of rounds: all of it is readable in a terminal of 80 columns."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from ssl_mask.reports.round_table import round_markdown, round_table

SCORE = {
    "macro_f1": {"value": 0.311, "low": 0.222, "high": 0.434},
    "accuracy": {"value": 0.367},
    "cpu_seconds": 12345.0,
}


def rounds(heads: dict[str, float], *, audited: bool) -> list[dict[str, Any]]:
    factors = {n: {"precision": p - 0.05, "recall": 0.4} for n, p in heads.items() if n != "joint"}
    told = {"labels": {"precision": 0.735, "recall": 0.654}, "factors": factors}
    later = {
        "round": 1, "selected": 22600, "pool": 22600, "agreement": 0.773, "flipped": 12220,
        "heads": {n: {"val_precision": p, "selected": 22000} for n, p in heads.items()}, **SCORE,
    }  # fmt: skip
    return [{"round": 0, "taught_by": "labels only", **SCORE}, {**later, "audit": told if audited else None}]


@pytest.mark.parametrize("audited", [False, True])
@pytest.mark.parametrize("heads", [{"mask": 0.999, "gender": 0.805, "age": 0.488}, {"joint": 0.987}])
def test_nothing_is_cut_off(heads: dict[str, float], audited: bool) -> None:
    out = io.StringIO()
    rows = rounds(heads, audited=audited)
    Console(file=out, width=80).print(round_table(rows))
    text, card = out.getvalue(), round_markdown(rows)
    assert "…" not in text
    shown = ["0.311", "0.222-0.434", "0.367", "12345", "0.773", "12220", *(f"{p:.3f}" for p in heads.values())]
    counts = ["labels only", "22600 of 22600", *(f"{name} 22000" for name in heads)]
    told = ["0.735", "0.654", *(f"{p - 0.05:.3f}" for n, p in heads.items() if n != "joint")] if audited else []
    for part in (*shown, *counts, *told):
        assert part in text, part
    for part in (*counts, *told, "0.311 (0.222 to 0.434)"):
        assert part in card, part
    assert ("0.735" in text) == audited
