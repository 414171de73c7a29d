"""The screen of `sslmask evaluate`: what it says first, and what it says of classes with few images."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from ssl_mask.evaluation.metrics import Interval
from ssl_mask.reports import samples
from ssl_mask.reports.score_table import print_scores


def screen(scores: Any, width: int = 80) -> list[str]:
    out = io.StringIO()
    print_scores(scores, Console(file=out, width=width, highlight=False))
    return out.getvalue().splitlines()


def line_of(lines: list[str], start: str) -> list[str]:
    (found,) = [line.split() for line in lines if line.strip().startswith(start)]
    return found


@pytest.mark.parametrize("width", [80, 120])
def test_the_score_and_its_leakage_come_first(width: int) -> None:
    lines = screen(samples.scores(), width)
    told = [line for line in lines if line.strip()]
    assert told[0] == "macro-F1 0.4137 on 612 images, 95 % interval 0.371 to 0.462"
    assert told[1] == "Leakage: leaked-declared (22 of 612 images were seen in training)"
    assert "… and 17 more images" in told[7]
    assert all(len(line) <= width for line in lines)
    assert sum("…" in line for line in lines) == 1


def test_a_class_has_its_interval_or_too_few_images() -> None:
    lines = screen(samples.scores())
    assert line_of(lines, "red/small/new") == ["red/small/new", "0.920", "0.850", "to", "0.970", "146"]
    assert " ".join(line_of(lines, "red/large/used")[2:]) == "too few to say 5"
    assert " ".join(line_of(lines, "green/large/broken")[1:]) == "no images 0"


def test_classes_without_intervals() -> None:
    scores = samples.scores()
    scores.classes = {"a": (0.5, 40), "b": (0.25, 60)}
    lines = screen(scores)
    assert line_of(lines, "b ") == ["b", "0.250", "60"]


def test_factors_only_where_there_are_several() -> None:
    scores = samples.scores()
    assert any("Factors" in line for line in screen(scores))
    scores.factors = {"species": {"macro_f1": 0.5, "accuracy": 0.5}}
    assert not any("Factors" in line for line in screen(scores))


def test_what_makes_a_score_worth_less_is_said() -> None:
    scores = samples.scores()
    scores.grouped, scores.empty, scores.new_images = False, 3, None
    scores.macro_f1 = Interval(0.5, 0.4, 0.6)
    text = " ".join(" ".join(screen(scores)).split())
    assert "intervals are too narrow" in text and "by image" in text
    assert "3 predictions are empty" in text
    assert "not seen" not in text
